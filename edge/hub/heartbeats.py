"""Spreads the heartbeats of one process's readers evenly over their period, which grows with how many readers there are.

A connection keeps the period that its `ready` told. The first of a process get the shortest one. Where a level has all the
connections that it takes, those that come get twice as long, and then four and a half times: proxies allow no more. So the writes that
a crowd needs while nothing happens are hardly more than those of some thousand readers.
"""

from __future__ import annotations

from edge.hub.heartbeat_slice import HeartbeatSlice
from edge.types import Subscriber

# 12, 24 and 54 s: nginx, Envoy's routes and AWS's load balancers end what is silent for 60 s, without a setting.
SHORTEST = 12.0
MULTIPLES = (1.0, 2.0, 4.5)
# Connections of each level but the last: 100 at 12 s are 8 writes a second, 100 at 24 s are 4, and 12,300 at 54 s are 228.
LEVEL_READERS = 100
# So many parts of the shortest period at most, each at least so many seconds long: some of the readers are due in each.
# Every three seconds, when an idle process wakes anyhow: a burst costs each heartbeat less than a few would.
SLICES = 4
SLICE_SECONDS = 0.5
# Beyond this no proxy is kept from anything: such a setting asks for quiet, and all are due together, long after the start.
LONGEST = 60.0


class Heartbeats:
    """When each reader of one process is due: a timing wheel for each period."""

    def __init__(self, fixed: float | None = None) -> None:
        """`fixed` is one period for all, in seconds; without it the period grows."""
        self.shortest = SHORTEST if fixed is None else fixed
        slices = 1 if self.shortest > LONGEST else max(1, min(SLICES, int(self.shortest / SLICE_SECONDS)))
        # How often some of the readers are due.
        self.tick = self.shortest / slices
        multiples = MULTIPLES if fixed is None else MULTIPLES[:1]
        levels = len(multiples)
        # The slices of the first level, then those of the second, which are twice as many, and so on.
        self._sizes = [int(slices * multiple) for multiple in multiples]
        self._begin = [sum(self._sizes[:level]) for level in range(levels)]
        self._slices = [HeartbeatSlice() for _ in range(sum(self._sizes))]
        # How many readers each level has, and how many have ever entered it.
        self._here = [0] * levels
        self._entered = [0] * levels
        self._turn = 0

    def enter(self, reader: Subscriber, may_grow: bool) -> int:
        """Takes a reader in, and returns its slice; `may_grow` says whether its client is told the period."""
        level = 0
        while may_grow and level < len(self._sizes) - 1 and self._here[level] >= LEVEL_READERS:
            level += 1
        size = self._sizes[level]
        # One after the other over all slices, whenever they come. Backwards: the first one is due after a whole period.
        place = self._begin[level] + (size - 1 - self._entered[level] % size)
        self._entered[level] += 1
        self._here[level] += 1
        self._slices[place].add(reader)
        return place

    def leave(self, reader: Subscriber, place: int) -> None:
        """Takes a reader out of its slice. Harmless the second time."""
        if self._slices[place].discard(reader):
            self._here[self._level(place)] -= 1

    def period(self, place: int) -> float:
        """How often the readers of a slice are due, in seconds."""
        return self.shortest * MULTIPLES[self._level(place)]

    def phase(self, place: int) -> float:
        """Where the readers of a slice are in the round of their level: from 0 to less than 1, evenly spread."""
        level = self._level(place)
        return (place - self._begin[level]) / self._sizes[level]

    def join(self, reader: Subscriber) -> None:
        """Shares the next heartbeats of a reader that has joined a write group with others, if it was told what they were."""
        if reader.beats >= 0:
            self._slices[reader.beats].join(reader)

    def separate(self, reader: Subscriber) -> None:
        """Has a reader, which is about to leave its write group, send heartbeats by itself."""
        if reader.share_place >= 0:
            self._slices[reader.beats].separate(reader)

    def due(self) -> list[HeartbeatSlice]:
        """The slices whose readers are due at the next tick."""
        turn = self._turn
        self._turn += 1
        return [self._slices[begin + turn % size] for begin, size in zip(self._begin, self._sizes, strict=True)]

    def _level(self, place: int) -> int:
        return next(level for level in reversed(range(len(self._begin))) if place >= self._begin[level])
