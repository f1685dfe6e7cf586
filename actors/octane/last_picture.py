"""Keeps the last picture of each render pass of one Octane, and that of each run, across restarts of everything."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from actors.octane.waiting import within
from router.errors import BrokerError
from router.last_pictures import KeptPicture, PictureKey, PictureStore

logger = logging.getLogger(__name__)

MAIN = "beauty"
# 32: one track a render pass, and their names come from outside.
MAX_TRACKS = 32
# How long the end of a run waits for the picture of its last sample: an idle actor fetches one every two seconds.
FINAL_SECONDS = 10.0


class ShownPicture(NamedTuple):
    """A picture as it was sent to FRAMES."""

    header: Mapping[str, Any]
    body: bytes

    @property
    def time(self) -> float:
        """Seconds since the epoch."""
        return float(self.header.get("time", 0)) / 1000

    def follows(self, other: ShownPicture) -> bool:
        """Whether it shows the same film, as far as the other or further."""
        return self.header.get("change_level") == other.header.get("change_level") and self.header.get(
            "samples", 0
        ) >= other.header.get("samples", 0)


class PictureKeeper:
    """The last pictures of one Octane. `about` gives the fields that tell who rendered them."""

    def __init__(
        self,
        instance: str,
        store: PictureStore,
        interval: float,
        now: Callable[[], float],
        about: Callable[[], dict[str, Any]],
    ) -> None:
        self._instance, self._store, self._interval, self._now, self._about = instance, store, interval, now, about
        self._latest: dict[str, ShownPicture] = {}
        self._unstored: set[str] = set()
        self._stored = -math.inf
        self._arrived = asyncio.Event()
        self._complaint = ""

    def saw(self, track: str, header: Mapping[str, Any], body: bytes) -> None:
        """Takes a picture that was sent to FRAMES."""
        if track not in self._latest and len(self._latest) >= MAX_TRACKS:
            return
        self._latest[track] = ShownPicture({**header, **self._about()}, body)
        self._unstored.add(track)
        self._arrived.set()

    @property
    def main(self) -> ShownPicture | None:
        """The newest picture of the beauty pass; of another one where that is not watched."""
        return self._latest.get(MAIN) or next(iter(self._latest.values()), None)

    async def store_due(self) -> None:
        """Stores what has changed, once in a while."""
        if self._unstored and self._now() - self._stored >= self._interval:
            await self.store()

    async def store(self) -> None:
        """Stores what has changed; what cannot be stored now is stored the next time."""
        self._stored = self._now()
        for track in sorted(self._unstored):
            picture = self._latest[track]
            try:
                await self._store.keep(
                    PictureKey.of_track("octane", self._instance, track), picture.header, picture.body
                )
            except BrokerError as fault:
                self._complain(str(fault))
                return
            if self._latest[track] is picture:
                self._unstored.discard(track)

    async def final(self, samples: int, ask: Callable[[], None] = lambda: None) -> ShownPicture | None:
        """The picture of a film with that many samples, once it is there; the newest of that film where it does not come.

        `ask` has a picture fetched: an Alpha 5 that nobody watches says nothing of its last one.
        """
        newest = self.main
        deadline = self._now() + FINAL_SECONDS
        while (left := deadline - self._now()) > 0:
            shown = self.main
            if shown is not None and newest is not None and not shown.follows(newest):
                # The next film is on; the last picture of this one has been seen.
                break
            newest = shown
            if newest is not None and newest.header.get("samples", 0) >= samples:
                break
            self._arrived.clear()
            ask()
            await within(min(left, 1.0), self._arrived.wait())
        return newest

    async def keep_for_run(
        self, domain: str, run: str, since: float, picture: ShownPicture | None
    ) -> KeptPicture | None:
        """Stores the last picture of a run; without one, that which was stored since the run began. Raises BrokerError."""
        if picture is None or picture.time < since:
            picture = await self._stored_since(since)
        if picture is None:
            return None
        return await self._store.keep(PictureKey.of_run(domain, run), {**picture.header, "run": run}, picture.body)

    async def _stored_since(self, since: float) -> ShownPicture | None:
        key = PictureKey.of_track("octane", self._instance, MAIN)
        kept = await self._store.find(key)
        if kept is None or kept.time < since:
            return None
        found = await self._store.body(key, kept)
        return ShownPicture(found[0].header, found[1]) if found is not None else None

    def _complain(self, reason: str) -> None:
        """Logs a reason once, not once a picture."""
        if reason != self._complaint:
            self._complaint = reason
            logger.warning("last picture could not be stored", extra={"octane": self._instance, "reason": reason})
