"""Says which rungs of a camera are watched, by the leases of its viewers."""

from __future__ import annotations

import logging
from collections import Counter

from router.cluster.leases import Viewers
from router.rungs import BadRung, Rung

log = logging.getLogger(__name__)

# Names of rungs that nobody makes, as far as they were logged.
_MAX_UNKNOWN = 64


class WatchedRungs:
    """What the viewers of one camera watch now."""

    def __init__(self, viewers: Viewers) -> None:
        self._viewers = viewers
        self._unknown: set[tuple[str, ...]] = set()

    def counts(self) -> Counter[Rung]:
        """The rungs that are watched, and how many leases each has."""
        counts: Counter[Rung] = Counter()
        for what, count in self._viewers.counts.items():
            if (rung := self._read(what)) is not None:
                counts[rung] += count
        return counts

    async def wait_for_news(self) -> None:
        """Returns once there may be other viewers."""
        await self._viewers.wait_for_news()

    def _read(self, what: tuple[str, ...]) -> Rung | None:
        """What one lease says is watched; None, with one line in the log, where there is no such rung."""
        try:
            return Rung.of_what(what)
        except BadRung as fault:
            if what not in self._unknown and len(self._unknown) < _MAX_UNKNOWN:
                self._unknown.add(what)
                log.warning(
                    "a viewer's lease names a rung that there is not; it is ignored",
                    extra={"camera": self._viewers.entity, "fault": str(fault)},
                )
            return None
