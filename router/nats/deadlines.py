"""Ends what takes too long, by one timer for all that is under way: a timer for each request would cost more than its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class RequestDeadlines:
    """What is to be called unless it is lifted in time."""

    def __init__(self) -> None:
        self._due: dict[Callable[[], None], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0  # when the timer is due

    def __len__(self) -> int:
        return len(self._due)

    def set(self, expire: Callable[[], None], seconds: float) -> None:
        """Calls `expire()` after so many seconds."""
        loop = asyncio.get_running_loop()
        due = self._due[expire] = loop.time() + seconds
        if self._timer is None or due < self._next:
            self._arm(loop, due)

    def lift(self, expire: Callable[[], None]) -> None:
        """Does not call it any more. The timer stays: the next request is likely to come before it is due."""
        self._due.pop(expire, None)

    def close(self) -> None:
        """Calls nothing any more."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._next = loop.call_at(due, self._expire), due

    def _expire(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        # What is due within this tick of the clock is due now, as it is for the loop.
        now = max(loop.time(), self._next)
        overdue = [each for each, due in self._due.items() if due <= now]
        for expire in sorted(overdue, key=self._due.__getitem__):
            if self._due.pop(expire, None) is not None:
                expire()
        if self._due and self._timer is None:
            self._arm(loop, min(self._due.values()))
