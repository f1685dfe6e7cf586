"""Makes the camera source that a setting names, and says what may be told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actors.camera.sources.simulated import SimulatedSource
from actors.camera.sources.source import SIMULATED, CameraSource


def source_of(setting: str, width: int, height: int) -> CameraSource:
    """Gives the source that a setting names; opens nothing."""
    if setting == SIMULATED:
        return SimulatedSource(width, height)
    # Loads FFmpeg, which a simulated camera does not need.
    from actors.camera.sources.file import VideoFileSource

    return VideoFileSource(setting)


def about(setting: str) -> dict[str, Any]:
    """What may be told to anybody about the source that a setting names."""
    if setting == SIMULATED:
        return {"source": SIMULATED, "simulated": True}
    return {"source": "file", "simulated": False, "file": Path(setting).name}
