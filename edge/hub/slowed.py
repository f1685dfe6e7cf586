"""Takes readers off the live path whose filter is over its budget, and lets them read again, a few in each turn of the loop."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from edge.filters.evaluation import Filtering
from edge.hub.feed import Feed
from edge.types import Subscriber

# The readers of a feed are told that it is slowed at most this often.
SLOWED_EVERY = 10.0
# Readers that begin to read again in one turn of the loop: each takes up to half a millisecond of it.
SLOWED_AT_ONCE = 2


class SlowedReaders:
    """Readers that left the live path and have not begun to read again; and whether to tell their clients."""

    def __init__(self, filtering: Filtering) -> None:
        self._filtering = filtering
        self._waiting: deque[tuple[Subscriber, bool]] = deque()

    def slow(self, feed: Feed) -> None:
        """Takes the readers of a feed off the live path: they read again what they lack, at the pace of their budget."""
        self._filtering.warn(feed.view)
        now = time.monotonic()
        tell = now - feed.slowed >= SLOWED_EVERY
        if tell:
            feed.slowed = now
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._resume)
        for reader in feed.live.all():
            reader.slow()
            self._waiting.append((reader, tell))

    def _resume(self) -> None:
        """Lets some of the readers that were slowed go on, a few in each turn of the loop: one event may slow thousands."""
        for _ in range(min(SLOWED_AT_ONCE, len(self._waiting))):
            reader, tell = self._waiting.popleft()
            reader.resume_slowed(tell)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._resume)
