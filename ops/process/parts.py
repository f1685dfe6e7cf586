"""Lists the processes that `callboard up` can start, and chooses those that are wanted."""

from __future__ import annotations

from actors.catalog import ACTORS
from ops.process.cameras import CAMERA, configured_cameras
from ops.process.octanes import OCTANE, configured_octanes
from ops.process.ports import is_free
from ops.settings import Mistakes, Settings
from ops.values import convert
from router.nats.embedded import free_port

EDGE = "edge"
SIMULATOR = "simulator"
PARTS = (EDGE, *ACTORS, SIMULATOR)
# The port of a real Octane. Where it is taken the simulator goes elsewhere, and the actor is told.
OCTANE_PORT = 51022


def chosen(settings: Settings) -> list[str]:
    """Lists the processes to start; raises Mistakes for an unknown name."""
    only = settings.up.only
    if strangers := [name for name in only if name not in PARTS]:
        raise Mistakes(
            f"--only {name}: there is nobody of that name; there are {', '.join(PARTS)}" for name in strangers
        )
    cast = [name for name in PARTS if not only or name in only]
    octanes = configured_octanes(settings)
    if (
        SIMULATOR in cast
        and SIMULATOR not in only
        and (not settings.up.demo or octanes or settings.was_set("CALLBOARD_OCTANE_ADDRESS") or OCTANE not in cast)
    ):
        cast.remove(SIMULATOR)
    if OCTANE in cast and octanes:
        place = cast.index(OCTANE)
        cast[place : place + 1] = octanes
    cameras = configured_cameras(settings)
    if CAMERA in cast and cameras:
        place = cast.index(CAMERA)
        cast[place : place + 1] = cameras
    return cast


def port_of_simulator(settings: Settings) -> int:
    """Says where the simulated Octane goes: where it was asked to, else where a real one would be; raises Mistakes."""
    asked = settings.found.get("CALLBOARD_SIMULATOR_PORT")
    if asked is None:
        return OCTANE_PORT if is_free("127.0.0.1", OCTANE_PORT) else free_port()
    try:
        return int(convert(int, asked.text)) or free_port()
    except ValueError as fault:
        raise Mistakes([f"{asked.said}={asked.text} ({asked.source}): {fault}"]) from None
