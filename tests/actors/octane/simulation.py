"""Runs a real simulator of Octane on a real socket, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc

from actors.octane.simulator.server import run
from actors.octane.simulator.simulator import Simulator, SimulatorSettings

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


@asynccontextmanager
async def serving(*parts: tuple[Any, Any]) -> AsyncIterator[str]:
    """A gRPC server with only these services."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    for add, servicer in parts:
        add(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
