"""The settings of a camera and their bounds."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.camera.encode import MAX_QUALITY, MIN_QUALITY
from actors.camera.pacing import MAX_FPS, MIN_FPS
from actors.camera.sources.address import (
    MAX_HEIGHT,
    MAX_WIDTH,
    MIN_HEIGHT,
    MIN_WIDTH,
    SIMULATED,
    SourceAddress,
    shown_address,
)

# 0.5 s: how soon a wait notices that a viewer left or that the rate changed, and how often an idle camera beats.
CHECK_EVERY = 0.5


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """What a camera shows, and how. `source` is an address (see `SourceAddress`) or the path of a video file.

    A size and a rate in the address are the camera's, whatever `width`, `height` and `fps` say.
    """

    source: str = field(default=SIMULATED, repr=False, metadata={"shown": shown_address})
    fps: float = 30.0
    quality: int = 85
    width: int = 640
    height: int = 480
    linger: float = 5.0  # seconds that the capture goes on after the last viewer left
    record: str = "asked"  # "always" records all the time; "asked" when a command or a rule says so
    # What "always" does where the store of recordings is full: "overwrite" deletes its own oldest files, "stop" waits for room.
    record_when_full: str = "overwrite"
    record_file_seconds: float = 600.0  # how long a file of a recording may last
    silence: float = 3.0  # seconds without a picture after which the source is opened anew

    def __post_init__(self) -> None:
        if self.record not in ("asked", "always"):
            raise ValueError("record must be asked or always")
        if self.record_when_full not in ("overwrite", "stop"):
            raise ValueError("record_when_full must be overwrite or stop")
        _number("record_file_seconds", self.record_file_seconds, 2.0, 600.0)
        address = self.address
        if address.fps is not None:
            object.__setattr__(self, "fps", address.fps)
        checked_fps(self.fps)
        checked_quality(self.quality)
        _whole("width", self.width, MIN_WIDTH, MAX_WIDTH)
        _whole("height", self.height, MIN_HEIGHT, MAX_HEIGHT)
        _number("linger", self.linger, 0.0, 3600.0)
        _number("silence", self.silence, 2 * CHECK_EVERY, 3600.0)
        if address.simulated and address.size is not None:
            object.__setattr__(self, "width", address.size[0])
            object.__setattr__(self, "height", address.size[1])

    @property
    def address(self) -> SourceAddress:
        """Where the pictures come from. Holds secrets."""
        return SourceAddress.parse(self.source)


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
