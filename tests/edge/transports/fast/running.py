"""Edges that run in a thread of their own, on each way to write and each event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import uvloop

from edge.app import application
from edge.server.serve import bind, serve
from edge.settings import EdgeSettings
from edge.webhooks.client.ssrf import GuardSettings
from router.topology import TopologySettings
from tests.edge.conftest import QUIET, RunningEdge
from tests.waiting import PATIENCE, unhurried


@dataclass(frozen=True)
class Path:
    """How the edge under test writes to its sockets, and on which event loop."""

    lane: bool
    loop: Callable[[], asyncio.AbstractEventLoop]


PATHS = {
    "plain": Path(False, asyncio.new_event_loop),
    "lane": Path(True, asyncio.new_event_loop),
    "lane-uvloop": Path(True, uvloop.new_event_loop),
}


class StoppableEdge(RunningEdge):
    """A running edge that may be told to stop while its clients look on."""

    def __init__(self, port: int, http: httpx.AsyncClient, stop: Callable[[], object]) -> None:
        super().__init__(port, http)
        self.stop = stop


@contextlib.asynccontextmanager
async def running(nats: str, path: Path, **given: Any) -> AsyncIterator[StoppableEdge]:
    """An edge in a thread and event loop of its own."""
    listeners = bind("127.0.0.1", 0)
    port = listeners[0].getsockname()[1]
    options = {"drain": 0.1, "session": QUIET, "lane": path.lane, **given}
    up = threading.Event()
    loop = path.loop()
    stop = asyncio.Event()
    faults: list[BaseException] = []

    def run() -> None:
        serving = serve(
            application(
                EdgeSettings(port=port, **options),
                unhurried(nats),
                TopologySettings(),
                guard=GuardSettings(allow_loopback=True, allow_http=True),
            ),
            *listeners,
            stop=stop,
            ready=lambda _port: up.set(),
        )
        try:
            loop.run_until_complete(serving)
        except BaseException as fault:  # noqa: BLE001 - raised again below, in the test
            faults.append(fault)
        finally:
            loop.close()
            up.set()

    thread = threading.Thread(target=run)
    thread.start()
    await asyncio.to_thread(up.wait, PATIENCE)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http:
            yield StoppableEdge(port, http, lambda: loop.call_soon_threadsafe(stop.set))
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
        await asyncio.to_thread(thread.join, PATIENCE)
        assert not thread.is_alive(), "the edge does not stop"
    if faults:
        raise faults[0]
