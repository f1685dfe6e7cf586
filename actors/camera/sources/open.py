"""Makes the camera source that a setting names, and describes it without secrets."""

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
    """Describes the source that a setting names, without anything secret."""
    if setting == SIMULATED:
        return {"source": SIMULATED, "simulated": True}
    return {"source": "file", "simulated": False, "file": Path(setting).name}
