"""Stores, reads and deletes dead letters: messages that were given up, in the stream DEADLETTERS.

JetStream's own advisories (MAX_DELIVERIES, MSG_TERMINATED) are not listened to, and need not be: every consumer of this
system has `max_deliver` -1 and decides itself when to give up, so the first is never sent; and the second would report a
message that is already stored here, because nothing is terminated before JetStream has acknowledged its dead letter.
"""

from __future__ import annotations

import hashlib
import time
from datetime import datetime
from typing import Any

import msgspec

from router.broker import Broker
from router.codec import DECODE_FAULTS, rfc3339
from router.deadletter import (
    EVERYWHERE,
    DeadLetter,
    DeadLetterPage,
    DeadLetterStats,
    Origin,
    ingest_subject,
    is_of_event,
    read_headers,
)
from router.layout import original_subject
from router.limits import message_size
from router.nats.headers import Reply, all_headers
from router.nats.stream import Ack, MessageRun
from router.subject import escape
from router.topology import DEADLETTERS, EVENTS, HOOKS, RETRIES, is_of_events

# 1000 bytes tell a person what happened; the log has the rest. Other headers are shorter: all of them together fit into
# `limits.HEADROOM`.
MAX_DETAIL = 1000
MAX_HEADER = 500
_LONG = frozenset({"Dead-Detail", "Dead-Destination"})
PAGE_BYTES = 4 * 1024 * 1024

# The streams that may hold a message that its dead letter only refers to.
STREAMS = frozenset({HOOKS, RETRIES})


class DeadLetters:
    """The stream DEADLETTERS."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._stream = broker.stream(DEADLETTERS)

    async def add(
        self,
        subject: str,
        payload: bytes,
        *,
        origin: Origin,
        reason: str,
        detail: str = "",
        attempts: int = 1,
        first: int = 0,
        last: int = 0,
        destination: str = "",
        source: str = "",
        redrives: int = 0,
        back: str = "",
        id: str | None = None,
        by_reference: bool = False,
    ) -> Ack:
        """Stores a dead letter; returns once JetStream has it, and only then may the original be settled.

        `subject` is what `actor_subject`, `webhook_subject` or `ingest_subject` gives. Times are ns since the epoch, now
        where they are left out. A second dead letter of the same origin for the same destination is dropped inside the
        dedup window, unless it has an `id` of its own; one that was redriven must differ by its number of `redrives`.
        With `by_reference`, or where it is too large, only a reference to the original is stored.
        Raises Timeout or Refused: then the original must stay.
        """
        if id is None:
            seed = f"{origin} {destination} {first}" + (f" {redrives}" if redrives else "")
            id = "dead." + hashlib.sha256(seed.encode()).hexdigest()[:32]
        last = last or time.time_ns()
        return await self._store(
            f"{subject}.{escape(reason)}",
            payload,
            id,
            {
                "Dead-Reason": reason,
                "Dead-Detail": detail,
                "Dead-Attempts": str(attempts),
                "Dead-First": rfc3339(first or last),
                "Dead-Last": rfc3339(last),
                "Dead-Origin": str(origin),
                "Dead-Destination": destination,
                "Dead-Source": source,
                "Dead-Redrives": str(redrives),
                "Dead-Event": _event_id(payload),
                "Dead-Return": back,
            },
            size=len(payload) if by_reference else 0,
        )

    async def add_again(
        self, dead: DeadLetter, *, reason: str, detail: str, attempts: int, id: str, last: int = 0
    ) -> Ack:
        """Stores a dead letter anew whose redrive failed, with the new reason; the old one still has to be removed.

        The same `id` twice is stored once. Raises Timeout or Refused.
        """
        subject = ".".join(dead.subject.split(".")[:3])
        return await self._store(
            f"{subject}.{escape(reason)}",
            dead.payload,
            id,
            {
                "Dead-Reason": reason,
                "Dead-Detail": detail,
                "Dead-Attempts": str(dead.attempts + attempts),
                "Dead-First": dead.first,
                "Dead-Last": rfc3339(last or time.time_ns()),
                "Dead-Origin": str(dead.origin),
                "Dead-Destination": dead.destination,
                "Dead-Source": dead.source,
                "Dead-Redrives": str(dead.redrives + 1),
                "Dead-Event": dead.event_id,
                "Dead-Return": dead.back,
            },
            size=dead.size,
        )

    async def add_undecodable(
        self,
        stream: str,
        sequence: int,
        subject: str,
        payload: bytes,
        *,
        fault: str,
        source: str,
        reason: str = "decode_error",
    ) -> Ack:
        """Stores a record of a stream that is not an event: once, however many readers find it. Raises Timeout or Refused."""
        origin = Origin(stream, sequence, subject)
        seed = b"%s %s" % (str(origin).encode(errors="replace"), hashlib.sha256(payload).digest())
        return await self.add(
            ingest_subject(EVENTS if is_of_events(stream) else stream),
            payload,
            origin=origin,
            reason=reason,
            detail=fault,
            destination=original_subject(subject) if is_of_event(subject) else subject,
            source=source,
            id="dead.ingest." + hashlib.sha256(seed).hexdigest()[:32],
        )

    async def read(
        self, after: int = 0, limit: int = 100, pattern: str = EVERYWHERE, max_bytes: int = PAGE_BYTES
    ) -> DeadLetterPage:
        """Lists dead letters that come after a sequence, oldest first; `dead.actor.stock` stands for all its reasons.

        A page has at least one dead letter where there is any, and ends at whichever limit comes first.
        """
        request = {"seq": after + 1, "batch": limit, "max_bytes": max_bytes, "next_by_subj": _under(pattern)}
        run = await self._run(request)
        return DeadLetterPage([found for found in run.messages if found is not None], run.left > 0)

    async def count(self, after: int = 0, pattern: str = EVERYWHERE) -> int:
        """Counts the dead letters that come after a sequence, without reading them."""
        run = await self._run({"seq": after + 1, "batch": 1, "next_by_subj": _under(pattern)})
        return len(run.messages) + run.left

    async def at(self, moment: datetime) -> int | None:
        """The sequence of the first dead letter stored at a time or later; None where there is none."""
        # JetStream reads times to the nanosecond, and a text of ours ends at the microsecond.
        start = rfc3339(int(moment.timestamp() * 1_000_000) * 1000)
        run = await self._run({"start_time": start, "batch": 1, "next_by_subj": EVERYWHERE})
        found = run.messages[0] if run.messages else None
        return found.sequence if found else None

    async def stats(self, pattern: str | None = None) -> DeadLetterStats:
        """Reads how full the whole stream is and, where a pattern is given, how many dead letters each subject has."""
        listing = await self._stream.page_of_subjects(_under(pattern)) if pattern else None
        info = listing.info if listing else await self._stream.info()
        state = info["state"]
        return DeadLetterStats(
            subjects=listing.subjects if listing else {},
            complete=listing.complete if listing else True,
            first=state["first_seq"],
            last=state["last_seq"],
            messages=state["messages"],
            bytes=state["bytes"],
            max_bytes=info["config"].get("max_bytes", -1),
            oldest=state["first_ts"] if state["messages"] else "",
        )

    async def get(self, sequence: int) -> DeadLetter | None:
        """Reads one dead letter; None where there is none of that sequence."""
        reply = await self._stream.read_one({"seq": sequence})
        return _read(reply) if reply is not None else None

    async def remove(self, sequence: int) -> bool:
        """Deletes one dead letter; False where there was none."""
        return await self._stream.delete(sequence)

    async def purge(self, pattern: str, upto: int) -> int:
        """Deletes all under a pattern up to and including a sequence, in one request; returns how many."""
        return await self._stream.purge(_under(pattern), before=upto + 1, timeout=30)

    async def payload_of(self, dead: DeadLetter) -> bytes | None:
        """The message that was given up, read from its own stream if it is stored by reference; None where it is gone.

        Raises BrokerError.
        """
        if not dead.size:
            return dead.payload
        if dead.origin.stream not in STREAMS and not is_of_events(dead.origin.stream):
            return None
        reply = await self._broker.stream(dead.origin.stream).read_one({"seq": dead.origin.sequence})
        if reply is None:
            return None
        # A stream that was deleted and made again numbers its messages from 1.
        same = len(reply.payload) == dead.size and _event_id(reply.payload) == dead.event_id
        return reply.payload if same else None

    async def _store(self, subject: str, payload: bytes, id: str, headers: dict[str, str], size: int = 0) -> Ack:
        """Stores a dead letter; with a `size`, or where it does not fit, without its payload."""
        lines = {"Nats-Msg-Id": id} | {name: line for name, value in headers.items() if (line := _line(name, value))}
        if not size and message_size(payload, lines) > self._broker.connection.max_payload:
            size = len(payload)
        if size:
            payload, lines["Dead-Size"] = b"", str(size)
        return await self._broker.store(subject, payload, lines)

    async def _run(self, request: dict[str, Any]) -> MessageRun[DeadLetter | None]:
        return await self._stream.read_run(request, _read)


def _read(reply: Reply) -> DeadLetter | None:
    headers = all_headers(reply.headers)
    sequence = headers.get("Nats-Sequence", "")
    if not sequence.isdigit():
        return None
    return read_headers(headers, headers.get("Nats-Subject", ""), int(sequence), reply.payload)


def _under(pattern: str) -> str:
    """Extends a subject without a reason to all reasons."""
    return f"{pattern}.>" if pattern.count(".") == 2 and not pattern.endswith(">") else pattern


class _Identified(msgspec.Struct, gc=False):
    """Decodes nothing of an event but its id."""

    id: str


_identified = msgspec.msgpack.Decoder(_Identified).decode


def _event_id(payload: bytes) -> str:
    try:
        return _identified(payload).id
    except DECODE_FAULTS:
        return ""


def _line(name: str, text: str) -> str:
    """Makes one header line of any text."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * MAX_DETAIL]).split())
    limit = MAX_DETAIL if name in _LONG else MAX_HEADER
    return words.encode(errors="replace")[:limit].decode(errors="ignore")
