"""`callboard octane` at a running edge, with the actor and a simulated Octane behind it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest

from actors.octane.actor import Octane, OctaneSettings
from router.broker import Broker
from router.topology import TopologySettings
from tests.actors.octane.commanding import STEADY
from tests.actors.octane.simulation import simulated
from tests.actors.system.running import running_actor
from tests.ops.cli.test_webhooks import url  # noqa: F401 the running edge
from tests.ops.command import callboard
from tests.waiting import PATIENCE, unhurried

OctaneCommand = Callable[..., Awaitable["subprocess.CompletedProcess[str]"]]


@pytest.fixture
async def octane(url: str, own_nats: str) -> AsyncIterator[OctaneCommand]:  # noqa: F811
    """Runs `callboard octane` where an Octane is followed as `main`."""

    async def run(*words: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(callboard, "octane", *words, "--edge-url", url)

    async with (
        simulated(STEADY) as simulator,
        Broker(unhurried(own_nats), "octane", TopologySettings()) as broker,
        running_actor(partial(Octane, OctaneSettings(address=simulator.address)), broker),
    ):
        async with asyncio.timeout(PATIENCE):
            while "rendering" not in (await run()).stdout:
                pass
        yield run


async def test_an_octane_is_shown_commanded_and_refuses_what_it_cannot_do(octane: OctaneCommand) -> None:
    shown = await octane()
    assert shown.returncode == 0
    for word in ("main: Callboard simulator of Octane", "connected", "samples", "48 x 27", "camera", "fov 44"):
        assert word in shown.stdout

    assert "paused" in (await octane("pause")).stdout
    moved = json.loads((await octane("camera", "set", "--position", "0", "2", "10", "--json")).stdout)
    assert moved["render"] == "paused" or moved["render"] in ("waiting", "rendering")
    assert moved["camera"]["position"] == [0, 2, 10]
    picked = await octane("pick", "24", "20")
    assert "node handle" in picked.stdout and "distance" in picked.stdout
    assert "device 0 name" in (await octane("stats")).stdout
    assert json.loads((await octane("--json")).stdout)["controls"]["camera"]["position"] == [0, 2, 10]

    outside = await octane("region", "0", "0", "49", "5")
    assert outside.returncode == 1 and outside.stdout == ""
    assert "right must be at most 48, the width of the picture" in outside.stderr
    unknown = await octane("pause", "--instance", "nobody")
    assert unknown.returncode == 1 and "octane.nobody.pause" in unknown.stderr
    absent = await octane("--instance", "nobody")
    assert absent.returncode == 1 and "there are main" in absent.stderr
