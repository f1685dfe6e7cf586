"""Clocks that a test can replace, and exponential backoff with full jitter before a retry."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time and waits; monotonic, in seconds."""

    def now(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class ManualClock:
    """A clock that stands still until `advance`, for tests that must not wait."""

    # Steps of the loop given to the sleepers that were woken, before time moves on: more than any chain of awaits here is long.
    SETTLE = 50

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self._now

    @property
    def sleeping(self) -> int:
        """How many wait for this clock."""
        return sum(1 for _, _, future in self._sleepers if not future.done())

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Moves time on, waking sleepers one by one in the order they are due."""
        target = self._now + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, due)
            if not future.done():
                future.set_result(None)
                await self._settle()
        self._now = target
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(self.SETTLE):
            await asyncio.sleep(0)


def full_jitter(attempt: int, base: float, cap: float) -> float:
    """Picks the backoff before a retry: anywhere from 0 to base · 2^(attempt-1), never above cap. Attempts count from 1.

    The whole range is used, so that clients that failed at the same time do not retry at the same time.
    """
    # 2^60 is past any cap; more would only overflow a float.
    return random.uniform(0.0, min(cap, base * 2.0 ** min(max(attempt, 1) - 1, 60)))
