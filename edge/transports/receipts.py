"""Remembers the cursors that polls were answered with, until the next poll acknowledges them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edge import metrics

if TYPE_CHECKING:
    from edge.transports.polling import Polled


# Polls whose receipt is still to come, by session and cursor: 10,000 of them are some 2 MB.
MAX_AWAITED = 10_000


class PollReceipts:
    """What polls were answered with and when it was published, until the next poll confirms it."""

    def __init__(self) -> None:
        self._published: dict[tuple[str, str], float] = {}
        self._delivered = metrics.delivered.labels("polling")
        self._written = metrics.written.labels("polling")
        self._seconds = metrics.write_seconds.labels("polling")
        self._late = metrics.replay_seconds.labels("polling")
        self._acknowledged = metrics.acknowledge_seconds.labels("polling")

    def polled(self, session: str, came_with: str, polled: Polled, size: int) -> None:
        """Counts an answer to a poll; the cursor it came with confirms the answer that had it as `next`."""
        now = time.time()
        if (published := self._published.pop((session, came_with), None)) is not None:
            self._acknowledged.observe(max(0.0, now - published))
        if not polled.records:
            return
        self._delivered.inc(len(polled.records))
        self._written.inc(size)
        event = polled.records[-1].event
        if event is None:
            return
        age = max(0.0, now - event.time / 1e9)
        # A poll that waited was answered by what was just published; the others read what was stored.
        (self._seconds if polled.waited else self._late).observe(age)
        self._published[session, polled.next] = event.time / 1e9
        if len(self._published) > MAX_AWAITED:
            del self._published[next(iter(self._published))]
