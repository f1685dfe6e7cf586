"""The types of a camera's sources: what a source must do, the pictures that it gives, and its errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class CameraError(Exception):
    """something about the camera failed"""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "")


class SourceUnavailable(CameraError):
    """the source cannot be opened, or gave up"""


class LoginRefused(SourceUnavailable):
    """the source refuses the login; a server may lock out who tries often"""


class SourceOver(SourceUnavailable):
    """the source has come to its end; it begins anew for the next viewer"""


class BadPicture(CameraError):
    """one picture could not be read; the next may be good"""


# What a source may raise for one bad picture; a native library's own errors are mostly of the other two kinds.
BAD_PICTURE = (BadPicture, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Picture:
    """What a source grabbed: grey (h, w) or RGB (h, w, 3), of 8 or 16 bits. `time` is ms since the epoch.

    `bits` says how many of 16 bits a sensor really uses, so that a 12-bit picture is not shown black. A picture that
    the source has given before is not `fresh`.
    """

    pixels: Pixels
    time: float
    bits: int = 16
    fresh: bool = True

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])


@dataclass(frozen=True, slots=True)
class FramePicture:
    """A picture as FFmpeg has it, an av.VideoFrame of any format, so that nobody makes RGB of it who needs none."""

    frame: Any
    time: float
    fresh: bool = True

    @property
    def width(self) -> int:
        return int(self.frame.width)

    @property
    def height(self) -> int:
        return int(self.frame.height)

    @property
    def bits(self) -> int:
        return 8

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The picture as RGB. Takes milliseconds."""
        return np.asarray(self.frame.to_ndarray(format="rgb24"), dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Packet:
    """A picture that came encoded from its source: a JPEG, or one access unit of H.264 in Annex B. `time` is ms since the epoch.

    Of H.264, `key` says that it can be decoded by itself, and then SPS and PPS stand before it.
    """

    codec: str  # "jpeg" or "h264"
    data: bytes
    time: float
    width: int
    height: int
    key: bool = True


Grabbed = Picture | FramePicture | Packet


class CameraSource(Protocol):
    """A backend. It may block; all three are called in one thread that belongs to this source alone.

    Two members say what the pictures are; texts of both errors may reach a viewer, so they name no folder and no password.

    A source that keeps its own time has `paced = True`: `grab` waits, at most a second, until the next picture is there,
    and is called again at once.
    """

    kind: str
    simulated: bool

    def open(self) -> None:
        """Opens the device; raises SourceUnavailable."""

    def grab(self, seq: int) -> Grabbed | None:
        """Gives the current picture, to be sent as number seq, and writes to its array no more; raises BadPicture.

        A paced source gives None where nothing new has come yet. Raises SourceUnavailable where the source gave up, and
        SourceOver at its end.
        """

    def close(self) -> None:
        """Closes the device. Called once, also when open failed."""
