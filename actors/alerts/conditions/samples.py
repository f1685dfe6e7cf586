"""Keeps the values of a sliding window in the order of their times: 16 to 24 bytes for each."""

from __future__ import annotations

import math
from array import array
from base64 import b64decode, b64encode
from bisect import bisect_left, bisect_right, insort
from typing import Any


class SampleRoom:
    """How many samples all windows together may hold."""

    __slots__ = ("held", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0


# Of one process: 24 MB at most. Past it a window drops its own oldest sample for each new one.
room = SampleRoom(1_000_000)


class Samples:
    """The samples of one key: those of the last `over` ns, at most `most`; past that, the oldest is dropped."""

    __slots__ = ("_most", "_over", "_ranked", "_sorted", "began", "dropped", "holds", "now", "times", "values")

    def __init__(self, over: int, most: int, ranked: bool) -> None:
        """`ranked` keeps the values sorted too, for `rank`."""
        self.times = array("q")
        self.values = array("d")
        self.holds = False
        self.now = 0
        # The first sample ever, which may have left the window.
        self.began: int | None = None
        self.dropped = 0
        self._over = over
        self._most = most
        self._ranked = ranked
        self._sorted = array("d")

    def __len__(self) -> int:
        return len(self.times)

    def __del__(self) -> None:
        room.held -= len(self.times)

    def add(self, at: int, value: float) -> bool:
        """Adds a sample at its place; False for one that came so late that the window has moved past it."""
        self.expire(at)
        if at <= self.now - self._over:
            return False
        self.began = at if self.began is None else min(self.began, at)
        if len(self.times) >= self._most or (room.held >= room.most and self.times):
            if at < self.times[0]:
                return False
            self._drop(1)
            self.dropped += 1
        place = bisect_right(self.times, at)
        self.times.insert(place, at)
        self.values.insert(place, value)
        if self._ranked:
            insort(self._sorted, value)
        room.held += 1
        return True

    def expire(self, now: int) -> None:
        """Drops the samples that are `over` old."""
        self.now = max(self.now, now)
        gone = bisect_right(self.times, self.now - self._over)
        if gone:
            self._drop(gone)

    def _drop(self, count: int) -> None:
        if self._ranked:
            for value in self.values[:count]:
                del self._sorted[bisect_left(self._sorted, value)]
        del self.times[:count]
        del self.values[:count]
        room.held -= count

    def clear(self) -> None:
        """Forgets all samples."""
        self._drop(len(self.times))
        self.holds = False
        self.began = None

    def rank(self, share: float) -> float:
        """The smallest value that so large a share of the values is not above (the nearest rank)."""
        return self._sorted[max(0, math.ceil(share * len(self._sorted)) - 1)]

    def dump(self) -> list[Any] | None:
        """All of it as JSON."""
        if self.began is None:
            return None
        return [self.now, self.began, self.holds, _text(self.times), _text(self.values)]

    def load(self, raw: Any) -> None:
        """Takes what `dump` wrote. Raises ValueError, TypeError or LookupError."""
        now, began, holds, times, values = raw
        made = array("q"), array("d")
        made[0].frombytes(b64decode(times, validate=True))
        made[1].frombytes(b64decode(values, validate=True))
        if len(made[0]) != len(made[1]):
            raise ValueError("there must be a time for each value")
        self.clear()
        for at, value in zip(made[0][-self._most :], made[1][-self._most :], strict=True):
            self.add(at, value)
        self.expire(int(now))
        self.began, self.holds = int(began), bool(holds)


def _text(values: array[Any]) -> str:
    return b64encode(values.tobytes()).decode()
