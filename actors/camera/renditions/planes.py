"""Converts pictures to YUV planes and scales them, through FFmpeg.

All planes are full range BT.601 with 4:2:0 chroma, what JPEG files hold by definition; H.264 says so in its headers. So
one conversion serves both codecs.
"""

from __future__ import annotations

import threading
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from actors.camera.renditions.errors import readable

# FFmpeg's name for full range 4:2:0 planes.
FORMAT = "yuvj420p"

# A reformatter keeps the scaler of its last sizes and is not to be used by two threads at once.
_local = threading.local()


class Planes:
    """The Y, U and V planes of one picture."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        self.lock = threading.Lock()

    @property
    def width(self) -> int:
        return int(self.frame.width)

    @property
    def height(self) -> int:
        return int(self.frame.height)

    def arrays(self) -> tuple[NDArray[np.uint8], ...]:
        """The planes as arrays, without a copy."""
        return tuple(
            np.frombuffer(plane, dtype=np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
            for plane in self.frame.planes
        )

    def rgb(self) -> NDArray[np.uint8]:
        """The picture as RGB."""
        return np.asarray(_reformatted(self.frame, self.width, self.height, "rgb24").to_ndarray(), dtype=np.uint8)


def planes_of(pixels: NDArray[np.uint8], width: int, height: int) -> Planes:
    """Makes planes of that size of a grey or RGB picture of 8 bits. Raises BadPicture."""
    with readable():
        format = "gray" if pixels.ndim == 2 else "rgb24"
        frame = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(pixels), format=format)
        return Planes(_reformatted(frame, width, height, FORMAT))


def scaled(frame: Any, width: int, height: int) -> Planes:
    """Makes planes of that size of a frame of FFmpeg, of any format. Raises BadPicture."""
    if (frame.format.name, frame.width, frame.height) == (FORMAT, width, height):
        return Planes(frame)
    with readable():
        return Planes(_reformatted(frame, width, height, FORMAT))


def _reformatted(frame: Any, width: int, height: int, format: str) -> Any:
    reformatter = getattr(_local, "reformatter", None)
    if reformatter is None:
        reformatter = _local.reformatter = VideoReformatter()
    # One thread: several rungs are made side by side already.
    return reformatter.reformat(frame, width=width, height=height, format=format, threads=1)
