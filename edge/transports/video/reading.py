"""Estimates how far a client has read pictures that build on one another, and how long to wait before it is sent more.

Waiting makes the viewer of such pictures skip to a key, so that a slow client sees the present. The pictures of H.264 are
small: a kernel's buffer that was made for files holds minutes of them.
"""

from __future__ import annotations

from collections import deque
from typing import Final

# 6: a client that reads five a second is at most 1.2 s behind by these.
MOST_UNREAD: Final = 6
# The client's kernel says what was read only when it is sent something: so one more is sent after a wait, which grows while the
# client stays behind.
FIRST_WAIT, MOST_WAIT = 0.2, 1.0
WAIT_GROWS, WAIT_SHRINKS = 1.3, 0.8


class ReadingPace:
    """What one client was sent and has not read. Times by the loop's clock, in seconds."""

    def __init__(self, now: float) -> None:
        self._sent = self._read = self._unread = 0
        self._ends: deque[int] = deque()
        self._wait = FIRST_WAIT
        self._last = self._progress = now

    def sent(self, size: int, now: float) -> None:
        """Notes that a picture was sent."""
        if now - self._last > MOST_WAIT * 2:
            # Nothing was said of what the client has read since the picture before.
            self._progress = now
        self._last = now
        self._sent += size
        self._ends.append(self._sent)

    def unread(self, size: int, now: float) -> int:
        """How many pictures have not been read, where so many bytes have not."""
        self._read = max(self._read, self._sent - size)
        while self._ends and self._ends[0] <= self._read:
            self._ends.popleft()
        # A kernel's buffer grows as it is filled, which looks like reading; that of one that nobody reads never becomes emptier.
        if size < self._unread or len(self._ends) <= MOST_UNREAD:
            self._progress = now
        self._unread = size
        return len(self._ends)

    def stalled(self, now: float) -> float:
        """For how long it has been behind and read nothing."""
        return now - self._progress

    def wait(self, size: int, now: float) -> float:
        """How long to wait before the next picture, at most, where so many bytes have not been read; 0 for not at all."""
        if self.unread(size, now) <= MOST_UNREAD:
            self._wait = max(FIRST_WAIT, self._wait * WAIT_SHRINKS)
            return 0.0
        self._wait = min(MOST_WAIT, self._wait * WAIT_GROWS)
        return self._wait
