"""Makes pictures and packets of what a V4L2 device writes into its buffers, by pixel format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from actors.camera.sources.source import BadPicture, FramePicture, Picture, SourceUnavailable
from actors.camera.sources.v4l2.videodev import PixelFormat

# The pixel formats of V4L2 that FFmpeg knows under another name. In the order in which one is chosen where none is asked
# for, after JPEG: what costs the least to convert first. Bayer patterns last: their colours are raw.
AV_FORMATS = {
    "YUYV": "yuyv422",
    "UYVY": "uyvy422",
    "YVYU": "yvyu422",
    "NV12": "nv12",
    "YU12": "yuv420p",
    "NV16": "nv16",
    "422P": "yuv422p",
    "NV21": "nv21",
    "RGB3": "rgb24",
    "BGR3": "bgr24",
    "BX24": "0rgb",
    "XR24": "bgr0",
    "RGBP": "rgb565le",
    "GREY": "gray",
    "Y16": "gray16le",
    "Y12": "gray16le",
    "Y10": "gray16le",
    "BA81": "bayer_bggr8",
    "GBRG": "bayer_gbrg8",
    "GRBG": "bayer_grbg8",
    "RGGB": "bayer_rggb8",
}
# How many bits a sensor uses of the 16 of a sample.
_BITS = {"Y10": 10, "Y12": 12}
_JPEG = ("MJPG", "JPEG")
_H264 = ("H264",)

# What a person calls them in an address; others are asked for by their four letters.
ALIASES = {"mjpeg": _JPEG, "rgb24": ("RGB3",), "bgr24": ("BGR3",)}


def codec_of(code: str) -> str | None:
    """The codec of a format whose pictures come encoded: "jpeg" or "h264"."""
    if code in _JPEG:
        return "jpeg"
    return "h264" if code in _H264 else None


def chosen(asked: str | None, has: list[str], name: str) -> str:
    """The pixel format to take of those that a device has; raises SourceUnavailable where it has not the one asked for."""
    # JPEG first: it is passed on as it is, and over USB 2 most cameras have their full rate in it only.
    wanted = ALIASES.get(asked, (asked.upper(),)) if asked else (*_JPEG, *AV_FORMATS)
    readable = [code for code in dict.fromkeys(has) if codec_of(code) or code in AV_FORMATS]
    for code in wanted:
        if code in readable:
            return code
    what = f"no format {asked}" if asked else "no format that can be read here"
    raise SourceUnavailable(f"{name} has {what}; it has {', '.join(readable) or 'none'}")


@dataclass(frozen=True, slots=True)
class BufferLayout:
    """How one format lies in a buffer: FFmpeg's name of it, and each plane's height, bytes a row that count, and stride."""

    code: str
    width: int
    height: int
    planes: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, pix: PixelFormat, code: str) -> BufferLayout:
        """The layout of a format that the driver has set."""
        width, height = int(pix.width), int(pix.height)
        frame = av.VideoFrame(width, height, AV_FORMATS[code])
        planes: list[tuple[int, int, int]] = []
        first = 0
        for index, plane in enumerate(frame.planes):
            row = _row_bytes(frame, index)
            if index == 0:
                first = max(row, int(pix.bytesperline))
            # The rows of the chroma planes are padded as those of the first one are, in proportion.
            stride = first * row // _row_bytes(frame, 0)
            planes.append((plane.height, row, stride))
        return cls(code, width, height, tuple(planes))

    @property
    def size(self) -> int:
        """The bytes of a whole picture."""
        return sum(height * stride for height, _, stride in self.planes)

    def picture(self, data: bytes, time: float) -> Picture | FramePicture:
        """Reads a picture; raises BadPicture where the buffer is too short.

        What needs a conversion stays in the format of the camera, since the encoders convert it, once for all.
        """
        # The last row of a plane may come without its padding.
        if len(data) < self.size - (self.planes[-1][2] - self.planes[-1][1]):
            raise BadPicture(f"a picture has {len(data)} bytes, and not {self.size}")
        if self.code in ("GREY", "Y10", "Y12", "Y16", "RGB3"):
            return Picture(self._plain(data), time, _BITS.get(self.code, 16))
        frame = av.VideoFrame(self.width, self.height, AV_FORMATS[self.code])
        offset = 0
        for plane, (height, row, stride) in zip(frame.planes, self.planes, strict=True):
            into = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
            into[:, :row] = _rows(data, offset, height, stride)[:, :row]
            offset += height * stride
        return FramePicture(frame, time)

    def _plain(self, data: bytes) -> NDArray[Any]:
        """Pixels that need no conversion."""
        height, row, stride = self.planes[0]
        rows = np.ascontiguousarray(_rows(data, 0, height, stride)[:, :row])
        if self.code == "RGB3":
            return rows.reshape(height, self.width, 3)
        return rows if self.code == "GREY" else rows.view("<u2")


def _rows(data: bytes, offset: int, height: int, stride: int) -> NDArray[np.uint8]:
    """The rows of one plane, with their padding; that of the last one may be missing."""
    missing = offset + height * stride - len(data)
    if missing > 0:
        data += bytes(missing)
    return np.frombuffer(data, np.uint8, height * stride, offset).reshape(height, stride)


def _row_bytes(frame: Any, index: int) -> int:
    """The bytes of a row of one plane that are pixels."""
    plane, form = frame.planes[index], frame.format
    bits = {
        "yuyv422": 16,
        "uyvy422": 16,
        "yvyu422": 16,
        "rgb565le": 16,
        "rgb24": 24,
        "bgr24": 24,
        "0rgb": 32,
        "bgr0": 32,
    }
    if form.name in bits:
        return int(frame.width * bits[form.name] // 8)
    if form.name in ("nv12", "nv21", "nv16") and index == 1:
        return int(plane.width * 2)
    return int(plane.width * (2 if form.name == "gray16le" else 1))
