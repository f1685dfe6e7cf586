"""Puts events that come late into the order of their times, and deadlines among them.

Rules that allow the same lateness share a lane. What happened before the lane's horizon, which is that long behind the
newest event and the clock, is settled: the order in which its events came makes no difference. A lane without lateness
takes each event as it comes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from router.event import Event

W = TypeVar("W")

# Events that wait in one lane; past that the oldest does not wait any longer.
MAX_WAITING = 10_000


class Arrived(NamedTuple, Generic[W]):
    """An event whose turn it is, and who looks at it. `late`: its time was settled already."""

    at: int
    mark: str
    event: Event
    watches: list[W]
    late: bool = False


class Deadline(NamedTuple):
    """A moment that is due, for one item of an owner that has `lapse`."""

    at: int
    owner: Any
    item: Any


class Lane(Generic[W]):
    """The events and deadlines of the rules of one lateness, in ns."""

    def __init__(self, lateness: int) -> None:
        self.lateness = lateness
        self.horizon = 0
        self.late = 0
        self._events: list[tuple[int, str, int, Event, list[W]]] = []
        self._timers: list[tuple[int, int, str, int, Any, Any]] = []
        self._count = 0

    @property
    def waiting(self) -> list[Event]:
        """The events that wait."""
        return [each[3] for each in sorted(self._events, key=lambda each: each[:3])]

    def put(self, at: int, mark: str, event: Event, watches: list[W]) -> Arrived[W] | None:
        """Takes an event; gives it back where it does not wait: it came too late, or nothing waits in this lane."""
        if not self.lateness:
            return Arrived(at, mark, event, watches)
        if at < self.horizon:
            self.late += 1
            return Arrived(at, mark, event, watches, late=True)
        self._count += 1
        heapq.heappush(self._events, (at, mark, self._count, event, watches))
        return None

    def schedule(self, at: int, order: int, key: str, owner: Any, item: Any) -> None:
        """Sets a timer; those of one moment go by order and key."""
        self._count += 1
        heapq.heappush(self._timers, (at, order, key, self._count, owner, item))

    def settle(self, now: int) -> Iterator[Arrived[W] | Deadline]:
        """What happens up to the horizon of a moment, in the order of time; at one moment, events before deadlines."""
        horizon = now - self.lateness if self.lateness else now + 1
        while True:
            timer = self._timers[0][0] if self._timers else None
            event = self._events[0][0] if self._events else None
            if event is not None and (timer is None or event <= timer):
                if event >= horizon and len(self._events) <= MAX_WAITING:
                    break
                at, mark, _, what, watches = heapq.heappop(self._events)
                self.horizon = max(self.horizon, at)
                yield Arrived(at, mark, what, watches)
            elif timer is not None and timer < horizon:
                at, _, _, _, owner, item = heapq.heappop(self._timers)
                yield Deadline(at, owner, item)
            else:
                break
        self.horizon = max(self.horizon, horizon)
