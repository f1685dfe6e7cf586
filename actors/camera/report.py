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

from actors.camera.pacing import CaptureMeter
from actors.camera.sources.source import BadPicture
from actors.system.context import Context
from router.errors import BrokerError
from router.event import new_id
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
        self.meter = CaptureMeter()
        self.frames = 0
        self.dropped = 0
        self.life = 0
        # What is being recorded, and which stills are kept.
        self.recording: dict[str, Any] | None = None
        self.stills: dict[str, Any] | None = None
        self._newest = -1
        # Bad pictures in a row, and what was wrong with the last one.
        self.bad = 0
        self.bad_reason = ""
        self._unpublished: deque[tuple[str, dict[str, Any]]] = deque(maxlen=MAX_UNPUBLISHED)
        self._changed = asyncio.Event()

    def begin(self, ctx: Context) -> None:
        """Begins to publish."""
        self._ctx = ctx
        self.life = ctx.life
        self._viewers = ctx.viewers("camera", ctx.instance)
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
            "stills": self.stills,
        }

    def statistics(self) -> dict[str, Any]:
        """The data of the event `statistics`."""
        streaming = self.status == "streaming"
        return {
            "fps": round(self.meter.fps, 2) if streaming else 0.0,
            "frames": self.frames,
            "bytes_per_second": round(self.meter.bytes_per_second) if streaming else 0,
            "jitter_ms": round(self.meter.jitter_ms, 2) if streaming else 0.0,
            "viewers": self._viewers.count,
            "dropped": self.dropped,
        }

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

    def sent(self, seq: int, width: int, height: int, size: int) -> None:
        """Notes a picture that was encoded for one rung and sent, of so many bytes; width and height are the source's."""
        self.bad = 0
        if seq > self._newest:
            self._newest = seq
            self.frames += 1
            self.meter.mark(self._ctx.now(), size)
        if self.size != (width, height) and self.status == "streaming":
            self.size = width, height
            self.note()
        self.size = width, height
        self.turn("streaming")

    def count_bad_picture(self, fault: Exception) -> None:
        """Counts a picture that could not be read or encoded; the stream goes on."""
        self.bad += 1
        self.dropped += 1
        # Only texts that were written here may reach a viewer.
        self.bad_reason = str(fault) if isinstance(fault, BadPicture) else type(fault).__name__
        log.warning(
            "picture could not be read or encoded; the stream goes on",
            extra={"reason": self.bad_reason, "in_a_row": self.bad},
        )

    async def _publish(self, beat: Callable[[], None]) -> None:
        """Publishes each change of state in order, and statistics once a second while streaming."""
        due = self._ctx.now() + REPORT_EVERY
        while True:
            try:
                await self._publish_states()
                if self.status == "streaming" and self._ctx.now() >= due:
                    await self._ctx.publish(self._subject("statistics"), self.statistics())
                    due = self._ctx.now() + REPORT_EVERY
            except BrokerError as fault:
                log.warning("camera state could not be published; retrying", extra={"fault": str(fault)})
                await self._ctx.sleep(REPORT_EVERY)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._until(due)):
                    await self._changed.wait()

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
