"""Ends exchanges whose time is up: one timer for all of them, which costs less than one each."""

from __future__ import annotations

import asyncio
import time

from edge.webhooks.client.exchange import Exchange

# How often the deadlines are checked: an exchange ends so much late at most.
CHECK_SECONDS = 0.05


class Deadlines:
    """The exchanges under way in a process."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._under_way: set[Exchange] = set()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, exchange: Exchange) -> None:
        """Ends an exchange once its time is up."""
        self._under_way.add(exchange)
        if self._timer is None:
            self._timer = self._loop.call_later(CHECK_SECONDS, self._expire_overdue)

    def done(self, exchange: Exchange) -> None:
        """Watches an exchange no longer."""
        self._under_way.discard(exchange)

    def close(self) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _expire_overdue(self) -> None:
        now = time.monotonic()
        for exchange in self._under_way:
            exchange.check(now)
        self._timer = self._loop.call_later(CHECK_SECONDS, self._expire_overdue) if self._under_way else None
