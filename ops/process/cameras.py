"""Reads which cameras `callboard up` runs, where there are several: each is an actor of its own, in a process of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.camera.sources.address import SourceAddress, shown_address
from ops.settings import Mistakes, Settings

CAMERA = "camera"
CAMERAS = "CALLBOARD_CAMERAS"
SOURCE = "CALLBOARD_CAMERA_SOURCE"
# 16: each is a process, and one machine encodes no more pictures than that.
MAX_CAMERAS = 16

_ENTRY = re.compile(r"([A-Za-z0-9_-]{1,64})=(.+)", re.DOTALL)


@dataclass(frozen=True)
class CameraPlace:
    """One camera: the instance of its actor, and the address of its source, which may hold a password."""

    instance: str
    source: str = field(repr=False)

    @property
    def process(self) -> str:
        """The name of the actor's process; that of `main` is the one that there is without any setting."""
        return CAMERA if self.instance == "main" else f"{CAMERA}-{self.instance}"


def configured_cameras(settings: Settings) -> Mapping[str, CameraPlace]:
    """The cameras that are set, by the names of their processes; empty where none are. Raises Mistakes, all at once."""
    mistakes: list[str] = []
    found: dict[str, CameraPlace] = {}
    for entry in settings.up.cameras:
        read = _ENTRY.fullmatch(entry)
        if read is None:
            mistakes.append(
                f"{CAMERAS}: {shown_address(entry)[:100]!r}: needs NAME=ADDRESS, as in door=rtsp://10.0.0.7/stream; "
                "a comma in an address is written %2C, or each camera stands on a line of its own"
            )
            continue
        place = CameraPlace(read[1], read[2])
        try:
            SourceAddress.parse(place.source)
        except ValueError as fault:
            mistakes.append(f"{CAMERAS}: {place.instance}: {fault}")
        if place.process in found:
            mistakes.append(f"{CAMERAS}: there are two cameras of the name {place.instance}")
        found[place.process] = place
    if len(found) > MAX_CAMERAS:
        mistakes.append(f"{CAMERAS}: at most {MAX_CAMERAS} cameras, not {len(found)}")
    if found and settings.was_set(SOURCE):
        mistakes.append(f"{CAMERAS}: {SOURCE} is set, too; name that camera here as main=ADDRESS instead")
    if mistakes:
        raise Mistakes(mistakes)
    return found
