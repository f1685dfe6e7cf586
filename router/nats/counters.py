"""Counts what the seam to NATS does, in plain numbers; `router/metrics.py` shows them to Prometheus.

Plain, so that a command or a script that publishes one event need not load what makes metrics of them.
"""

from __future__ import annotations

import weakref
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Protocol

# From half a millisecond, a store on this machine, to the ten seconds after which a publisher gives up.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OUTCOMES = ("stored", "duplicate", "refused", "timeout")
STORED, DUPLICATE, REFUSED, TIMEOUT = OUTCOMES


class Delays:
    """Durations, counted into buckets; the last one is for what is longer than every bound."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one duration; a negative one, which clocks that differ make, counts as none."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        if seconds > 0:
            self.sum += seconds

    def observe_many(self, seconds: float, count: int) -> None:
        """Counts one duration for several events."""
        seconds = max(0.0, seconds)
        self.counts[bisect_left(BOUNDS, seconds)] += count
        self.sum += seconds * count

    def observe_all(self, durations: Iterable[float]) -> None:
        """Counts several durations."""
        counts, total = self.counts, 0.0
        for seconds in durations:
            # A negative one is in the first bucket all the same.
            counts[bisect_left(BOUNDS, seconds)] += 1
            if seconds > 0:
                total += seconds
        self.sum += total


class Counted(Protocol):
    """What is shown of a connection to NATS."""

    @property
    def connected(self) -> bool:
        """Whether it is up."""

    @property
    def traffic(self) -> Mapping[str, int]:
        """Messages and bytes in and out, as nats-py counts them."""


class Figures:
    """What this process has had to do with NATS since it began."""

    def __init__(self) -> None:
        self.connections: weakref.WeakSet[Counted] = weakref.WeakSet()
        # From an event's own time until JetStream had it.
        self.publish_to_store = Delays()
        # From the request until JetStream's answer, tries included.
        self.publish = Delays()
        self.published = dict.fromkeys(OUTCOMES, 0)
        self.requests = Delays()
        self.unanswered = 0
        self.losses = 0
        self.reconnects = 0
        self.silences = 0
        self.slow = 0
        self.forbidden = 0
        # Values of each bucket that could not be decoded, and were passed over.
        self.undecodable: dict[str, int] = {}


figures = Figures()
