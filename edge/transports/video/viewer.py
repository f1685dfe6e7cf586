"""What one connection that watches pictures has received and not yet sent."""

from __future__ import annotations

import asyncio

from edge.transports.video.frame import Frame


class Viewer:
    """One connection that watches a track: a slot for the newest frame."""

    __slots__ = ("_arrived", "_newest", "dropped")

    def __init__(self) -> None:
        self._newest: Frame | None = None
        self._arrived = asyncio.Event()
        self.dropped = 0

    def show(self, frame: Frame) -> None:
        """Puts a frame into the slot; one that was not fetched yet is dropped."""
        if self._newest is not None:
            self.dropped += 1
        self._newest = frame
        self._arrived.set()

    async def next(self) -> Frame:
        """Waits for a frame newer than the last one given."""
        await self._arrived.wait()
        self._arrived.clear()
        frame, self._newest = self._newest, None
        assert frame is not None
        return frame
