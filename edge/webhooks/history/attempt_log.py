"""Logs each attempt to deliver a webhook: queued without waiting, stored in ATTEMPTS a moment later.

Attempts are stored at `attempt.<session>.<ok|fail>`, several of one session in one message where many were made at once.
Nothing depends on them: where they cannot be stored as fast as they are made, some are dropped, and counted.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from dataclasses import dataclass

from prometheus_client import Counter, Gauge

from edge.webhooks.history.attempt import PREFIX, Attempt, encode
from router.broker import Broker
from router.errors import BrokerError

log = logging.getLogger(__name__)

noted = Counter("edge_webhook_attempts_logged_total", "Attempts that were stored")

dropped = Counter("edge_webhook_attempts_dropped_total", "Attempts that were not stored, because too many were made")

waiting = Gauge("edge_webhook_attempts_waiting", "Attempts that wait to be stored")


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
    """Queues attempts, and stores them."""

    def __init__(self, broker: Broker, settings: AttemptLogSettings | None = None) -> None:
        self.settings = settings or AttemptLogSettings()
        self._broker = broker
        self._queue: deque[Attempt] = deque()
        self._weight = 0
        # Taken out of the queue, and not stored yet.
        self._pages: deque[list[Attempt]] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._holder = secrets.token_hex(6)
        self._number = 0

    def note(self, attempt: Attempt) -> None:
        """Queues an attempt; never blocks and never raises. Where the queue is full, the attempt is dropped and counted."""
        if self._weight >= self.settings.capacity:
            dropped.inc()
            return
        self._queue.append(attempt)
        self._weight += attempt.weight
        self._idle.clear()
        self._wake.set()

    async def flushed(self) -> None:
        """Waits until every queued attempt is stored, or dropped."""
        await self._idle.wait()

    async def run(self) -> None:
        """Stores until cancelled; then the queued attempts are stored within a second, or dropped."""
        try:
            while True:
                await self._wake.wait()
                await asyncio.sleep(self.settings.every)
                self._wake.clear()
                await self._flush()
        finally:
            if self._queue or self._pages:
                try:
                    async with asyncio.timeout(1.0):
                        await self._flush()
                except TimeoutError:
                    dropped.inc(len(self._queue) + sum(len(page) for page in self._pages))

    async def _flush(self) -> None:
        self._group()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(len(self._pages), self.settings.pipeline)):
                tasks.create_task(self._drain())
        waiting.set(len(self._queue))
        if not self._queue:
            self._idle.set()

    async def _drain(self) -> None:
        while self._pages:
            page = self._pages.popleft()
            try:
                await self._store(page)
            except asyncio.CancelledError:
                self._pages.appendleft(page)
                raise
            self._weight -= sum(attempt.weight for attempt in page)

    def _group(self) -> None:
        """Groups the queued attempts into pages: those of one session and one result together, in order."""
        open: dict[tuple[str, str], list[Attempt]] = {}
        while self._queue:
            attempt = self._queue.popleft()
            key = attempt.session, attempt.result
            page = open.get(key)
            # One batch is enough for a message.
            if page is None or len(page) >= self.settings.together or attempt.parts or page[-1].parts:
                page = open[key] = []
                self._pages.append(page)
            page.append(attempt)

    async def _store(self, page: list[Attempt]) -> None:
        first = page[0]
        self._number += 1
        headers = {"Nats-Msg-Id": f"{PREFIX}.{self._holder}.{self._number}"}
        try:
            await self._broker.store(f"{PREFIX}.{first.session}.{first.result}", encode(page), headers)
            noted.inc(len(page))
        except BrokerError as fault:
            dropped.inc(len(page))
            log.warning(
                "attempts were not stored; the history of their webhooks lacks them",
                extra={"attempts": len(page), "fault": str(fault)},
            )
