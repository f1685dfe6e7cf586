"""This file is where a delivery that was given up is kept: its bytes, and headers that say who, why and whence.

A letter lies at `dead.<origin>.<name>.<reason>`, so that JetStream itself counts, finds and purges by each of them. The
origin is `webhook` (the name is a session), `actor` (an actor), or `ingest` (a stream or adapter: what came from there
was no event at all).

JetStream's own advisories (MAX_DELIVERIES, MSG_TERMINATED) are not listened to, and need not be: every consumer of this
system has `max_deliver` -1 and decides itself when to give up, so none ever makes the first; and the second follows a
burial that is already here, because nothing is terminated before JetStream has acknowledged its letter.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from router.broker import Broker
from router.codec import DECODE_FAULTS, decode, rfc3339
from router.errors import BadEvent
from router.event import Event
from router.limits import message_size
from router.nats.headers import Reply, all_headers
from router.nats.stream import Ack, Run
from router.subject import STORED, escape, unescape
from router.topology import DEADLETTERS, EVENTS, HOOKS, RETRIES

# 1000 bytes tell a person what happened; the log has the rest. Other headers are shorter: all of them together fit into
# `limits.HEADROOM`.
LONGEST_DETAIL = 1000
LONGEST_HEADER = 500
_LONG = frozenset({"Dead-Detail", "Dead-Destination"})
PAGE_BYTES = 4 * 1024 * 1024

EVERYWHERE = "dead.>"
# Where a message may lie that is kept by reference.
STREAMS = frozenset({EVENTS, HOOKS, RETRIES})
ORIGINS = ("webhook", "actor", "ingest")
# Why deliveries are given up, as far as metrics tell them apart; the rest is `other`.
REASONS = (
    "exhausted", "gone", "payload_too_large", "unsupported_type", "rejected", "ssrf_blocked", "bad_url", "overflow",
    "ttl_expired", "endpoint_disabled", "aborted", "decode_error", "attempts_spent", "cut_short", "too_large",
    "not_a_job", "fault", "unwritable", "throttled", "server_error", "redirect", "poison", "other",
)  # fmt: skip


class Origin(NamedTuple):
    """Where a message came from: its stream, its sequence there, its NATS subject."""

    stream: str
    sequence: int
    subject: str

    def __str__(self) -> str:
        return f"{self.stream}:{self.sequence}:{self.subject}"

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Reads what `str` wrote; an unreadable one becomes an empty origin."""
        stream, _, rest = text.partition(":")
        sequence, _, subject = rest.partition(":")
        return cls(stream, _number(sequence), subject)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message given up. `sequence` is its place in DEADLETTERS; times are RFC 3339, `buried` is JetStream's own.

    `back` is the command that takes it back, where there is one who does. A message that was too large to be kept is kept by
    reference: `payload` is empty, `size` its bytes, and `origin` says where it lies; see `DeadLetters.payload_of`.
    """

    sequence: int
    subject: str
    payload: bytes
    origin: Origin
    reason: str
    detail: str
    attempts: int
    first: str
    last: str
    destination: str
    source: str
    buried: str = ""
    redrives: int = 0
    event_id: str = ""
    back: str = ""
    size: int = 0

    @property
    def kind(self) -> str:
        """`webhook`, `actor` or `ingest`."""
        return _token(self.subject, 1)

    @property
    def name(self) -> str:
        """The session, the actor, or whence it was taken in."""
        return unescape(_token(self.subject, 2))

    @property
    def event_subject(self) -> str:
        """The subject of the event inside, as people write it; empty where none is known."""
        subject = self.origin.subject
        return subject[len(STORED) :] if subject.startswith(STORED) else ""

    def event(self) -> Event | None:
        """Decodes the event inside; None where the bytes are none."""
        try:
            return decode(self.payload)
        except BadEvent:
            return None


class Letters(NamedTuple):
    """A run of dead letters, oldest first; `more` says that there are further ones."""

    letters: list[DeadLetter]
    more: bool


@dataclass(frozen=True)
class Cemetery:
    """What DEADLETTERS holds: how many at each address, how far it reaches, and how full it is."""

    addresses: dict[str, int]
    complete: bool
    first: int
    last: int
    messages: int
    bytes: int
    max_bytes: int
    oldest: str

    @property
    def fullness(self) -> float:
        """From 0 to 1; at 1 the oldest are dropped. 0 where there is no limit."""
        return self.bytes / self.max_bytes if self.max_bytes > 0 else 0.0


def actor_subject(name: str) -> str:
    """Where an actor's dead letters lie; each under its reason."""
    return f"dead.actor.{escape(name)}"


def webhook_subject(session: str) -> str:
    """Where a webhook session's dead letters lie; each under its reason."""
    return f"dead.webhook.{escape(session)}"


def ingest_subject(taken_from: str) -> str:
    """Where that lies which was taken from a stream or an adapter and is no event; each under its reason."""
    return f"dead.ingest.{escape(taken_from)}"


def label(reason: str) -> str:
    """The reason as metrics name it."""
    return reason if reason in REASONS else "other"


class DeadLetters:
    """Writes and reads DEADLETTERS."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._stream = broker.stream(DEADLETTERS)

    async def bury(
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
        """Keeps a message; returns once JetStream has it, and only then may the original be ended.

        `subject` is what `actor_subject` and its like give. Times are ns since the epoch, now where they are left out. A
        second burial of the same origin for the same destination is dropped inside the dedup window, unless an `id` of
        its own is given; whoever sends letters again must make it differ by the number of `redrives`. Raises Timeout or
        Refused: then the original must stay. What does not fit into a letter is kept by reference, as all is that is said
        to be.
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

    async def bury_again(
        self, letter: DeadLetter, *, reason: str, detail: str, attempts: int, id: str, last: int = 0
    ) -> Ack:
        """Keeps a letter anew that was sent again in vain, with what is known now; the old one still has to be removed.

        The same `id` twice is one letter. Raises Timeout or Refused.
        """
        subject = ".".join(letter.subject.split(".")[:3])
        return await self._store(
            f"{subject}.{escape(reason)}",
            letter.payload,
            id,
            {
                "Dead-Reason": reason,
                "Dead-Detail": detail,
                "Dead-Attempts": str(letter.attempts + attempts),
                "Dead-First": letter.first,
                "Dead-Last": rfc3339(last or time.time_ns()),
                "Dead-Origin": str(letter.origin),
                "Dead-Destination": letter.destination,
                "Dead-Source": letter.source,
                "Dead-Redrives": str(letter.redrives + 1),
                "Dead-Event": letter.event_id,
                "Dead-Return": letter.back,
            },
            size=letter.size,
        )

    async def bury_spoiled(
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
        """Keeps what was taken from a stream and is no event: one letter, however many find it. Raises Timeout or Refused."""
        origin = Origin(stream, sequence, subject)
        seed = b"%s %s" % (str(origin).encode(errors="replace"), hashlib.sha256(payload).digest())
        return await self.bury(
            ingest_subject(stream),
            payload,
            origin=origin,
            reason=reason,
            detail=fault,
            destination=subject.removeprefix(STORED),
            source=source,
            id="dead.ingest." + hashlib.sha256(seed).hexdigest()[:32],
        )

    async def read(
        self, after: int = 0, limit: int = 100, pattern: str = EVERYWHERE, max_bytes: int = PAGE_BYTES
    ) -> Letters:
        """Lists dead letters that come after a sequence, oldest first; under `dead.actor.stock` all its reasons.

        A page has at least one letter where there is any, and else ends at either limit.
        """
        request = {"seq": after + 1, "batch": limit, "max_bytes": max_bytes, "next_by_subj": _under(pattern)}
        run = await self._run(request)
        return Letters([letter for letter in run.messages if letter is not None], run.left > 0)

    async def count(self, after: int = 0, pattern: str = EVERYWHERE) -> int:
        """Counts the dead letters that come after a sequence, without reading them."""
        run = await self._run({"seq": after + 1, "batch": 1, "next_by_subj": _under(pattern)})
        return len(run.messages) + run.left

    async def at(self, moment: datetime) -> int | None:
        """The sequence of the first dead letter buried at a time or later; None where there is none."""
        # JetStream reads times to the nanosecond, and a text of ours ends at the microsecond.
        start = rfc3339(int(moment.timestamp() * 1_000_000) * 1000)
        run = await self._run({"start_time": start, "batch": 1, "next_by_subj": EVERYWHERE})
        letter = run.messages[0] if run.messages else None
        return letter.sequence if letter else None

    async def state(self, pattern: str | None = None) -> Cemetery:
        """Says how full the whole stream is; and what there is under a pattern, address by address, where one is given."""
        listing = await self._stream.page_of_subjects(_under(pattern)) if pattern else None
        info = listing.info if listing else await self._stream.info()
        state = info["state"]
        return Cemetery(
            addresses=listing.subjects if listing else {},
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
        return _letter(reply) if reply is not None else None

    async def remove(self, sequence: int) -> bool:
        """Deletes one dead letter; False where there was none."""
        return await self._stream.delete(sequence)

    async def purge(self, pattern: str, upto: int) -> int:
        """Deletes all under a pattern up to and with a sequence, at once; says how many."""
        return await self._stream.purge(_under(pattern), before=upto + 1, timeout=30)

    async def payload_of(self, letter: DeadLetter) -> bytes | None:
        """The message that a letter is about, from where it lies if it is kept by reference; None where it is gone.

        Raises BrokerError.
        """
        if not letter.size:
            return letter.payload
        if letter.origin.stream not in STREAMS:
            return None
        reply = await self._broker.stream(letter.origin.stream).read_one({"seq": letter.origin.sequence})
        if reply is None:
            return None
        # A stream that was made anew counts from one again.
        same = len(reply.payload) == letter.size and _event_id(reply.payload) == letter.event_id
        return reply.payload if same else None

    async def _store(self, subject: str, payload: bytes, id: str, headers: dict[str, str], size: int = 0) -> Ack:
        """Stores a letter; of a `size`, or of one that does not fit, only the reference."""
        lines = {"Nats-Msg-Id": id} | {name: line for name, value in headers.items() if (line := _line(name, value))}
        if not size and message_size(payload, lines) > self._broker.connection.max_payload:
            size = len(payload)
        if size:
            payload, lines["Dead-Size"] = b"", str(size)
        return await self._broker.store(subject, payload, lines)

    async def _run(self, request: dict[str, Any]) -> Run[DeadLetter | None]:
        return await self._stream.read_run(request, _letter)


def read_headers(headers: dict[str, str], subject: str, sequence: int, payload: bytes = b"") -> DeadLetter:
    """Makes a letter of what its headers say."""
    return DeadLetter(
        sequence=sequence,
        subject=subject,
        payload=payload,
        origin=Origin.parse(headers.get("Dead-Origin", "")),
        reason=headers.get("Dead-Reason", ""),
        detail=headers.get("Dead-Detail", ""),
        attempts=_number(headers.get("Dead-Attempts", "")),
        first=headers.get("Dead-First", ""),
        last=headers.get("Dead-Last", ""),
        destination=headers.get("Dead-Destination", ""),
        source=headers.get("Dead-Source", ""),
        buried=headers.get("Nats-Time-Stamp", ""),
        redrives=_number(headers.get("Dead-Redrives", "")),
        event_id=headers.get("Dead-Event", ""),
        back=headers.get("Dead-Return", ""),
        size=_number(headers.get("Dead-Size", "")),
    )


def _letter(reply: Reply) -> DeadLetter | None:
    headers = all_headers(reply.headers)
    sequence = headers.get("Nats-Sequence", "")
    if not sequence.isdigit():
        return None
    return read_headers(headers, headers.get("Nats-Subject", ""), int(sequence), reply.payload)


def _under(pattern: str) -> str:
    """Of an address without a reason all reasons are meant."""
    return f"{pattern}.>" if pattern.count(".") == 2 and not pattern.endswith(">") else pattern


def _token(subject: str, place: int) -> str:
    tokens = subject.split(".")
    return tokens[place] if place < len(tokens) else ""


def _number(text: str) -> int:
    # Of ASCII: `isdigit` alone takes characters such as ², which are no number to `int`.
    return int(text) if text.isascii() and text.isdigit() else 0


class _Named(msgspec.Struct, gc=False):
    """An event as far as its id goes."""

    id: str


_named = msgspec.msgpack.Decoder(_Named).decode


def _event_id(payload: bytes) -> str:
    try:
        return _named(payload).id
    except DECODE_FAULTS:
        return ""


def _line(name: str, text: str) -> str:
    """Makes one header line of any text."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * LONGEST_DETAIL]).split())
    most = LONGEST_DETAIL if name in _LONG else LONGEST_HEADER
    return words.encode(errors="replace")[:most].decode(errors="ignore")
