"""Simulates one edge: a loop that wakes up, takes all that waits, and is done with it after the costs of each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

# More than so many waiting, and it never catches up: five seconds of what comes.
MOST_WAITING_SECONDS = 5.0


@dataclass(frozen=True)
class EdgeWork:
    """What comes in a second. `readers`: how likely an event has 1, 2, … readers here, of those that have any in sum."""

    connections: float
    publishes: float
    events: float
    readers: tuple[float, ...]
    publish_cost: float
    event_cost: float
    # The share of the core that heartbeats and pings take.
    background: float

    @property
    def mean_readers(self) -> float:
        """Readers of an event that has any here."""
        weight = sum(self.readers)
        return sum(count * chance for count, chance in enumerate(self.readers, 1)) / weight if weight else 0.0


@dataclass(frozen=True)
class EdgeRun:
    """What came of it: seconds from a request's or a copy's arrival until its answer or its last write was made."""

    seconds: float
    busy: float
    # Requests and copies that a wake-up took.
    batch: float
    publishes: list[float]
    events: list[float]
    overloaded: bool


def arrivals(rate: float, rng: random.Random) -> Iterator[float]:
    """The times at which something comes that comes at random."""
    now = 0.0
    while rate:
        now += rng.expovariate(rate)
        yield now


def simulate(work: EdgeWork, wake: float, write: float, delivery: float, seconds: float, rng: random.Random) -> EdgeRun:
    """Runs an edge for so many seconds. Costs are in seconds."""
    requests, copies = arrivals(work.publishes, rng), arrivals(work.events, rng)
    next_request, next_copy = next(requests, seconds), next(copies, seconds)
    sums, counts = list(accumulate(work.readers)), range(1, len(work.readers) + 1)
    most = MOST_WAITING_SECONDS * (work.publishes + work.events)
    slower = 1 / max(1e-9, 1 - work.background)
    now = busy = 0.0
    batches = taken = 0
    # However many share a wake-up, more comes than can be done.
    offered = work.publishes * work.publish_cost + work.events * (
        work.event_cost + work.mean_readers * (write + delivery)
    )
    overloaded = offered + work.background >= 1
    published: list[float] = []
    delivered: list[float] = []
    while not overloaded:
        now = max(now, min(next_request, next_copy))
        if now >= seconds:
            break
        waited: list[float] = []
        while next_request <= now:
            waited.append(next_request)
            next_request = next(requests)
        asked = len(waited)
        while next_copy <= now:
            waited.append(next_copy)
            next_copy = next(copies)
        found = len(waited) - asked
        readers = sum(rng.choices(counts, cum_weights=sums, k=found)) if found else 0
        took = wake + asked * work.publish_cost + found * work.event_cost + readers * (write + delivery)
        now += took * slower
        busy += took * slower
        batches, taken = batches + 1, taken + len(waited)
        published += [now - at for at in waited[:asked]]
        delivered += [now - at for at in waited[asked:]]
        overloaded = len(waited) > most or now - waited[0] > MOST_WAITING_SECONDS
    return EdgeRun(max(now, seconds), busy, taken / max(1, batches), published, delivered, overloaded)
