"""Serves a simulated Octane over gRPC, as a real one serves its clients."""

from __future__ import annotations

import logging
from collections.abc import Callable

import grpc

from actors.octane.errors import AddressBusy
from actors.octane.simulator.services import add_services
from actors.octane.simulator.simulator import Simulator, SimulatorSettings

logger = logging.getLogger(__name__)

# 64 MiB, both ways: the limit of a real Octane.
MAX_MESSAGE = 64 << 20


async def serve(settings: SimulatorSettings, ready: Callable[[str], None] | None = None) -> None:
    """Simulates an Octane until cancelled; `ready` is called with the address. Raises AddressBusy."""
    await run(Simulator(settings), ready)


async def run(simulator: Simulator, ready: Callable[[str], None] | None = None) -> None:
    """Listens and renders until cancelled; `ready` is called with the address. Raises AddressBusy."""
    server = grpc.aio.server(
        options=[
            # Without this two servers may share one port, and each get half the calls.
            ("grpc.so_reuseport", 0),
            ("grpc.max_send_message_length", MAX_MESSAGE),
            ("grpc.max_receive_message_length", MAX_MESSAGE),
        ]
    )
    add_services(server, simulator)
    host = simulator.settings.host
    wanted = f"{host}:{simulator.settings.port}"
    try:
        port = server.add_insecure_port(wanted)
    except RuntimeError:
        port = 0
    if not port:
        await server.stop(None)
        raise AddressBusy(
            f"cannot listen on {wanted}: another program has that port, or the address is not this machine's"
        )
    simulator.address = f"{host}:{port}"
    try:
        await server.start()
        logger.info("simulated Octane is listening", extra={"address": simulator.address})
        if ready is not None:
            ready(simulator.address)
        await simulator.work()
    finally:
        await server.stop(None)
