"""Bounds the time that the filters of one principal take of an event loop."""

from __future__ import annotations

from dataclasses import dataclass

from edge.rates import TokenBucket


@dataclass(frozen=True)
class FilterSettings:
    """What the filters of one principal may take of an event loop. Times in seconds."""

    # 3 ms: the longest that one event, or a burst of events, keeps the loop from others for one principal's filters. A request
    # takes some three turns of the loop.
    burst: float = 0.003
    # A quarter of the loop's time in the long run.
    share: float = 0.25
    # An item takes about 1 µs to convert, and about 1 µs at each step of `exists` and its like.
    items: int = 2000
    steps: int = 2000
    # A replay lets others have their turn after so long.
    slice: float = 0.002


class Allowance(TokenBucket):
    """The seconds that the filters of one principal may still take of the event loop; they grow back by a share of the time."""

    __slots__ = ()

    def __init__(self, settings: FilterSettings, now: float) -> None:
        super().__init__(settings.share, settings.burst, now)
