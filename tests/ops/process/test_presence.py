"""The process of a camera that is killed, is stopped, or loses NATS for a while: what two edges say of it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge import presence
from router.broker import Broker
from router.nats.embedded import free_port
from tests.ops.command import running
from tests.servers import Server, running_server
from tests.waiting import PATIENCE, eventually, unhurried

pytestmark = pytest.mark.slow


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[tuple[Server, str]]:
    port = free_port()
    config = f'listen: 127.0.0.1:{port}\nmax_payload: 8MB\njetstream {{ store_dir: "{tmp_path / "data"}" }}'
    with running_server(tmp_path, config) as server:
        yield server, f"nats://127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def edge(url: str, port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        running("edge", "--port", str(port), NATS_URL=url),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as http,
    ):
        yield http


async def shown(http: httpx.AsyncClient) -> dict[str, Any]:
    with contextlib.suppress(httpx.TransportError):
        answer = await http.get("/cameras")
        if answer.status_code == 200 and answer.json()["cameras"]:
            camera: dict[str, Any] = answer.json()["cameras"][0]
            return camera
    return {}


async def is_shown(http: httpx.AsyncClient, *statuses: str) -> dict[str, Any]:
    async def found() -> dict[str, Any] | None:
        camera = await shown(http)
        return camera if camera.get("status") in statuses else None

    camera: dict[str, Any] = await eventually(found)
    return camera


async def statuses(url: str) -> list[str]:
    async with Broker(unhurried(url), "test") as broker:
        records = (await broker.read("camera.main.state", 0)).records
    return [str(record.event.data["status"]) for record in records if record.event]


async def test_a_camera_that_is_killed_stopped_or_cut_off_is_told_as_such_by_two_edges(
    nats: tuple[Server, str],
) -> None:
    server, url = nats
    ports = free_port(), free_port()
    async with edge(url, ports[0]) as one, edge(url, ports[1]) as other:
        async with running("actor", "camera", NATS_URL=url) as actor:
            await is_shown(one, "idle")
            await is_shown(other, "idle")
            actor.signal(signal.SIGKILL)
            killed = time.monotonic()
            for http in (one, other):
                gone = await is_shown(http, "gone")
                assert gone["reason"] == presence.DEAD
            took = time.monotonic() - killed
        await eventually(lambda: _told(url, ["idle", "gone"]))
        # 10 s are promised; a busy machine is late.
        assert took < 20, took

        async with running("actor", "camera", NATS_URL=url) as actor:
            again = await is_shown(one, "idle")
            assert again["life"] > gone["life"]
            await _survives_a_restart_of_nats(server, one, again)
            actor.signal(signal.SIGTERM)
            stopped = await is_shown(other, "gone")
            assert stopped["reason"] == "the actor was stopped"
            await actor.ends()
        await eventually(lambda: _told(url, ["idle", "gone", "idle", "gone"]))


async def _told(url: str, expected: list[str]) -> bool:
    found = await statuses(url)
    assert found == expected, found
    return True


async def _survives_a_restart_of_nats(server: Server, http: httpx.AsyncClient, before: dict[str, Any]) -> None:
    """NATS is away for longer than a lease lasts: nobody is said to be gone."""
    server.shut_down()
    await asyncio.sleep(8.0)
    server.start()
    await is_shown(http, "idle", "gone")
    until = time.monotonic() + presence.SETTLE_SECONDS + 4.0
    while time.monotonic() < until:
        camera = await shown(http)
        assert not camera or (camera["status"], camera["life"]) == ("idle", before["life"])
        await asyncio.sleep(0.2)
