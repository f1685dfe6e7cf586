"""This file is where one process of the tree runs its role: an actor, the edge, the simulated Octane."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from ops.children import Child, Lifeline, watch_lifeline
from ops.logs import configure
from ops.settings import SOCKET, Settings, inherited_descriptor
from router.broker import Broker
from router.errors import Unreachable

log = logging.getLogger(__name__)

# 10 s: who is started together with NATS waits for it; who is started without it says so.
NATS_PATIENCE = 10.0
# One more than the edge takes to drain.
WORKER_DRAIN = 7.0


def run_role(role: Callable[[asyncio.Event], Coroutine[Any, Any, None]], settings: Settings) -> int:
    """Runs a role until SIGTERM, SIGINT or the end of the process above us; a second Ctrl-C ends it at once."""
    configure(settings.log)
    watch_lifeline()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_until_told(role))
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _until_told(role: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    stop = asyncio.Event()

    def told(number: int) -> None:
        if stop.is_set() and number == signal.SIGINT:
            os._exit(130)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told, number)
    await role(stop)


@contextlib.asynccontextmanager
async def patient_broker(settings: Settings, name: str, stop: asyncio.Event) -> AsyncIterator[Broker]:
    """Opens a broker, waiting a little for a NATS that is just being started. Raises Unreachable or Unsuitable."""
    deadline = asyncio.get_running_loop().time() + NATS_PATIENCE
    while True:
        broker = Broker(settings.broker, name, settings.topology)
        try:
            await broker.open()
            break
        except Unreachable:
            if stop.is_set() or asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.2)
    try:
        yield broker
    finally:
        await broker.close()


async def play(name: str, settings: Settings, stop: asyncio.Event) -> None:
    """Runs one actor. Raises Escalate where it crashes too often."""
    from actors.catalog import CAST
    from actors.system.supervisor import run_actor

    actor: Callable[..., Any] = CAST[name].load()
    make = functools.partial(actor, settings.section(name)) if CAST[name].settings else actor
    async with patient_broker(settings, f"actor {name}", stop) as broker:
        await run_actor(make, broker, instance=settings.command.instance, stop=stop)


async def serve_edge(settings: Settings, stop: asyncio.Event) -> None:
    """Serves the edge: on the socket that the process above us opened, or on one of its own."""
    edge = settings.section("edge")
    descriptor = inherited_descriptor(SOCKET)
    if edge.workers > 1 and descriptor is None:
        return await _share(edge.host, edge.port, edge.workers, stop)
    from edge.server import serve

    listener = None
    if descriptor is not None:
        os.set_inheritable(descriptor, False)
        listener = socket.socket(fileno=descriptor)
        listener.setblocking(False)

    def ready(port: int) -> None:
        log.info("the edge listens", extra={"host": edge.host, "port": port})

    await serve(
        edge,
        settings.broker,
        settings.topology,
        stop=stop,
        guard=settings.section("guard"),
        listener=listener,
        ready=ready,
    )
    return None


async def _share(host: str, port: int, workers: int, stop: asyncio.Event) -> None:
    """Runs several edge processes on one socket; one that dies is started again, while the others serve."""
    from ops.ports import open_port

    listener = open_port(host, port)
    lifeline = Lifeline()

    def say(name: str, level: str, line: str) -> None:
        log.warning("a worker is restarted" if level == "restart" else "a worker", extra={"worker": name, "why": line})

    children = [
        Child(
            f"edge {number}",
            ["edge"],
            say=say,
            lifeline=lifeline,
            environment={SOCKET: str(listener.fileno())},
            descriptors=[listener.fileno()],
        )
        for number in range(1, workers + 1)
    ]
    try:
        async with asyncio.TaskGroup() as group:
            keeping = [group.create_task(child.keep()) for child in children]
            await stop.wait()
            await asyncio.gather(*(child.stop(WORKER_DRAIN) for child in children))
            for task in keeping:
                task.cancel()
    finally:
        for child in children:
            child.send(signal.SIGKILL)
        lifeline.close()
        listener.close()


async def simulate_octane(settings: Settings, stop: asyncio.Event) -> None:
    """Serves a simulated Octane."""
    from actors.octane.simulator import serve

    simulator = settings.section("simulator")

    def ready(address: str) -> None:
        log.info("a simulated Octane listens", extra={"address": address})
        if sys.stderr.isatty():
            print(f"A simulated Octane listens on {address}; Ctrl-C ends it.", file=sys.stderr)

    async with asyncio.TaskGroup() as group:
        serving = group.create_task(serve(simulator, ready))
        ending = group.create_task(stop.wait())
        await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        ending.cancel()
