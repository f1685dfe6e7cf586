"""Queries the attempts of a webhook session in ATTEMPTS: page by page from the newest, or all of one delivery."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from edge.errors import Problem
from edge.webhooks.history.attempt import PREFIX, Attempt, decode
from router.broker import Broker
from router.codec import DECODE_FAULTS, rfc3339
from router.nats.stream import stored
from router.topology import ATTEMPTS

log = logging.getLogger(__name__)


DEFAULT_LIMIT, MAX_LIMIT = 50, 500
# What one request reads at most: so many times 256 messages or 1 MiB. Past that a page ends, and gives the place to continue from.
READS = 16
READ_MESSAGES = 256
READ_BYTES = 1024 * 1024

_PLACE = re.compile(r"([0-9]{1,15})\.([0-9]{1,6})\Z")


class AttemptPosition(NamedTuple):
    """The place of an attempt: its message in ATTEMPTS, and which of that message it is. Sorts from old to new."""

    sequence: int
    nth: int

    def __str__(self) -> str:
        return f"{self.sequence}.{self.nth}"

    @classmethod
    def parse(cls, text: str) -> AttemptPosition:
        """Reads what `str` wrote. Raises Problem `bad_cursor`."""
        if found := _PLACE.match(text):
            return cls(int(found[1]), int(found[2]))
        raise Problem("bad_cursor", "a cursor is the `next` of a page of attempts")


class AttemptPage(NamedTuple):
    """A page of attempts, newest first; `next` is where older ones begin, None where there are none."""

    attempts: list[Attempt]
    next: AttemptPosition | None


class Attempts:
    """Reads the attempts of one session. JetStream reads forwards only, so the newest are found in windows from the end."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._stream = broker.stream(ATTEMPTS)

    async def page(
        self,
        session: str,
        result: str = "*",
        event: str | None = None,
        delivery: str | None = None,
        before: AttemptPosition | None = None,
        limit: int = DEFAULT_LIMIT,
        reads: int = READS,
        *,
        subject: str | None = None,
        status: int | None = None,
    ) -> AttemptPage:
        """Reads the newest attempts before a place; `result` is ok, fail or * for both, `subject` a pattern. Raises BrokerError.

        Those of one quarter of a second may be out of order.
        """
        first, last = await self.span()
        at = last if before is None else min(last, before.sequence)
        found: list[tuple[AttemptPosition, Attempt]] = []
        width = 64
        for _ in range(reads):
            if at < first:
                break
            start = max(first, at - width + 1)
            pages, reached = await self._read(session, result, start)
            pages = [page for page in pages if page[0] <= at]
            if reached is not None and reached < at:
                # It did not come to the window's end, where the newest are. A window of one always does.
                width = max(1, (at - start + 1) // 4)
                continue
            for sequence, attempts in reversed(pages):
                for index in range(len(attempts) - 1, -1, -1):
                    place = AttemptPosition(sequence, index)
                    if (before is not None and place >= before) or not attempts[index].carried(event, delivery):
                        continue
                    if not attempts[index].fits(subject, status):
                        continue
                    if len(found) == limit:
                        return AttemptPage([attempt for _, attempt in found], found[-1][0])
                    found.append((place, attempts[index]))
            at = start - 1
            width = width * 8 if len(pages) < READ_MESSAGES // 8 else width
        return AttemptPage([attempt for _, attempt in found], AttemptPosition(at + 1, 0) if at >= first else None)

    async def of(self, session: str, delivery: str) -> list[Attempt]:
        """All attempts of one delivery that are kept, oldest first. Raises BrokerError."""
        page = await self.page(session, delivery=delivery, limit=MAX_LIMIT, reads=4 * READS)
        return sorted(page.attempts, key=lambda attempt: attempt.begun)

    async def delivery_of(self, session: str, event: str) -> str | None:
        """The delivery of an event, by its id; the newest where several events have it. None where none is known.

        Raises BrokerError.
        """
        page = await self.page(session, event=event, limit=1, reads=4 * READS)
        for attempt in page.attempts:
            for delivery, part in attempt.deliveries.items():
                if part.event == event:
                    return delivery
        return None

    async def scan(
        self, session: str, after: int, upto: int, receive: Callable[[Attempt], None], result: str = "*"
    ) -> None:
        """Calls `receive` with every attempt in a span of the stream, oldest first. Raises BrokerError."""
        while after < upto:
            pages, reached = await self._read(session, result, after + 1)
            for sequence, attempts in pages:
                if sequence <= upto:
                    for attempt in attempts:
                        receive(attempt)
            if reached is None:
                return
            after = reached

    async def span(self) -> tuple[int, int]:
        """The first and the last sequence of the stream. Raises BrokerError."""
        state = await self._stream.state()
        return max(1, state["first_seq"]), state["last_seq"]

    async def after(self, moment: datetime) -> int:
        """The sequence behind which all was stored at a time or later. Raises BrokerError."""
        start = rfc3339(int(moment.timestamp() * 1_000_000) * 1000)
        request = {"start_time": start, "batch": 1, "next_by_subj": f"{PREFIX}.*.*"}
        run = await self._stream.read_run(request, stored)
        if run.messages:
            return run.messages[0].sequence - 1
        return (await self.span())[1]

    async def _read(self, session: str, result: str, start: int) -> tuple[list[tuple[int, list[Attempt]]], int | None]:
        """Reads some messages from a place on, and how far that came; None where it came to the end."""
        request = {
            "seq": start,
            "batch": READ_MESSAGES,
            "max_bytes": READ_BYTES,
            "next_by_subj": f"{PREFIX}.{session}.{result}",
        }
        run = await self._stream.read_run(request, stored)
        pages = []
        for message in run.messages:
            try:
                pages.append((message.sequence, decode(message.payload)))
            except DECODE_FAULTS:
                log.warning("message in ATTEMPTS is not an attempt; skipped", extra={"sequence": message.sequence})
        return pages, run.messages[-1].sequence if run.left and run.messages else None
