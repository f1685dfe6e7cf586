"""Runs a camera: captures on time while somebody watches, encodes each picture once, and publishes the camera's state.

Three things run side by side. The capture (a supervised source) waits for viewers, opens the device in a thread of its
own, and grabs picture n+1 while picture n is encoded. The report (another source) publishes what the capture notes
down, so that a broker that is away never holds up a picture. Commands change quality and rate in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.camera.capture import CaptureThread
from actors.camera.encode import MAX_QUALITY, MIN_QUALITY, encode_jpeg
from actors.camera.pacing import MAX_FPS, MIN_FPS, CaptureMeter, Pacer
from actors.camera.sources.open import about, source_of
from actors.camera.sources.simulated import MAX_HEIGHT, MAX_WIDTH, MIN_HEIGHT, MIN_WIDTH
from actors.camera.sources.source import SIMULATED, BadPicture, CameraSource, Picture, SourceUnavailable
from actors.system.actor import Actor, Reject, command
from actors.system.context import Context
from router.errors import BrokerError
from router.event import new_id
from router.subject import Subject

log = logging.getLogger(__name__)

# 0.5 s: how soon a wait notices that a viewer left or that the rate changed, and how often an idle camera beats.
CHECK_EVERY = 0.5

# One bad picture is a glitch; five in a row are a device to be opened anew.
BAD_IN_A_ROW = 5

# Threads that hang in a driver cannot be ended. When so many do, no more are started until one comes back.
LEFT_BEHIND = 4

# States that could not be published yet; when the broker is away for longer than 32 changes, the oldest is dropped.
MAX_UNPUBLISHED = 32

# How often a streaming camera publishes statistics.
REPORT_EVERY = 1.0

# What a source may raise for one bad picture; a native library's own errors are mostly of the other two kinds.
_BAD = (BadPicture, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """What a camera shows, and how. `source` is "simulated" or the path of a video file, shown in its own size."""

    source: str = SIMULATED
    fps: float = 30.0
    quality: int = 85
    width: int = 640
    height: int = 480
    linger: float = 5.0  # seconds that the capture goes on after the last viewer left
    silence: float = 5.0  # seconds without a picture after which the source is opened anew

    def __post_init__(self) -> None:
        if not isinstance(self.source, str) or not self.source:
            raise ValueError(f'source must be "{SIMULATED}" or the path of a video file')
        checked_fps(self.fps)
        checked_quality(self.quality)
        _whole("width", self.width, MIN_WIDTH, MAX_WIDTH)
        _whole("height", self.height, MIN_HEIGHT, MAX_HEIGHT)
        _number("linger", self.linger, 0.0, 3600.0)
        _number("silence", self.silence, 2 * CHECK_EVERY, 3600.0)


def checked_fps(value: object) -> float:
    """Takes a rate from outside; raises ValueError."""
    return _number("fps", value, MIN_FPS, MAX_FPS)


def checked_quality(value: object) -> int:
    """Takes a JPEG quality from outside; raises ValueError."""
    return _whole("quality", value, MIN_QUALITY, MAX_QUALITY)


def _number(name: str, value: object, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ValueError(f"{name} must be a number from {least:g} to {most:g}")
    return float(value)


def _whole(name: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}")
    return value


class Camera(Actor):
    """Streams pictures while somebody watches; one capture and one encoding for all viewers."""

    name = "camera"
    subjects = ()

    def __init__(
        self,
        settings: CameraSettings = CameraSettings(),
        sources: Callable[[str, int, int], CameraSource] = source_of,
    ) -> None:
        self.settings = settings
        self._sources = sources
        self._fps = settings.fps
        self._quality = settings.quality
        self._status = "idle"
        self._reason: str | None = None
        self._size: tuple[int, int] | None = None
        if settings.source == SIMULATED:
            self._size = settings.width, settings.height
        self._about = about(settings.source)
        self._grabbing = False
        self._left: list[CaptureThread] = []
        self._pacer: Pacer | None = None
        self._meter = CaptureMeter()
        self._seq = 0
        self._frames = 0
        self._dropped = 0
        self._bad = 0
        self._bad_reason = ""
        self._unpublished: deque[tuple[str, dict[str, Any]]] = deque(maxlen=MAX_UNPUBLISHED)
        self._changed_state = asyncio.Event()

    async def start(self, ctx: Context) -> None:
        """Starts to wait for viewers."""
        self._ctx = ctx
        self._viewers = ctx.viewers("camera", ctx.instance)
        self._note_state()
        ctx.source("capture", self._capture, silence=self.settings.silence)
        ctx.source("report", self._report, silence=None)

    async def stop(self, ctx: Context) -> None:
        """Publishes the states that wait, and that nothing is streamed any more."""
        if self._status == "streaming":
            self._turn("idle")
        for _, state in self._unpublished:
            ctx.emit(Subject.of("camera", ctx.instance, "state"), state)

    @command
    async def set_quality(self, quality: int) -> dict[str, Any]:
        """Changes the JPEG quality, 1 to 95, from the next picture on."""
        try:
            self._quality = checked_quality(quality)
        except ValueError as fault:
            raise Reject(str(fault)) from fault
        self._note_state()
        return self._described()

    @command
    async def set_fps(self, fps: float) -> dict[str, Any]:
        """Changes the pictures a second, 0.1 to 240, at once."""
        try:
            self._fps = checked_fps(fps)
        except ValueError as fault:
            raise Reject(str(fault)) from fault
        if self._pacer is not None:
            self._pacer.change(self._fps, self._ctx.now())
        self._note_state()
        return self._described()

    @command
    async def describe(self) -> dict[str, Any]:
        """State and statistics of now."""
        return self._described()

    # What is published

    def _described(self) -> dict[str, Any]:
        return {"id": self._ctx.instance, **self._state(), "statistics": self._statistics()}

    def _state(self) -> dict[str, Any]:
        width, height = self._size or (None, None)
        return {
            "status": self._status,
            "reason": self._reason,
            **self._about,
            "width": width,
            "height": height,
            "fps": self._fps,
            "quality": self._quality,
        }

    def _statistics(self) -> dict[str, Any]:
        streaming = self._status == "streaming"
        return {
            "fps": round(self._meter.fps, 2) if streaming else 0.0,
            "frames": self._frames,
            "bytes_per_second": round(self._meter.bytes_per_second) if streaming else 0,
            "jitter_ms": round(self._meter.jitter_ms, 2) if streaming else 0.0,
            "viewers": self._viewers.count,
            "dropped": self._dropped,
        }

    def _turn(self, status: str, reason: str | None = None) -> None:
        """Enters a state, and queues it for publishing where it is a new one."""
        if (status, reason) != (self._status, self._reason):
            self._status, self._reason = status, reason
            self._note_state()

    def _note_state(self) -> None:
        # The id is made now, so that a state published twice is stored once.
        self._unpublished.append((new_id(), self._state()))
        self._changed_state.set()

    async def _report(self, beat: Callable[[], None]) -> None:
        """Publishes each change of state in order, and statistics once a second while streaming."""
        due = self._ctx.now() + REPORT_EVERY
        while True:
            try:
                await self._publish_states()
                if self._status == "streaming" and self._ctx.now() >= due:
                    await self._ctx.publish(self._subject("statistics"), self._statistics())
                    due = self._ctx.now() + REPORT_EVERY
            except BrokerError as fault:
                log.warning("camera state could not be published; retrying", extra={"fault": str(fault)})
                await self._ctx.sleep(REPORT_EVERY)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._until_report(due)):
                    await self._changed_state.wait()

    def _until_report(self, due: float) -> float | None:
        return max(0.0, due - self._ctx.now()) if self._status == "streaming" else None

    async def _publish_states(self) -> None:
        self._changed_state.clear()
        while self._unpublished:
            told = self._unpublished[0]
            await self._ctx.publish(self._subject("state"), told[1], id=told[0])
            if self._unpublished and self._unpublished[0] is told:
                self._unpublished.popleft()

    def _subject(self, kind: str) -> Subject:
        return Subject.of("camera", self._ctx.instance, kind)

    # What is captured

    async def _capture(self, beat: Callable[[], None]) -> None:
        """Waits for viewers, streams until they are gone, and begins again. Raises when the source gave up."""
        if self._grabbing:
            # The last run did not end by itself: it was cancelled for its silence, or crashed.
            self._grabbing = False
            self._turn("failed", f"the source stopped answering for {self.settings.silence:g} s or crashed")
        while True:
            await self._until_watched(beat)
            await self._stream(beat)
            self._turn("idle")

    async def _until_watched(self, beat: Callable[[], None]) -> None:
        beat()
        while not self._viewers.count:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_EVERY):
                    await self._viewers.wait_for_some()
            beat()

    async def _stream(self, beat: Callable[[], None]) -> None:
        """One opening of the source: from the first viewer until `linger` seconds after the last."""
        thread = self._thread()
        self._grabbing = True
        try:
            await thread.open()
            beat()
            fault = await self._grab_pictures(thread, beat)
            if fault is not None:
                raise fault
            if not await thread.close(self.settings.silence / 2):
                log.warning(
                    "camera source did not close in time; its thread is abandoned", extra={"source": self._about}
                )
        except SourceUnavailable as unavailable:
            self._grabbing = False
            self._turn("failed", str(unavailable))
            raise
        finally:
            self._pacer = None
            thread.leave()
        self._grabbing = False

    def _thread(self) -> CaptureThread:
        self._left = [thread for thread in self._left if thread.alive]
        if len(self._left) >= LEFT_BEHIND:
            reason = f"{LEFT_BEHIND} calls into the source hang; no more are made until one returns"
            self._turn("failed", reason)
            raise SourceUnavailable(reason)
        settings = self.settings
        thread = CaptureThread(self._sources(settings.source, settings.width, settings.height))
        self._left.append(thread)
        return thread

    async def _grab_pictures(self, thread: CaptureThread, beat: Callable[[], None]) -> SourceUnavailable | None:
        """Grabs on time; each picture is encoded while the next one is grabbed. Says why the source gave up, if so."""
        watched = self._ctx.now()
        self._pacer = pacer = Pacer(self._fps, watched)
        self._meter = CaptureMeter()
        self._bad = 0
        async with asyncio.TaskGroup() as group:
            sending: asyncio.Task[None] | None = None
            while True:
                now = self._ctx.now()
                if self._viewers.count:
                    watched = now
                elif now - watched >= self.settings.linger:
                    return None
                if (wait := pacer.remaining(now)) > 0:
                    await self._ctx.sleep(min(wait, CHECK_EVERY))
                    beat()
                    continue
                self._dropped += pacer.tick(now)
                try:
                    picture = await thread.grab(self._seq)
                except SourceUnavailable as unavailable:
                    return unavailable
                except _BAD as fault:
                    self._count_bad_picture(fault)
                else:
                    if sending is not None:
                        await sending
                    sending = group.create_task(self._send(picture, self._seq))
                    self._seq += 1
                if self._bad >= BAD_IN_A_ROW:
                    return SourceUnavailable(f"{self._bad} bad pictures in a row; the last: {self._bad_reason}")
                beat()

    async def _send(self, picture: Picture, seq: int) -> None:
        """Encodes one picture, for all viewers, and lets it go."""
        quality = self._quality
        try:
            jpeg = await self._ctx.offload(encode_jpeg, picture.pixels, quality, picture.bits)
        except _BAD as fault:
            self._count_bad_picture(fault)
            return
        self._bad = 0
        self._frames += 1
        self._meter.mark(self._ctx.now(), len(jpeg))
        self._ctx.frame("camera", self._ctx.instance, self._header(picture, seq, quality), jpeg)
        self._show(picture)

    def _header(self, picture: Picture, seq: int, quality: int) -> dict[str, Any]:
        return {
            "seq": seq,
            "time": picture.time,
            "width": picture.width,
            "height": picture.height,
            "format": "jpeg",
            "source": self._about["source"],
            "simulated": self._about["simulated"],
            "fps": round(self._meter.fps, 2),
            "quality": quality,
        }

    def _show(self, picture: Picture) -> None:
        size = picture.width, picture.height
        if self._size != size and self._status == "streaming":
            self._size = size
            self._note_state()
        self._size = size
        self._turn("streaming")

    def _count_bad_picture(self, fault: Exception) -> None:
        """Counts a picture that could not be read or encoded; the stream goes on."""
        self._bad += 1
        self._dropped += 1
        # Only texts that were written here may reach a viewer.
        self._bad_reason = str(fault) if isinstance(fault, BadPicture) else type(fault).__name__
        log.warning(
            "picture could not be read or encoded; the stream goes on",
            extra={"reason": self._bad_reason, "in_a_row": self._bad},
        )
