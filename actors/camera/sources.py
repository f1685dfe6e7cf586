"""This file is where it is said what a camera's source must do, and which one a setting names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

SIMULATED = "simulated"


class CameraError(Exception):
    """something about the camera failed"""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "")


class SourceUnavailable(CameraError):
    """the source cannot be opened, or gave up"""


class BadFrame(CameraError):
    """one picture could not be read; the next may be good"""


@dataclass(frozen=True, slots=True)
class Picture:
    """What a source grabbed: grey (h, w) or RGB (h, w, 3), of 8 or 16 bits. `time` is ms since the epoch.

    `bits` says how many of 16 bits a sensor really uses, so that a 12-bit picture is not shown black.
    """

    pixels: Pixels
    time: float
    bits: int = 16

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])


class Source(Protocol):
    """A backend. It may block; all three are called in one thread that belongs to this source alone.

    Two members say what the pictures are; texts of both errors may reach a viewer, so they name no folder.
    """

    kind: str
    simulated: bool

    def open(self) -> None:
        """Gets hold of the device; raises SourceUnavailable."""

    def grab(self, seq: int) -> Picture:
        """Gives the current picture, to be sent as number seq, and writes to its array no more; raises BadFrame."""

    def close(self) -> None:
        """Lets go of the device. Called once, also when open failed."""


def source_of(setting: str, width: int, height: int) -> Source:
    """Gives the source that a setting names; opens nothing."""
    from actors.camera.file import VideoFileSource
    from actors.camera.simulated import SimulatedSource

    return SimulatedSource(width, height) if setting == SIMULATED else VideoFileSource(setting)


def about(setting: str) -> dict[str, Any]:
    """What may be told to anybody about the source that a setting names."""
    if setting == SIMULATED:
        return {"source": SIMULATED, "simulated": True}
    return {"source": "file", "simulated": False, "file": Path(setting).name}
