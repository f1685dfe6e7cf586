"""This file is where tests get a real simulator on a real socket, and a way to wait for what must come."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from actors.octane.simulator import Simulator, SimulatorSettings
from actors.octane.simulator_server import run
from tests.waiting import PATIENCE

# Small and quick: a render of a few pixels that is done in half a second.
QUICK = SimulatorSettings(
    port=0,
    width=48,
    height=27,
    pitch=64,
    max_samples=20,
    samples_per_second=40.0,
    images_per_second=25.0,
    rest=0.2,
)
# One that is still rendering when the test is over.
LONG = replace(QUICK, max_samples=100_000)


@asynccontextmanager
async def simulated(settings: SimulatorSettings = QUICK) -> AsyncIterator[Simulator]:
    """A simulator that listens; gone, like a killed one, when the block ends."""
    simulator = Simulator(settings)
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run(simulator, listening.set_result))
    try:
        await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield simulator
    finally:
        task.cancel()
        await asyncio.wait({task})


async def eventually(holds: Callable[[], Any], within: float = PATIENCE) -> Any:
    """Waits for a condition, and gives what it gave."""
    async with asyncio.timeout(within):
        # What is waited for happens on a socket, in another process or thread.
        while not (found := holds()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
