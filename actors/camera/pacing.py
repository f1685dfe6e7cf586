"""Paces a capture and measures it: when the next picture is due, and how evenly pictures were sent."""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise

# Below one picture in ten seconds nobody calls it a stream; above 240 no camera we know delivers.
MIN_FPS = 0.1
MAX_FPS = 240.0

# 2 s: long enough that one late picture does not shake the figures, short enough to see a change at once.
WINDOW = 2.0


class Pacer:
    """Says when the next picture is due. Deadlines lie on a grid, so that work never adds to the period.

    It reads no clock and does not sleep: the caller says what time it is.
    """

    def __init__(self, fps: float, now: float) -> None:
        self._begin(fps, now)

    def _begin(self, fps: float, now: float) -> None:
        self._fps = fps
        self._origin = now
        # Deadlines are counted and multiplied, not added up: a sum would drift by its rounding.
        self._index = 0

    @property
    def fps(self) -> float:
        """The rate asked for."""
        return self._fps

    @property
    def deadline(self) -> float:
        """When the next picture is due."""
        return self._origin + self._index / self._fps

    def remaining(self, now: float) -> float:
        """Seconds until the next picture is due; zero or less when it is due or late."""
        return self.deadline - now

    def change(self, fps: float, now: float) -> None:
        """Takes up another rate; the next picture is due at once."""
        self._begin(fps, now)

    def tick(self, now: float) -> int:
        """Moves on to the first deadline after now, and says how many were missed on the way."""
        due = self._index
        self._index = max(due + 1, math.floor((now - self._origin) * self._fps) + 1)
        while self.deadline <= now:
            self._index += 1  # the rounding of one multiplication
        return self._index - due - 1


class CaptureMeter:
    """Measures what was really sent: pictures and bytes a second, and how unevenly they came."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, now: float, size: int = 0) -> None:
        """Notes one picture that left."""
        self._marks.append((now, size))
        # Two are kept however old: a picture every ten seconds has a rate, too.
        while len(self._marks) > 2 and self._marks[0][0] < now - WINDOW:
            self._marks.popleft()

    def age(self, now: float) -> float:
        """Seconds since the last picture; infinite before the first."""
        return now - self._marks[-1][0] if self._marks else math.inf

    @property
    def _span(self) -> float:
        return self._marks[-1][0] - self._marks[0][0] if len(self._marks) > 1 else 0.0

    @property
    def fps(self) -> float:
        """Pictures a second over the last two seconds; 0 before there are two of them."""
        return (len(self._marks) - 1) / self._span if self._span > 0 else 0.0

    @property
    def bytes_per_second(self) -> float:
        """Bytes a second over the same time."""
        return sum(size for _, size in list(self._marks)[1:]) / self._span if self._span > 0 else 0.0

    @property
    def jitter_ms(self) -> float:
        """The standard deviation of the time between two pictures, in milliseconds."""
        if len(self._marks) < 3:
            return 0.0
        times = [time for time, _ in self._marks]
        mean = self._span / (len(times) - 1)
        spread = sum((b - a - mean) ** 2 for a, b in pairwise(times))
        return 1000.0 * math.sqrt(spread / (len(times) - 1))
