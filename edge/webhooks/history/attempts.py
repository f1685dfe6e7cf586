"""This file is where every post of a webhook is noted: taken without a word, stored a moment later, read by who asks why.

Attempts lie in ATTEMPTS at `attempt.<session>.<ok|fail>`, several of one session in one message where many were made at
once. They tell what happened, and nothing hangs on them: where they cannot be stored as fast as they are made, some are
lost, and counted.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec
from prometheus_client import Counter, Gauge

from edge.errors import Problem
from edge.webhooks.client.outcome import Outcome, Timing, Verdict
from edge.webhooks.queue.job import delivery_id
from router.broker import Broker
from router.codec import DECODE_FAULTS, rfc3339
from router.errors import BrokerError
from router.nats.stream import stored
from router.topology import ATTEMPTS

log = logging.getLogger(__name__)

PREFIX = "attempt"

noted = Counter("edge_webhook_attempts_logged_total", "Attempts that were stored")
dropped = Counter("edge_webhook_attempts_dropped_total", "Attempts that were not stored, because too many were made")
waiting = Gauge("edge_webhook_attempts_waiting", "Attempts that wait to be stored")


class Part(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One event of those that an attempt carried."""

    event: str
    sequence: int


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One post, as it lies in ATTEMPTS. Times are ns since the epoch; `next` is 0 where no other try follows by itself.

    `attempt` counts from 1. A batch has its events in `parts`. The destination is without secrets.
    """

    session: str
    delivery: str
    event: str
    sequence: int
    subject: str = ""
    attempt: int = 1
    trigger: str = "auto"
    begun: int
    destination: str = ""
    address: str = ""
    verdict: str
    status: int = 0
    fault: str = ""
    note: str = ""
    seconds: float = 0.0
    timing: Timing | None = None
    head: bytes = b""
    next: int = 0
    parts: list[Part] = []

    @classmethod
    def of(
        cls,
        outcome: Outcome,
        *,
        session: str,
        delivery: str,
        event: str,
        sequence: int,
        begun: int,
        subject: str = "",
        attempt: int = 1,
        trigger: str = "auto",
        destination: str = "",
        next: int = 0,
        parts: list[Part] | None = None,
    ) -> Attempt:
        """The attempt that came to an outcome."""
        return cls(
            session=session,
            delivery=delivery,
            event=event,
            sequence=sequence,
            # A Subject is more than msgpack knows.
            subject=str(subject),
            attempt=attempt,
            trigger=trigger,
            begun=begun,
            destination=destination,
            address=outcome.address,
            verdict=outcome.verdict.value,
            status=outcome.status,
            fault=outcome.fault,
            note=outcome.note,
            seconds=outcome.seconds,
            timing=outcome.timing,
            # What was said by one who took the event interests nobody.
            head=b"" if outcome.verdict is Verdict.DELIVERED else outcome.head,
            next=next,
            parts=parts or [],
        )

    @property
    def weight(self) -> int:
        """What it takes of the places in the queue: a batch has a thousand ids."""
        return 1 + len(self.parts) // 16

    def carried(self, event: str | None, delivery: str | None) -> bool:
        """Whether it carried an event, or belongs to a delivery; None for whatever."""
        if event is not None and self.event != event and all(part.event != event for part in self.parts):
            return False
        if delivery is None or self.delivery == delivery:
            return True
        return any(delivery_id(part.event, part.sequence, self.session) == delivery for part in self.parts)

    @property
    def deliveries(self) -> dict[str, Part]:
        """Each delivery that it was an attempt of."""
        if not self.parts:
            return {self.delivery: Part(self.event, self.sequence)}
        return {delivery_id(part.event, part.sequence, self.session): part for part in self.parts}

    @property
    def ok(self) -> bool:
        return self.verdict == Verdict.DELIVERED.value

    @property
    def result(self) -> Literal["ok", "fail"]:
        return "ok" if self.ok else "fail"

    def describe(self) -> dict[str, Any]:
        """The attempt as the API shows it."""
        return {
            "delivery": self.delivery,
            "webhook_id": f"msg_{self.delivery}",
            "event": self.event,
            "events": [part.event for part in self.parts] or [self.event],
            "subject": self.subject,
            "attempt": self.attempt,
            "trigger": self.trigger,
            "at": rfc3339(self.begun),
            "destination": self.destination,
            "address": self.address or None,
            "ok": self.ok,
            "verdict": self.verdict,
            "status": self.status or None,
            "error": self.fault or None,
            "detail": self.note or None,
            "timing_ms": msgspec.structs.asdict(self.timing)
            if self.timing
            else {"total": round(self.seconds * 1000, 3)},
            "response_head": self.head.decode(errors="replace") if self.head else None,
            "next_attempt_at": rfc3339(self.next) if self.next else None,
        }


_encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[Attempt]).decode


@dataclass(frozen=True)
class AttemptLogSettings:
    """How attempts are stored. Times in seconds."""

    # 8,192 that wait: a few seconds of a busy process, at most some 16 MiB where all have answers.
    capacity: int = 8192
    # What is made within this time of one another may share a message; so many at most.
    every: float = 0.25
    together: int = 64
    # Messages on their way at the same time.
    pipeline: int = 8


class AttemptLog:
    """Takes what is noted, and stores it."""

    def __init__(self, broker: Broker, settings: AttemptLogSettings | None = None) -> None:
        self.settings = settings or AttemptLogSettings()
        self._broker = broker
        self._queue: deque[Attempt] = deque()
        self._weight = 0
        # Taken out of the queue, and not stored yet.
        self._pages: deque[list[Attempt]] = deque()
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._holder = secrets.token_hex(6)
        self._number = 0

    def note(self, attempt: Attempt) -> None:
        """Takes an attempt; never blocks and never raises. Where too many wait, the new one is dropped and counted."""
        if self._weight >= self.settings.capacity:
            dropped.inc()
            return
        self._queue.append(attempt)
        self._weight += attempt.weight
        self._idle.clear()
        self._news.set()

    async def flushed(self) -> None:
        """Waits until all that was noted is stored, or given up."""
        await self._idle.wait()

    async def run(self) -> None:
        """Stores until cancelled; then what waits is tried once more, for a second."""
        try:
            while True:
                await self._news.wait()
                await asyncio.sleep(self.settings.every)
                self._news.clear()
                await self._flush()
        finally:
            if self._queue or self._pages:
                try:
                    async with asyncio.timeout(1.0):
                        await self._flush()
                except TimeoutError:
                    dropped.inc(len(self._queue) + sum(len(page) for page in self._pages))

    async def _flush(self) -> None:
        self._sort()
        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(len(self._pages), self.settings.pipeline)):
                lanes.create_task(self._lane())
        waiting.set(len(self._queue))
        if not self._queue:
            self._idle.set()

    async def _lane(self) -> None:
        while self._pages:
            page = self._pages.popleft()
            try:
                await self._store(page)
            except asyncio.CancelledError:
                self._pages.appendleft(page)
                raise
            self._weight -= sum(attempt.weight for attempt in page)

    def _sort(self) -> None:
        """Brings what waits into pages: those of one session and one result together, in order."""
        begun: dict[tuple[str, str], list[Attempt]] = {}
        while self._queue:
            attempt = self._queue.popleft()
            key = attempt.session, attempt.result
            page = begun.get(key)
            # One batch is enough for a message.
            if page is None or len(page) >= self.settings.together or attempt.parts or page[-1].parts:
                page = begun[key] = []
                self._pages.append(page)
            page.append(attempt)

    async def _store(self, page: list[Attempt]) -> None:
        first = page[0]
        self._number += 1
        headers = {"Nats-Msg-Id": f"{PREFIX}.{self._holder}.{self._number}"}
        try:
            await self._broker.store(f"{PREFIX}.{first.session}.{first.result}", _encode(page), headers)
            noted.inc(len(page))
        except BrokerError as fault:
            dropped.inc(len(page))
            log.warning("attempts were not stored", extra={"attempts": len(page), "fault": str(fault)})


DEFAULT_LIMIT, MAX_LIMIT = 50, 500
# What one request reads at most: so many times 256 messages or 1 MiB. Past that a page ends, and says where to go on.
READS = 16
READ_MESSAGES = 256
READ_BYTES = 1024 * 1024

_PLACE = re.compile(r"([0-9]{1,15})\.([0-9]{1,6})\Z")


class Place(NamedTuple):
    """Where an attempt lies: its message in ATTEMPTS, and which of that message it is. Sorts from old to new."""

    sequence: int
    nth: int

    def __str__(self) -> str:
        return f"{self.sequence}.{self.nth}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Reads what `str` wrote. Raises Problem `bad_cursor`."""
        if found := _PLACE.match(text):
            return cls(int(found[1]), int(found[2]))
        raise Problem("bad_cursor", "a cursor is the `next` of a page of attempts")


class Found(NamedTuple):
    """A page of attempts, newest first; `next` says where older ones begin, None where there are none."""

    attempts: list[Attempt]
    next: Place | None


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
        before: Place | None = None,
        limit: int = DEFAULT_LIMIT,
        reads: int = READS,
    ) -> Found:
        """Reads the newest attempts that lie before a place; `result` is ok, fail or * for both. Raises BrokerError.

        Those of one quarter of a second may be out of order.
        """
        first, last = await self.span()
        at = last if before is None else min(last, before.sequence)
        found: list[tuple[Place, Attempt]] = []
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
                    place = Place(sequence, index)
                    if (before is not None and place >= before) or not attempts[index].carried(event, delivery):
                        continue
                    if len(found) == limit:
                        return Found([attempt for _, attempt in found], found[-1][0])
                    found.append((place, attempts[index]))
            at = start - 1
            width = width * 8 if len(pages) < READ_MESSAGES // 8 else width
        return Found([attempt for _, attempt in found], Place(at + 1, 0) if at >= first else None)

    async def of(self, session: str, delivery: str) -> list[Attempt]:
        """All attempts of one delivery that are kept, oldest first. Raises BrokerError."""
        page = await self.page(session, delivery=delivery, limit=MAX_LIMIT, reads=4 * READS)
        return sorted(page.attempts, key=lambda attempt: attempt.begun)

    async def delivery_of(self, session: str, event: str) -> str | None:
        """The delivery of an event, by its id; the newest where several events have it. None where nothing is known of one.

        Raises BrokerError.
        """
        page = await self.page(session, event=event, limit=1, reads=4 * READS)
        for attempt in page.attempts:
            for delivery, part in attempt.deliveries.items():
                if part.event == event:
                    return delivery
        return None

    async def scan(
        self, session: str, after: int, upto: int, heard: Callable[[Attempt], None], result: str = "*"
    ) -> None:
        """Tells of every attempt in a span of the stream, oldest first. Raises BrokerError."""
        while after < upto:
            pages, reached = await self._read(session, result, after + 1)
            for sequence, attempts in pages:
                if sequence <= upto:
                    for attempt in attempts:
                        heard(attempt)
            if reached is None:
                return
            after = reached

    async def span(self) -> tuple[int, int]:
        """The first and the last place in the stream that may hold something. Raises BrokerError."""
        state = await self._stream.state()
        return max(1, state["first_seq"]), state["last_seq"]

    async def after(self, moment: datetime) -> int:
        """The place in the stream behind which all lies that was stored at a time or later. Raises BrokerError."""
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
