"""Several cameras under one `callboard up`, as processes."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from ops.process.http import get
from router.nats.embedded import free_port
from tests.ops.command import family, member, up
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


@pytest.mark.slow
async def test_each_camera_is_a_process_of_its_own_and_one_that_hangs_stops_no_other(tmp_path: Path) -> None:
    port, nobody = free_port(), free_port()
    cameras = f"door=rtsp://some:hush@127.0.0.1:{nobody}/one\nbench=sim:card?size=320x240\nmain=sim:card"

    async def states() -> dict[str, str]:
        listed = json.loads((await get("127.0.0.1", port, "/cameras", timeout=PATIENCE)).body)["cameras"]
        return {each["id"]: each["status"] for each in listed}

    async def pictured(name: str) -> bool:
        snapshot = await get("127.0.0.1", port, f"/cameras/{name}/snapshot", timeout=PATIENCE)
        return snapshot.status == 200 and snapshot.body.startswith(b"\xff\xd8")

    async with up(tmp_path, "--only", "edge,camera", "--port", str(port), CAMERAS=cameras) as running:
        assert f"http://127.0.0.1:{port}/cameras/bench/mjpeg" in running.out
        assert "hush" not in running.out
        assert "hush" not in str(family(tmp_path).values())
        await eventually(lambda: pictured("bench"))

        os.kill(member(tmp_path, "camera --instance bench"), signal.SIGSTOP)

        await eventually(lambda: pictured("main"))
        assert (await states()).keys() == {"door", "bench", "main"}
        os.kill(member(tmp_path, "camera --instance bench"), signal.SIGCONT)
    logs = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert "hush" not in logs
