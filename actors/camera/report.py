"""Keeps what a camera says of itself, its state and its statistics, and publishes it.

The capture only notes down what happened, so that a broker that is away never holds up a picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from actors.camera.metrics import VIEWERS
from actors.camera.sources.source import BadPicture
from actors.camera.statistics import CameraStatistics
from actors.system.context import Context
from router.errors import BrokerError
from router.event import new_id
from router.rungs import Rung
from router.subject import Subject

log = logging.getLogger(__name__)

# States that could not be published yet; when the broker is away for longer than 32 changes, the oldest is dropped.
MAX_UNPUBLISHED = 32

# How often a streaming camera publishes statistics.
REPORT_EVERY = 1.0


class CameraReport:
    """The state and the statistics of one camera."""

    def __init__(self, about: Mapping[str, Any], size: tuple[int, int] | None, fps: float, quality: int) -> None:
        """`about` describes the source, without anything secret."""
        self.about = about
        self.fps = fps
        self.quality = quality
        self.status = "idle"
        self.reason: str | None = None
        self.size = size
        # What is being recorded, and which stills are kept.
        self.recording: dict[str, Any] | None = None
        self.stills: dict[str, Any] | None = None
        # Why a recording that shall always go on does not.
        self.recording_fault: str | None = None
        self.figures = CameraStatistics()
        # How many leases and taps each rung has; the output says so.
        self.watched: Callable[[], Mapping[Rung, int]] = dict
        self._counted: dict[str, int] = {}
        # Bad pictures in a row, and what was wrong with the last one.
        self.bad = 0
        self.bad_reason = ""
        self._unpublished: deque[tuple[str, dict[str, Any]]] = deque(maxlen=MAX_UNPUBLISHED)
        self._changed = asyncio.Event()

    def begin(self, ctx: Context) -> None:
        """Begins to publish."""
        self._ctx = ctx
        self.note()
        ctx.source("report", self._publish, silence=None)

    def end(self) -> None:
        """Emits the states that wait, and that nothing is streamed any more."""
        if self.status == "streaming":
            self.turn("idle")
        for _, state in self._unpublished:
            self._ctx.emit(self._subject("state"), state)

    def described(self) -> dict[str, Any]:
        """State and statistics of now."""
        return {"id": self._ctx.instance, **self.state(), "statistics": self.statistics()}

    def state(self) -> dict[str, Any]:
        """The data of the event `state`."""
        width, height = self.size or (None, None)
        return {
            "status": self.status,
            "reason": self.reason,
            **self.about,
            "width": width,
            "height": height,
            "fps": self.fps,
            "quality": self.quality,
            "recording": self.recording,
            "recording_fault": self.recording_fault,
            "stills": self.stills,
        }

    def statistics(self) -> dict[str, Any]:
        """The data of the event `statistics`."""
        return self.figures.described(self._ctx.now(), self.status == "streaming", self.watched())

    def turn(self, status: str, reason: str | None = None) -> None:
        """Enters a state, and queues it for publishing where it is a new one."""
        if (status, reason) != (self.status, self.reason):
            self.status, self.reason = status, reason
            self.note()

    def note(self) -> None:
        """Queues the state for publishing."""
        # The id is made now, so that a state published twice is stored once.
        self._unpublished.append((new_id(), self.state()))
        self._changed.set()

    def captured(self) -> None:
        """Notes a new picture of the source."""
        self.figures.note_captured(self._ctx.now())

    def sent(self, rung: Rung, seq: int, size: tuple[int, int], bytes: int, seconds: float) -> None:
        """Notes a picture of a rung that was sent, and how long its encoding took; the size is the source's."""
        self.bad = 0
        self.figures.note_sent(self._ctx.now(), rung, seq, bytes, seconds)
        if self.size != size and self.status == "streaming":
            self.size = size
            self.note()
        self.size = size
        self.turn("streaming")

    def drop(self, reason: str, count: int = 1) -> None:
        """Counts dropped pictures, by reason (see `REASONS`)."""
        self.figures.drop(reason, count)

    def count_bad_picture(self, fault: Exception, reason: str = "bad") -> None:
        """Counts a picture that could not be read, encoded or sent; the stream goes on."""
        self.bad += 1
        self.drop(reason)
        # Only texts that were written here may reach a viewer.
        self.bad_reason = str(fault) if isinstance(fault, BadPicture) else type(fault).__name__
        log.warning(
            "picture could not be read or encoded; the stream goes on",
            extra={"reason": self.bad_reason, "in_a_row": self.bad},
        )

    async def _publish(self, beat: Callable[[], None]) -> None:
        """Publishes each change of state in order, and statistics once a second while streaming and once after it."""
        due, streamed = self._ctx.now() + REPORT_EVERY, False
        while True:
            try:
                await self._publish_states()
                streaming = self.status == "streaming"
                if (streaming and self._ctx.now() >= due) or (streamed and not streaming):
                    await self._publish_statistics()
                    due = self._ctx.now() + REPORT_EVERY
                streamed = streaming
            except BrokerError as fault:
                log.warning("camera state could not be published; retrying", extra={"fault": str(fault)})
                await self._ctx.sleep(REPORT_EVERY)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._until(due)):
                    await self._changed.wait()

    async def _publish_statistics(self) -> None:
        counted = {rung.token: count for rung, count in self.watched().items()}
        for token in self._counted.keys() | counted.keys():
            VIEWERS.labels(token).inc(counted.get(token, 0) - self._counted.get(token, 0))
        self._counted = counted
        await self._ctx.publish(self._subject("statistics"), self.statistics())

    def _until(self, due: float) -> float | None:
        return max(0.0, due - self._ctx.now()) if self.status == "streaming" else None

    async def _publish_states(self) -> None:
        self._changed.clear()
        while self._unpublished:
            told = self._unpublished[0]
            await self._ctx.publish(self._subject("state"), told[1], id=told[0])
            if self._unpublished and self._unpublished[0] is told:
                self._unpublished.popleft()

    def _subject(self, kind: str) -> Subject:
        return Subject.of("camera", self._ctx.instance, kind)
