"""Says which tracks and renditions of an Octane's pictures are watched, by the leases of its viewers."""

from __future__ import annotations

import logging

from actors.octane.passes import BEAUTY
from router.cluster.leases import Viewers
from router.rendition import DEFAULT, BadRendition, Rendition

logger = logging.getLogger(__name__)

# 32 renditions of all tracks together: each is encoded for every picture, and who watches first is served first.
MAX_RENDITIONS = 32


class WatchedRenditions:
    """What the viewers of one Octane watch now."""

    def __init__(self, viewers: Viewers) -> None:
        self._viewers = viewers
        self._over = False

    @property
    def some(self) -> bool:
        """Says whether anybody watches."""
        return self._viewers.count > 0

    def by_track(self) -> dict[str, list[Rendition]]:
        """The renditions that are watched of each track."""
        wanted = [found for what in self._viewers.wanted if (found := _read(what)) is not None]
        over = len(wanted) > MAX_RENDITIONS
        if over and not self._over:
            logger.warning(
                "More renditions are watched than are made; the latest viewers see nothing",
                extra={"octane": self._viewers.entity, "watched": len(wanted), "made": MAX_RENDITIONS},
            )
        self._over = over
        tracks: dict[str, list[Rendition]] = {}
        for track, rendition in wanted[:MAX_RENDITIONS]:
            tracks.setdefault(track, []).append(rendition)
        return tracks

    async def wait_for_some(self) -> None:
        """Returns once somebody watches."""
        await self._viewers.wait_for_some()

    async def wait_for_news(self) -> None:
        """Returns once there may be other viewers."""
        await self._viewers.wait_for_news()


def _read(what: tuple[str, ...]) -> tuple[str, Rendition] | None:
    """What one lease says is watched; None where it makes no sense here."""
    if not what:
        # An edge of an earlier version, or anybody who wants just a picture.
        return BEAUTY, DEFAULT
    try:
        track, token = what
        return track, Rendition.of_token(token)
    except (ValueError, BadRendition):
        return None
