"""Bounds the time that the filters of one principal take of an event loop."""

from __future__ import annotations

from edge.settings import FilterSettings
from router.rates import TokenBucket


class Allowance(TokenBucket):
    """The seconds that the filters of one principal may still take of the event loop; they grow back by a share of the time."""

    __slots__ = ()

    def __init__(self, settings: FilterSettings, now: float) -> None:
        super().__init__(settings.share, settings.burst, now)
