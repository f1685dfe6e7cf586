"""Serves a simulated Octane over gRPC, as a real one serves its clients."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import grpc

from actors.octane.errors import AddressBusy
from actors.octane.simulator.chaos import OctaneChaos
from actors.octane.simulator.services import add_services
from actors.octane.simulator.settings import SimulatorSettings
from actors.octane.simulator.simulator import Simulator

logger = logging.getLogger(__name__)

# 64 MiB, both ways: the limit of a real Octane.
MAX_MESSAGE = 64 << 20


async def serve(
    settings: SimulatorSettings,
    ready: Callable[[str], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Simulates an Octane until cancelled; `ready` is called with the address, `say` with each fault of its chaos.

    Raises AddressBusy.
    """
    await run(Simulator(settings), ready, say)


async def run(
    simulator: Simulator, ready: Callable[[str], None] | None = None, say: Callable[[str], None] | None = None
) -> None:
    """Listens and renders until cancelled, and starts anew after each crash. Raises AddressBusy."""
    host = simulator.settings.host
    server, port = await _bind(simulator, host, simulator.settings.port)
    simulator.address = f"{host}:{port}"
    chaos = OctaneChaos(simulator.settings, simulator.strike, say or _log)
    while True:
        try:
            await server.start()
            logger.info("simulated Octane is listening", extra={"address": simulator.address})
            if ready is not None and not simulator.restarts:
                ready(simulator.address)
            await _live(simulator, chaos)
        finally:
            await server.stop(None)
        await asyncio.sleep(simulator.down_for)
        simulator.reborn()
        server, _ = await _bind(simulator, host, port)


async def _live(simulator: Simulator, chaos: OctaneChaos) -> None:
    """Is one process of an Octane, until it crashes."""
    async with asyncio.TaskGroup() as tasks:
        parts = [tasks.create_task(simulator.work()), tasks.create_task(chaos.run())]
        await simulator.crashed.wait()
        for part in parts:
            part.cancel()


async def _bind(simulator: Simulator, host: str, port: int) -> tuple[grpc.aio.Server, int]:
    """A server that has its port; after a crash the port is the one of before, which is waited for."""
    wanted = f"{host}:{port}"
    # 40 tries of 50 ms: the sockets of the process before may take a moment to go.
    for attempt in range(40 if simulator.restarts else 1):
        if attempt:
            await asyncio.sleep(0.05)
        server = grpc.aio.server(
            options=[
                # Without this two servers may share one port, and each get half the calls.
                ("grpc.so_reuseport", 0),
                ("grpc.max_send_message_length", MAX_MESSAGE),
                ("grpc.max_receive_message_length", MAX_MESSAGE),
            ]
        )
        add_services(server, simulator)
        try:
            bound = server.add_insecure_port(wanted)
        except RuntimeError:
            bound = 0
        if bound:
            return server, bound
        await server.stop(None)
    raise AddressBusy(f"cannot listen on {wanted}: another program has that port, or the address is not this machine's")


def _log(fault: str) -> None:
    logger.info("simulated Octane shows a fault", extra={"fault": fault})
