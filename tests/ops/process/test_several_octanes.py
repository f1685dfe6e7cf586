"""Several Octanes under one `callboard up`, as processes."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from actors.octane.simulator.settings import OctaneGeneration
from ops.process.http import get
from router.nats.embedded import free_port
from tests.actors.octane.commanding import GOING, STEADY
from tests.actors.octane.simulation import simulated
from tests.ops.command import member, up
from tests.waiting import PATIENCE, eventually

NAMES = ("main", "left")

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


@pytest.mark.slow
async def test_each_octane_has_state_commands_and_pictures_of_its_own_and_outlives_its_actor(tmp_path: Path) -> None:
    port = free_port()

    async def give(instance: str, command: str, **arguments: object) -> tuple[int, dict[str, object]]:
        path, body = f"/commands/octane/{instance}/{command}", json.dumps(arguments).encode()
        answer = await get("127.0.0.1", port, path, timeout=PATIENCE, method="POST", body=body)
        return answer.status, json.loads(answer.body)

    async def states() -> dict[str, str]:
        octanes = json.loads((await get("127.0.0.1", port, "/octanes", timeout=PATIENCE)).body)["octanes"]
        return {each["id"]: each["status"] for each in octanes}

    async with simulated(STEADY) as main, simulated(replace(STEADY, generation=OctaneGeneration.ALPHA_5)) as left:
        octanes = ("--octane", f"main={main.address}", "--octane", f"left={left.address}")
        async with up(tmp_path, "--only", "edge,octane", "--port", str(port), *octanes) as running:
            assert f"http://127.0.0.1:{port}/octane/left/mjpeg" in running.out

            async def both_connected() -> bool:
                return await states() == {"main": "connected", "left": "connected"}

            await eventually(both_connected)
            assert (await give("left", "stop"))[1]["render"] == "stopped"
            assert (await give("main", "get_camera"))[1]["render"] in GOING
            # The render target of the stopped Octane is known to the next incarnation, too.
            os.kill(member(tmp_path, "octane --instance left"), signal.SIGKILL)

            async def started() -> bool:
                status, answer = await give("left", "start")
                return status == 200 and answer["render"] in GOING

            await eventually(started)

            async def pictured() -> bool:
                snapshots = [
                    await get("127.0.0.1", port, f"/octane/{name}/snapshot", timeout=PATIENCE) for name in NAMES
                ]
                return all(each.status == 200 and each.body.startswith(b"\xff\xd8") for each in snapshots)

            await eventually(pictured)
