"""Runs an Octane actor whose commands can be given, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from actors.octane.simulator.simulator import Simulator
from actors.system.probe import Probe
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.watching import said, watching
from tests.waiting import eventually

# One whose camera stands still and whose render does not begin anew by itself.
STEADY = replace(LONG, rest=600.0)
# A render that has begun waits for its first samples.
GOING = ("rendering", "waiting")


@asynccontextmanager
async def commanded(settings: Any = STEADY, **more: Any) -> AsyncIterator[tuple[Simulator, Probe]]:
    """An actor that has read what its Octane is set to."""
    async with simulated(settings) as octane, watching(octane.address, **more) as probe:
        await eventually(lambda: said(probe, "controls"))
        await eventually(lambda: octane.render.samples > 0)
        yield octane, probe
