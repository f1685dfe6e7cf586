"""Runs a camera: captures on time while somebody watches, encodes each picture once, and publishes the camera's state.

Things run side by side. The capture (`pump`) waits for viewers and grabs; the output encodes and sends; the report
publishes what both note down. Commands change how in between.
"""

from __future__ import annotations

from typing import Any

from actors.camera.output import CameraOutput
from actors.camera.pump import CapturePump
from actors.camera.report import CameraReport
from actors.camera.settings import CameraSettings, checked_fps, checked_quality
from actors.camera.sources.open import Factory, open_source
from actors.system.actor import Actor, Reject, command
from actors.system.context import Context
from router.rungs import BadRung, Rung

DEFAULTS = CameraSettings()


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
        self._pump = CapturePump(settings, sources, self._report, self._output)

    async def start(self, ctx: Context) -> None:
        """Starts to wait for viewers."""
        self._report.begin(ctx)
        self._output.begin(ctx)
        self._pump.begin(ctx)

    async def stop(self, ctx: Context) -> None:
        """Publishes the states that wait, and that nothing is streamed any more."""
        self._report.end()

    @command
    async def set_quality(self, quality: int) -> dict[str, Any]:
        """Changes the JPEG quality, 1 to 95, from the next picture on."""
        try:
            self._report.quality = checked_quality(quality)
        except ValueError as fault:
            raise Reject(str(fault)) from fault
        self._report.note()
        return self._report.described()

    @command
    async def set_fps(self, fps: float) -> dict[str, Any]:
        """Changes the pictures a second, 0.1 to 240, at once."""
        try:
            self._report.fps = checked_fps(fps)
        except ValueError as fault:
            raise Reject(str(fault)) from fault
        self._pump.change_rate()
        self._report.note()
        return self._report.described()

    @command
    async def key_frame(self, rung: str = "h264") -> dict[str, Any]:
        """Makes the next picture of an H.264 rung one that can be decoded by itself, at most once a second."""
        try:
            asked = Rung.of_token(rung)
        except BadRung as fault:
            raise Reject(str(fault)) from fault
        return {"rung": asked.token, "key": asked.independent or self._output.ask_key(asked)}

    @command
    async def describe(self) -> dict[str, Any]:
        """State and statistics of now."""
        return self._report.described()
