"""This file is where a delivery that was given up is kept: its bytes, and headers that say who, why and whence."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from router.broker import Ack, Broker
from router.codec import rfc3339
from router.connection import Reply, all_headers, status
from router.errors import Refused, Timeout
from router.subject import escape
from router.topology import DEADLETTERS

# 1000 characters tell a person what happened; the log has the rest.
LONGEST_DETAIL = 1000
PAGE_BYTES = 4 * 1024 * 1024


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
        return cls(stream, int(sequence) if sequence.isdigit() else 0, subject)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message given up. `sequence` is its place in DEADLETTERS; times are RFC 3339."""

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


class Letters(NamedTuple):
    """A run of dead letters, oldest first; `more` says that there are further ones."""

    letters: list[DeadLetter]
    more: bool


def actor_subject(name: str) -> str:
    """Where an actor's dead letters lie."""
    return f"dead.actor.{escape(name)}"


def webhook_subject(session: str) -> str:
    """Where a webhook session's dead letters lie."""
    return f"dead.webhook.{escape(session)}"


def ingest_subject(reason: str) -> str:
    """Where what could not be taken in lies."""
    return f"dead.ingest.{escape(reason)}"


class DeadLetters:
    """Writes and reads DEADLETTERS."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

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
        id: str | None = None,
    ) -> Ack:
        """Keeps a message; returns once JetStream has it, and only then may the original be ended.

        Times are ns since the epoch. A second burial of the same origin for the same destination is dropped inside the
        dedup window, unless an `id` of its own is given. Raises Timeout or Refused: then the original must stay.
        """
        if id is None:
            seed = f"{origin} {destination} {first}"
            id = "dead." + hashlib.sha256(seed.encode()).hexdigest()[:32]
        headers = {
            "Nats-Msg-Id": id,
            "Dead-Reason": _line(reason),
            "Dead-Detail": _line(detail),
            "Dead-Attempts": str(attempts),
            "Dead-First": rfc3339(first) if first else "",
            "Dead-Last": rfc3339(last) if last else "",
            "Dead-Origin": _line(str(origin)),
            "Dead-Destination": _line(destination),
            "Dead-Source": _line(source),
        }
        return await self._broker.store(subject, payload, {name: value for name, value in headers.items() if value})

    async def read(self, after: int = 0, limit: int = 100, pattern: str = "dead.>") -> Letters:
        """Lists dead letters that come after a sequence, oldest first."""
        request = {"seq": after + 1, "batch": limit, "max_bytes": PAGE_BYTES, "next_by_subj": pattern}
        replies, more = await self._batch(request)
        return Letters([letter for reply in replies if (letter := _letter(reply)) is not None], more)

    async def get(self, sequence: int) -> DeadLetter | None:
        """Reads one dead letter; None where there is none of that sequence."""
        reply = await self._broker.connection.ask(
            f"$JS.API.DIRECT.GET.{DEADLETTERS}", msgspec.json.encode({"seq": sequence})
        )
        code, text = status(reply.headers)
        if code == 404:
            return None
        if code:
            raise Refused(code, 0, text)
        return _letter(reply)

    async def remove(self, sequence: int) -> bool:
        """Deletes one dead letter; False where there was none."""
        try:
            await self._broker.connection.api(f"STREAM.MSG.DELETE.{DEADLETTERS}", {"seq": sequence, "no_erase": True})
        except Refused as refusal:
            if refusal.err_code in (10043, 10057):  # no such message
                return False
            raise
        return True

    async def _batch(self, request: dict[str, Any]) -> tuple[list[Reply], bool]:
        """One batched Direct Get (ADR-31), with headers."""
        connection = self._broker.connection
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Reply] = loop.create_future()
        found: list[Reply] = []

        def heard(_subject: str, _reply: str, payload: bytes, raw: bytes) -> None:
            if status(raw)[0] == 0:
                found.append(Reply(payload, raw))
            elif not done.done():
                done.set_result(Reply(payload, raw))

        def expired() -> None:
            if not done.done():
                done.set_exception(Timeout("a batch of dead letters did not arrive"))

        address = connection.expect(heard)
        timer = loop.call_later(connection.settings.request_timeout, expired)
        try:
            await connection.send(f"$JS.API.DIRECT.GET.{DEADLETTERS}", msgspec.json.encode(request), reply=address)
            end = await done
        finally:
            timer.cancel()
            connection.forget(address)
        code, text = status(end.headers)
        if code == 404:
            return [], False
        if code == 503:
            raise Timeout("nobody answers for the dead letters")
        if code != 204:
            raise Refused(code, 0, text)
        return found, int(all_headers(end.headers).get("Nats-Num-Pending", "0")) > 0


def _letter(reply: Reply) -> DeadLetter | None:
    headers = all_headers(reply.headers)
    sequence = headers.get("Nats-Sequence", "")
    if not sequence.isdigit():
        return None
    attempts = headers.get("Dead-Attempts", "")
    return DeadLetter(
        sequence=int(sequence),
        subject=headers.get("Nats-Subject", ""),
        payload=reply.payload,
        origin=Origin.parse(headers.get("Dead-Origin", "")),
        reason=headers.get("Dead-Reason", ""),
        detail=headers.get("Dead-Detail", ""),
        attempts=int(attempts) if attempts.isdigit() else 0,
        first=headers.get("Dead-First", ""),
        last=headers.get("Dead-Last", ""),
        destination=headers.get("Dead-Destination", ""),
        source=headers.get("Dead-Source", ""),
    )


def _line(text: str) -> str:
    """Makes one header line of any text."""
    return " ".join(text.split())[:LONGEST_DETAIL].encode(errors="replace").decode()
