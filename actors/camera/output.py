"""Encodes the pictures of a camera, each once for all viewers, and sends them."""

from __future__ import annotations

from typing import Any

from actors.camera.encode import encode_jpeg
from actors.camera.report import CameraReport
from actors.camera.sources.source import BAD_PICTURE, Picture
from actors.system.context import Context


class CameraOutput:
    """What becomes of the pictures of one camera."""

    def __init__(self, report: CameraReport) -> None:
        self._report = report

    def begin(self, ctx: Context) -> None:
        """Begins a new incarnation."""
        self._ctx = ctx

    async def send(self, picture: Picture, seq: int) -> None:
        """Encodes one picture, for all viewers, and lets it go."""
        quality = self._report.quality
        try:
            jpeg = await self._ctx.offload(encode_jpeg, picture.pixels, quality, picture.bits)
        except BAD_PICTURE as fault:
            self._report.count_bad_picture(fault)
            return
        self._ctx.frame("camera", self._ctx.instance, self._header(picture, seq, quality), jpeg)
        self._report.sent(picture.width, picture.height, len(jpeg))

    def _header(self, picture: Picture, seq: int, quality: int) -> dict[str, Any]:
        return {
            "seq": seq,
            "time": picture.time,
            "width": picture.width,
            "height": picture.height,
            "format": "jpeg",
            "source": self._report.about["source"],
            "simulated": self._report.about["simulated"],
            "fps": round(self._report.meter.fps, 2),
            "quality": quality,
        }
