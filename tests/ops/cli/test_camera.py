"""`callboard camera` at a running edge, with the actor of a simulated camera behind it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from actors.camera.actor import Camera
from actors.camera.settings import CameraSettings
from router.broker import Broker
from router.topology import TopologySettings
from tests.actors.system.running import running_actor
from tests.ops.cli.test_webhooks import url  # noqa: F401 the running edge
from tests.ops.command import callboard
from tests.presences import PlayedActor
from tests.waiting import eventually, unhurried


@pytest.mark.slow
async def test_a_camera_is_listed_set_and_gives_stills(url: str, own_nats: str, tmp_path: Path) -> None:  # noqa: F811
    async def run(*words: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(callboard, "camera", *words, "--edge-url", url)

    settings = CameraSettings(width=320, height=240, linger=60.0)
    async with Broker(unhurried(own_nats), "camera", TopologySettings()) as broker:
        assert "no camera is known" in (await run()).stdout
        await PlayedActor(broker, "main").begin()
        async with running_actor(lambda: Camera(settings), broker):
            await eventually(lambda: broker.latest(["camera.main.state"]))
            still = await run("still", str(tmp_path / "now.png"))
            assert still.returncode == 0 and "captured 20" in still.stdout, still.stderr
            with Image.open(tmp_path / "now.png") as image:
                assert image.size == (320, 240)

            listed = await run()
            assert "main" in listed.stdout and "simulated" in listed.stdout
            assert "set_region" in (await run("commands")).stdout
            told = json.loads((await run("set", "exposure", "0.005", "--json")).stdout)
            assert (told["applied"], told["controls"]["exposure"]["value"]) == (True, 0.005)
            assert json.loads((await run("set", "fps", "12", "--json")).stdout)["fps"] == 12
            pressed = await run("give", "auto_exposure")
            assert "0.02 s (0.0001 to 1)" in pressed.stdout
            shown = await run("show")
            assert "12" in shown.stdout and "gamma" in shown.stdout

            refused = await run("set", "exposure", "5")
            assert refused.returncode == 1 and "exposure must be a number from 0.0001 to 1 s" in refused.stderr
            absent = await run("show", "--instance", "nobody")
            assert absent.returncode == 1 and "there are main" in absent.stderr
