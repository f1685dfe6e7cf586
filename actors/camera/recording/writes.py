"""Stores what a recorder has made, in order: what NATS cannot take now waits in memory, up to a limit."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from router.errors import BrokerError, Refused
from router.timing import full_jitter

log = logging.getLogger(__name__)

# 32 MiB: a minute of 4 Mbit/s, which is how long nats-server may be away without a gap in what is recorded.
MAX_WAITING = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PendingWrite:
    """One write: `run` stores it and may raise BrokerError. `owner` is the id of the file it belongs to, `n` its piece there."""

    run: Callable[[], Awaitable[object]]
    size: int = 0
    owner: str = ""
    n: int = 0


class WriteQueue:
    """The writes of one recorder. One at a time is under way."""

    def __init__(self, refused: Callable[[PendingWrite, Refused], Awaitable[None]], most: int = MAX_WAITING) -> None:
        """`refused` is called where NATS does not take a write at all; the next follow."""
        self._refused = refused
        self._most = most
        self._waiting: deque[PendingWrite] = deque()
        self._bytes = 0
        self._some = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._one_at_a_time = asyncio.Lock()

    def has_room(self, size: int) -> bool:
        """Whether so many bytes fit in beside what waits."""
        return self._bytes + size <= self._most

    def add(self, write: PendingWrite) -> None:
        """Takes a write; those without bytes of their own are taken whatever waits."""
        self._waiting.append(write)
        self._bytes += write.size
        self._empty.clear()
        self._some.set()

    def discard(self, owner: str) -> None:
        """Drops the pieces of a file that wait."""
        kept = [write for write in self._waiting if write.owner != owner or not write.n]
        self._waiting = deque(kept)
        self._bytes = sum(write.size for write in kept)

    async def run(self) -> None:
        """Stores until cancelled. NATS being away is waited out."""
        failures = 0
        while True:
            await self._some.wait()
            try:
                await self._store_first()
                failures = 0
            except BrokerError as fault:
                failures += 1
                log.warning(
                    "piece of a recording is not stored yet; retrying",
                    extra={"fault": str(fault), "waiting_bytes": self._bytes},
                )
                await asyncio.sleep(full_jitter(failures, 0.1, 2.0))

    async def drained(self, seconds: float) -> bool:
        """Waits until all is stored; False where that takes longer."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    async def drain(self, seconds: float) -> bool:
        """Stores what waits, also where `run` has ended; False where that takes longer."""
        try:
            async with asyncio.timeout(seconds):
                while self._waiting:
                    await self._store_first()
        except (TimeoutError, BrokerError):
            return False
        return True

    async def _store_first(self) -> None:
        async with self._one_at_a_time:
            if not self._waiting:
                self._some.clear()
                self._empty.set()
                return
            write = self._waiting[0]
            try:
                await write.run()
            except Refused as refusal:
                self._remove(write)
                await self._refused(write, refusal)
            else:
                self._remove(write)
            if not self._waiting:
                self._some.clear()
                self._empty.set()

    def _remove(self, write: PendingWrite) -> None:
        if self._waiting and self._waiting[0] is write:
            self._waiting.popleft()
            self._bytes -= write.size
