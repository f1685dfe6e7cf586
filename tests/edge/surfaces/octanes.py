"""Runs an Octane for tests of the edge: the simulator on a real socket, and the actor that watches it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator

from actors.octane.actor import Octane, OctaneSettings
from actors.octane.simulator.simulator import Simulator, SimulatorSettings
from actors.system.supervisor import run_actor
from router.broker import Broker
from tests.actors.octane.simulation import LONG, simulated
from tests.waiting import unhurried


@contextlib.asynccontextmanager
async def watched_octane(
    nats: str, settings: SimulatorSettings = LONG, instance: str = "main"
) -> AsyncIterator[Simulator]:
    """A simulated Octane that an actor watches, until the block ends."""
    async with (
        simulated(settings) as simulator,
        Broker(unhurried(nats), f"octane-{secrets.token_hex(3)}") as broker,
    ):
        stop = asyncio.Event()
        watching = OctaneSettings(address=simulator.address, reconnect=0.3)
        running = asyncio.ensure_future(run_actor(lambda: Octane(watching), broker, instance=instance, stop=stop))
        try:
            yield simulator
        finally:
            stop.set()
            await running
