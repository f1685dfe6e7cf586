"""Says when the next picture may be fetched, so that work does not add to the time between two of them."""

from __future__ import annotations

import math


class FetchPacer:
    """Keeps fetches to a highest rate. It reads no clock: the caller says what time it is, in seconds.

    Deadlines lie a period apart as long as pictures keep coming, and a fetch that begins late makes the next wait shorter.
    After a pause the period begins anew, so that no burst makes up for it.
    """

    def __init__(self, fps: float) -> None:
        self._period = 1 / fps
        self._due = -math.inf

    def remaining(self, now: float) -> float:
        """Seconds until a fetch may begin; 0 where it may now."""
        return max(0.0, self._due - now)

    def begin(self, now: float) -> None:
        """Notes that a fetch begins."""
        late = now - self._due
        self._due = (self._due if late < self._period else now) + self._period
