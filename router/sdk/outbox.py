"""Holds a run's events until JetStream has stored them: a bounded queue with one publisher, which is its backpressure.

Events are published one after the other, each once the one before is stored, so that no retry can change their order.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import NamedTuple

from router.broker import Broker
from router.dedup import of_event
from router.errors import Refused, Timeout
from router.event import Event
from router.nats.refusals import has_no_room
from router.subject import STORED

log = logging.getLogger(__name__)

# 16 MiB of events: the memory that a run may take of its program while NATS is away.
MAX_BYTES = 16 * 1024 * 1024
# Between two attempts to publish to a stream that is full.
FULL_RETRY_SECONDS = 0.5


class _Waiting(NamedTuple):
    dedup: str
    subject: str
    payload: bytes


class RunOutbox:
    """The queue of one run. Callers wait for `room` before `add`; a completion does not wait, and may exceed the bounds."""

    def __init__(self, capacity: int) -> None:
        self.sent = 0
        self.refused = 0
        self._capacity = capacity
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        return len(self._queue) >= self._capacity or self._bytes >= MAX_BYTES

    def add(self, event: Event, payload: bytes) -> None:
        """Appends an event."""
        self._queue.append(_Waiting(of_event(event), event.subject, payload))
        self._bytes += len(payload)
        self._filled.set()
        self._empty.clear()

    async def room(self) -> None:
        """Returns once there may be room; check `full` again."""
        self._room.clear()
        if self.full:
            await self._room.wait()

    async def empty(self) -> None:
        """Returns once everything is stored, or refused for good."""
        await self._empty.wait()

    async def publish_one(self, broker: Broker) -> None:
        """Waits for an event and stores it; retries for as long as NATS is away or its stream is full."""
        while not self._queue:
            self._filled.clear()
            await self._filled.wait()
        first = self._queue[0]
        tries = 0
        while not await self._try(broker, first, warn=tries == 0):
            tries += 1
        self._queue.popleft()
        self._bytes -= len(first.payload)
        if not self.full:
            self._room.set()
        if not self._queue:
            self._empty.set()

    async def _try(self, broker: Broker, first: _Waiting, warn: bool) -> bool:
        """Publishes an event once; False where it has to be tried again."""
        try:
            await broker.store(STORED + first.subject, first.payload, {"Nats-Msg-Id": first.dedup})
        except Refused as refusal:
            about = {"subject": first.subject, "fault": str(refusal)}
            if not has_no_room(refusal):
                # No retry would change this answer, and the events behind must not wait for ever.
                self.refused += 1
                log.error("event refused by JetStream; it is dropped", extra=about)
                return True
            if warn:
                log.warning("the stream is full; events are kept and published once there is room", extra=about)
            await asyncio.sleep(FULL_RETRY_SECONDS)
            return False
        except Timeout as fault:
            # It is tried again with the same id: if it was stored after all, JetStream drops the repeat.
            if warn:
                about = {"subject": first.subject, "fault": str(fault)}
                log.warning("NATS does not answer; events are kept and published once it does", extra=about)
            return False
        self.sent += 1
        return True
