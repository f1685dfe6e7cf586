"""The sizes of a V4L2 device's pictures, and the region of its sensor that they show, as controls."""

from __future__ import annotations

import errno
from typing import Any

from actors.camera.sources.control import Control
from actors.camera.sources.v4l2 import videodev as v4l2
from actors.camera.sources.v4l2.device import V4l2Device
from actors.camera.sources.v4l2.videodev import Target


class Framing:
    """Size and region of one open device in one pixel format."""

    def __init__(self, device: V4l2Device, code: str) -> None:
        self._device = device
        self._sizes = device.sizes(code)

    def size(self) -> tuple[int, int]:
        """The size that the device is set to."""
        pix = self._device.format()
        return int(pix.width), int(pix.height)

    def sizes_text(self) -> str:
        """The sizes that there are, for a person."""
        return ", ".join(map(str, self._sizes)) or "others"

    def listed(self, size: tuple[int, int]) -> list[Control]:
        """`size` where there are several, and `region` where the device can crop."""
        return [each for each in (self._size_control(size), self._region()) if each is not None]

    def _size_control(self, size: tuple[int, int]) -> Control | None:
        value = _size(size)
        if len(self._sizes) == 1 and self._sizes[0].least != self._sizes[0].most:
            only = self._sizes[0]
            return Control("size", "size", value, _size(only.least), _size(only.most), _size(only.step), "px")
        if len(self._sizes) > 1:
            least = min(each.least[0] for each in self._sizes), min(each.least[1] for each in self._sizes)
            most = max(each.most[0] for each in self._sizes), max(each.most[1] for each in self._sizes)
            choices = tuple(_size(each.least) for each in self._sizes)
            return Control("size", "size", value, _size(least), _size(most), None, "px", choices)
        return None

    def _region(self) -> Control | None:
        bounds, now = self._rectangle(Target.CROP_BOUNDS), self._rectangle(Target.CROP)
        if bounds is None or now is None or not bounds.width or not bounds.height:
            return None
        least = {"left": bounds.left, "top": bounds.top, "width": 1, "height": 1}
        most = {
            "left": bounds.left + bounds.width - 1,
            "top": bounds.top + bounds.height - 1,
            "width": bounds.width,
            "height": bounds.height,
        }
        return Control("region", "region", _region(now), least, most, None, "px")

    def crop(self, region: dict[str, int]) -> dict[str, int]:
        """Sets the region, and gives what the driver made of it; raises OSError."""
        selection = v4l2.Selection(type=v4l2.VIDEO_CAPTURE, target=Target.CROP, r=v4l2.Rectangle(**region))
        return _region(self._device.call(v4l2.S_SELECTION, selection).r)

    def _rectangle(self, target: Target) -> v4l2.Rectangle | None:
        try:
            selection = v4l2.Selection(type=v4l2.VIDEO_CAPTURE, target=target)
            rectangle: v4l2.Rectangle = self._device.call(v4l2.G_SELECTION, selection).r
        except OSError as fault:
            if fault.errno in (errno.ENOTTY, errno.EINVAL, errno.ENODATA):
                return None
            raise self._device.unavailable(fault) from fault
        return rectangle


def _region(r: Any) -> dict[str, int]:
    return {"left": int(r.left), "top": int(r.top), "width": int(r.width), "height": int(r.height)}


def _size(pair: tuple[int, int]) -> dict[str, int]:
    return {"width": pair[0], "height": pair[1]}
