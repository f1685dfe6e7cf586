"""Runs a camera: captures on time while somebody watches, encodes each picture once, and publishes the camera's state.

Things run side by side. The capture (`pump`) waits for viewers and grabs; the output encodes and sends; the report
publishes what both note down. Commands change how in between.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from actors.camera.controls import CameraControls, whole_region
from actors.camera.encode import MAX_QUALITY, MIN_QUALITY
from actors.camera.output import CameraOutput
from actors.camera.pacing import MAX_FPS, MIN_FPS
from actors.camera.pump import CapturePump
from actors.camera.recording.service import CameraRecordings
from actors.camera.recording.session import MAX_LABEL, MAX_SECONDS
from actors.camera.recording.stills import MAX_EVERY, MIN_EVERY
from actors.camera.report import CameraReport
from actors.camera.settings import CameraSettings, checked_fps, checked_quality
from actors.camera.sources.open import Factory, open_source
from actors.system.actor import Actor, Reject, command
from actors.system.context import Context
from router.rungs import BadRung, Rung

DEFAULTS = CameraSettings()

Pixels = Annotated[int, Meta(ge=0, description="In pixels of the sensor.")]
Members = dict[str, int]
Seconds = Annotated[float, Meta(ge=1, le=MAX_SECONDS, description="How long; without it, until it is stopped.")]
Label = Annotated[str, Meta(max_length=MAX_LABEL, description="What the list of recordings shows beside it.")]


class Camera(Actor):
    """Streams pictures while somebody watches; one capture and one encoding for all viewers."""

    name = "camera"
    watched = True
    subjects = ()

    def __init__(
        self,
        settings: CameraSettings = DEFAULTS,
        sources: Factory = open_source,
    ) -> None:
        size = (settings.width, settings.height) if settings.address.simulated else None
        self.settings = settings
        self._report = CameraReport(settings.address.about(), size, settings.fps, settings.quality)
        self._output = CameraOutput(self._report)
        self._controls = CameraControls(settings, self._report)
        self._recordings = CameraRecordings(self._report, self._output, settings)
        self._pump = CapturePump(settings, sources, self._report, self._output, self._controls)

    async def start(self, ctx: Context) -> None:
        """Takes up what commands have set, and starts to wait for viewers."""
        await self._controls.begin(ctx)
        self._report.begin(ctx)
        self._output.begin(ctx)
        self._pump.begin(ctx)
        self._recordings.begin(ctx)

    async def stop(self, ctx: Context) -> None:
        """Publishes the states that wait, and that nothing is streamed any more."""
        await self._recordings.end()
        self._report.end()

    @command
    async def set_quality(
        self, quality: Annotated[int, Meta(ge=MIN_QUALITY, le=MAX_QUALITY, description="JPEG quality.")]
    ) -> dict[str, Any]:
        """Changes the JPEG quality, 1 to 95, from the next picture on."""
        try:
            self._report.quality = checked_quality(quality)
        except ValueError as fault:
            raise Reject(str(fault)) from fault
        return self._rate_changed()

    @command
    async def set_fps(
        self, fps: Annotated[float, Meta(ge=MIN_FPS, le=MAX_FPS, description="Pictures a second.")]
    ) -> dict[str, Any]:
        """Changes the pictures a second, 0.1 to 240, at once."""
        try:
            self._report.fps = checked_fps(fps)
        except ValueError as fault:
            raise Reject(str(fault)) from fault
        self._pump.change_rate()
        return self._rate_changed()

    def _rate_changed(self) -> dict[str, Any]:
        self._report.note()
        self._controls.keep()
        return self._report.described()

    @command
    async def set_control(
        self,
        name: Annotated[str, Meta(description="One of those of the event `controls`.")],
        value: Annotated[
            float | bool | str | Members,
            Meta(description="A number, a switch, a choice, or the members of a region or a size."),
        ] = True,
    ) -> dict[str, Any]:
        """Sets a control of the source, and answers with the effective values; of a button, presses it."""
        return await self._controls.set(name, value)

    @command
    async def set_region(self, left: Pixels, top: Pixels, width: Pixels, height: Pixels) -> dict[str, Any]:
        """Shows only a region of the sensor, where the source can."""
        return await self._controls.set("region", whole_region(left, top, width, height))

    @command
    async def clear_region(self) -> dict[str, Any]:
        """Shows the whole picture of the sensor again."""
        return await self._controls.clear_region()

    @command
    async def auto_exposure(self) -> dict[str, Any]:
        """Lets the source find its exposure, once where it does that once."""
        return await self._controls.set("auto_exposure", True)

    @command
    async def reset_controls(self) -> dict[str, Any]:
        """Sets frame rate, quality and all controls to what they were before any command."""
        answer = await self._controls.reset()
        self._pump.change_rate()
        self._report.note()
        return answer

    @command
    async def key_frame(self, rung: str = "h264") -> dict[str, Any]:
        """Makes the next picture of an H.264 rung one that can be decoded by itself, at most once a second."""
        try:
            asked = Rung.of_token(rung)
        except BadRung as fault:
            raise Reject(str(fault)) from fault
        return {"rung": asked.token, "key": asked.independent or self._output.ask_key(asked)}

    @command
    async def start_recording(self, seconds: Seconds | None = None, label: Label | None = None) -> dict[str, Any]:
        """Records the camera, for so long or until `stop_recording`; one that goes on lasts at least as long."""
        return await self._recordings.start(seconds, label)

    @command
    async def stop_recording(self) -> dict[str, Any]:
        """Ends the recording that goes on, if one does."""
        return await self._recordings.stop()

    @command
    async def keep_stills(
        self,
        every: Annotated[float, Meta(ge=MIN_EVERY, le=MAX_EVERY, description="Seconds from one still to the next.")],
        seconds: Seconds | None = None,
        label: Label | None = None,
    ) -> dict[str, Any]:
        """Keeps a still at an interval, for so long or until `stop_stills`, in place of those that are kept now."""
        return await self._recordings.keep_stills(every, seconds, label)

    @command
    async def stop_stills(self) -> dict[str, Any]:
        """Keeps no more stills."""
        return await self._recordings.stop_stills()

    @command
    async def describe(self) -> dict[str, Any]:
        """State, controls and statistics of now."""
        return {**self._report.described(), **self._controls.described()}
