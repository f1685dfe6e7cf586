"""This file is where a run's events wait until JetStream has them: a bounded queue and its one publisher.

They leave one after the other, each once the one before is stored, so that no retry can change their order.
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

# 16 MiB of unsent events: what a run may cost its program in memory while NATS is away.
QUEUE_BYTES = 16 * 1024 * 1024
# How often it is tried whether a store that was full has room again.
ROOM_SECONDS = 0.5


class _Waiting(NamedTuple):
    dedup: str
    subject: str
    payload: bytes


class Unsent:
    """The queue. Whoever adds waits for `room` first; what must not wait may overshoot by an event or two."""

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
        return len(self._queue) >= self._capacity or self._bytes >= QUEUE_BYTES

    def add(self, event: Event, payload: bytes) -> None:
        """Puts an event behind the others."""
        self._queue.append(_Waiting(of_event(event), event.subject, payload))
        self._bytes += len(payload)
        self._filled.set()
        self._empty.clear()

    async def room(self) -> None:
        """Returns once there may be room; look again."""
        self._room.clear()
        if self.full:
            await self._room.wait()

    async def empty(self) -> None:
        """Returns once everything is stored, or refused for good."""
        await self._empty.wait()

    async def publish_one(self, broker: Broker) -> None:
        """Waits for an event and stores it. NATS being away is waited out."""
        while not self._queue:
            self._filled.clear()
            await self._filled.wait()
        first = self._queue[0]
        tries = 0
        while True:
            try:
                await broker.store(STORED + first.subject, first.payload, {"Nats-Msg-Id": first.dedup})
                self.sent += 1
                break
            except Refused as refusal:
                if has_no_room(refusal):
                    # There may be room again; until then what is said waits here as while NATS is away.
                    tries += 1
                    if tries == 1:
                        log.warning("events wait for room", extra={"subject": first.subject, "fault": str(refusal)})
                    await asyncio.sleep(ROOM_SECONDS)
                    continue
                # A verdict, and none that another try would change. What follows must not wait behind it for ever.
                self.refused += 1
                log.error("an event was refused", extra={"subject": first.subject, "fault": str(refusal)})
                break
            except Timeout as fault:
                # The same id again: if it was stored after all, the repeat is dropped.
                tries += 1
                if tries == 1:
                    log.warning("events wait for NATS", extra={"subject": first.subject, "fault": str(fault)})
        self._queue.popleft()
        self._bytes -= len(first.payload)
        if not self.full:
            self._room.set()
        if not self._queue:
            self._empty.set()
