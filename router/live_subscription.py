"""Counts what one subscription brings of the live copies, so that it can be compared with the store."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from router.layout import Shard
from router.nats.subscription import Subscription
from router.position import Placed, Position
from router.record import Record
from router.subject import overlap

# While it is not known where the streams stand, so many places are remembered to be counted afterwards.
MAX_EARLY = 10_000
# Before everything.
NOWHERE = Position(-1, ())


class Loss(NamedTuple):
    """Events under a pattern, all of them after a position, of which some may not have been received."""

    pattern: str
    after: Position


class _StoredAt(NamedTuple):
    """Where an event is stored that was received."""

    shard: Shard
    sequence: int


class UnverifiedRange(NamedTuple):
    """What a pattern brought between two positions, and was not yet compared with the store when all began anew."""

    pattern: str
    after: Position
    upto: Position
    received: int | None


class LiveSubscription:
    """One subscription, and how many events it has brought since the last comparison with the store."""

    __slots__ = ("_make", "_take", "bound", "early", "high", "listening", "low", "pattern", "since", "verified")

    def __init__(
        self,
        pattern: str,
        make: Callable[[str, bytes, bytes], Record | None],
        take: Callable[[Record], None],
    ) -> None:
        """`make` makes a record of a subject, a payload and headers, where it can; `take` takes each."""
        self.pattern = pattern
        self.listening: Subscription | None = None
        # The position after which all events are received; None until the streams were asked.
        self.since: Position | None = None
        # Up to `verified` nothing is missing; `low` events were received from there to `bound`, `high` behind it.
        self.verified = self.bound = NOWHERE
        self.low = self.high = 0
        self.early: deque[Placed] | None = deque(maxlen=MAX_EARLY)
        self._make = make
        self._take = take

    def receive(self, subject: str, _reply: str, payload: bytes, headers: bytes) -> None:
        """Counts an event and passes it on."""
        record = self._make(subject, payload, headers)
        if record is None:
            return
        if self.early is not None:
            self.early.append(_StoredAt(record.shard, record.sequence))
        elif record.sequence > self.bound.sequences[record.shard.index]:
            # All that is brought is of the generation that takes events.
            self.high += 1
        elif record.sequence > self.verified.sequences[record.shard.index]:
            self.low += 1
        self._take(record)

    def received(self) -> int | None:
        """How many events between `verified` and `bound` have come; None where all began anew."""
        return self.low if self.early is None else None

    def unverified(self, position: Position, loss: Loss | None) -> UnverifiedRange | None:
        """What is not yet compared of all that was received up to a position, and before a loss that is reported already."""
        if self.early is not None:
            return None
        count: int | None = self.low + self.high
        if loss is not None and overlap(loss.pattern, self.pattern):
            # A reader that is past it goes back there. How many of those before it were received was not counted.
            position, count = position.met(loss.after), None
        return UnverifiedRange(self.pattern, self.verified, position, count) if self.verified.behind(position) else None

    def forget(self) -> None:
        """Begins anew: what was received may be of another life."""
        self.since = None
        self.early = deque(maxlen=MAX_EARLY)

    def begin(self, since: Position) -> None:
        """Counts what comes after a position."""
        early = self.early or deque()
        self.since = bound = since
        if len(early) == MAX_EARLY:
            # What is not remembered any more cannot be counted either.
            seen: set[Shard] = set()
            for place in early:
                if place.shard not in seen:
                    seen.add(place.shard)
                    bound = bound.after(place)
        self.verified = self.bound = bound
        self.low, self.high = 0, sum(not bound.covers(place) for place in early)
        self.early = None

    def bind(self, bound: Position) -> None:
        """Calls all up to the old bound verified, and sets the new one, which nothing received so far comes after."""
        self.verified, self.bound = self.bound, bound
        self.low, self.high = self.high, 0
