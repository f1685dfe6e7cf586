"""Estimates the store's clock, for times that one process stores and another compares.

A deadline that one process stores and another compares is right only where both go by one clock. That is the store's:
each answer of JetStream's API carries its time, and between two answers the monotonic clock of this machine counts on. So
neither a jump of this machine's wall clock nor a difference between two machines' moves a deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

# An answer that took longer says too little about when it was given.
MAX_ROUND_TRIP = 2.0
# Differences below this are the network's; following them would only make the time jitter.
TOLERANCE = 0.05


class StoreClock:
    """Seconds since the epoch by the store's clock; by this machine's, as it was at the start, until the store has answered."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._monotonic = monotonic
        self._offset = wall() - monotonic()
        self._measured = False

    def now(self) -> float:
        """The time in seconds."""
        return self._monotonic() + self._offset

    def now_ns(self) -> int:
        """The time in nanoseconds."""
        return int(self.now() * 1e9)

    def saw(self, said: object, begun: float, ended: float) -> None:
        """Learns from an answer that says its time (`2026-01-02T03:04:05.678901234Z`); asked and come by the monotonic clock."""
        trip = ended - begun
        if not isinstance(said, str) or not 0 <= trip <= MAX_ROUND_TRIP:
            return
        try:
            there = datetime.fromisoformat(_to_microseconds(said)).timestamp()
        except ValueError:
            return
        # It was given at some moment of the trip; the middle is at most half of it off.
        offset = there - (begun + ended) / 2
        if not self._measured or abs(offset - self._offset) > trip / 2 + TOLERANCE:
            self._offset, self._measured = offset, True


def ceiling(deadline: float, now: float, longest: float) -> float:
    """A stored deadline as it counts: one that is further ahead than any valid one was stored by a wrong clock."""
    return min(deadline, now + longest)


def _to_microseconds(said: str) -> str:
    """Cuts a time's fraction to what Python reads."""
    head, dot, rest = said.partition(".")
    if not dot:
        return said
    digits = len(rest) - len(rest.lstrip("0123456789"))
    return f"{head}.{rest[: min(digits, 6)]}{rest[digits:]}"


# One for the process: all its connections are to one store.
wall = StoreClock()
