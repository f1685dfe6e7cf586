"""`callboard up`: what it starts, how it fails, what it leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ops.process.http import get
from router.broker import Broker
from router.nats.embedded import free_port
from tests.ops.command import ROOT, callboard, environment, family, member, up
from tests.waiting import PATIENCE, eventually, unhurried

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


def test_an_unreachable_nats_is_told_in_one_line(tmp_path: Path) -> None:
    url = f"nats://127.0.0.1:{free_port()}"

    done = callboard("up", "--only", "camera", "--nats-url", url, "--data-dir", str(tmp_path), NATS_CONNECT_TIMEOUT="1")

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert url in done.stderr


def test_a_missing_nats_server_is_told_in_one_line(tmp_path: Path) -> None:
    # A Python without the programs that are installed beside ours.
    bare = tmp_path / "bin" / "python"
    bare.parent.mkdir()
    bare.symlink_to(Path(sys.executable).resolve())
    paths = os.pathsep.join([str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))])

    done = subprocess.run(
        [bare, "-m", "ops", "up", "--only", "camera", "--data-dir", str(tmp_path / "data")],
        env={**environment(), "PATH": "/usr/bin:/bin", "PYTHONPATH": paths},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "no nats-server found" in done.stderr and "CALLBOARD_NATS_URL" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk, which only root may")
def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no small disk can be mounted here")
    try:
        done = callboard("up", "--only", "camera", "--data-dir", str(tmp_path / "data"))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "No space left" in done.stderr and "--data-dir" in done.stderr


async def test_mistakes_in_an_actors_settings_end_the_start_and_are_all_told(tmp_path: Path) -> None:
    done = await asyncio.to_thread(
        callboard,
        "up",
        "--only",
        "camera,octane",
        "--data-dir",
        str(tmp_path),
        EMBEDDED_PORT=str(free_port()),
        CAMERA_FPS="often",
        OCTANE_QUALITY="1000",
    )

    assert done.returncode == 2
    assert "CALLBOARD_CAMERA_FPS=often" in done.stderr
    assert "CALLBOARD_OCTANE_QUALITY=1000" in done.stderr
    assert not family(tmp_path)


async def test_ctrl_c_ends_everything_in_order_with_exit_code_0(tmp_path: Path) -> None:
    async with up(tmp_path, "--only", "camera,octane") as command:
        assert len(family(tmp_path)) == 4  # up, nats-server, two actors

        command.signal(signal.SIGINT)

        assert await command.ends() == 0
        assert command.err == ""
        assert not family(tmp_path)


async def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    async with up(tmp_path, "--only", "camera") as command:
        # A process that does not move would be waited for.
        os.kill(member(tmp_path, "actor camera"), signal.SIGSTOP)

        def interrupted() -> bool:
            if command.process.returncode is None:
                command.signal(signal.SIGINT)
            return command.process.returncode is not None

        await eventually(interrupted)

        assert command.process.returncode == 130
        await eventually(lambda: not family(tmp_path))


async def test_nobody_is_left_behind_when_it_is_killed(tmp_path: Path) -> None:
    async with up(tmp_path, "--only", "camera,octane") as command:
        assert len(family(tmp_path)) == 4

        command.signal(signal.SIGKILL)
        await command.ends()

        await eventually(lambda: not family(tmp_path))


async def test_a_killed_nats_server_is_started_again_with_its_data(tmp_path: Path) -> None:
    async with up(tmp_path, "--only", "camera") as command:
        url = (tmp_path / "nats.url").read_text().strip()
        said = await asyncio.to_thread(callboard, "publish", "job.a.started", '{"n": 1}', NATS_URL=url)
        assert said.returncode == 0, said.stderr

        os.kill(member(tmp_path, "nats-server.conf"), signal.SIGKILL)

        await command.says("nats-server was killed by SIGKILL")
        await eventually(lambda: "nats-server.conf" in " ".join(family(tmp_path).values()))
        async with Broker(unhurried(url), "test") as broker:
            assert [record.subject for record in (await broker.read("job.>", 0)).records] == ["job.a.started"]


@pytest.mark.slow
async def test_a_second_start_finds_its_data_again(tmp_path: Path) -> None:
    async with up(tmp_path, "--only", "camera"):
        said = await asyncio.to_thread(callboard, "publish", "job.a.started", "--data-dir", str(tmp_path))
        assert said.returncode == 0, said.stderr

    async with up(tmp_path, "--only", "camera"):
        read = await asyncio.to_thread(callboard, "tail", "job.>", "--no-follow", "--json", "--data-dir", str(tmp_path))

    assert [json.loads(line)["subject"] for line in read.stdout.splitlines()] == ["job.a.started"]
    assert not (tmp_path / "nats.url").exists()


async def test_everyone_is_ready_and_the_table_names_what_answers(tmp_path: Path) -> None:
    async with up(tmp_path) as command:
        url = (tmp_path / "edge.url").read_text().strip()
        port = int(url.rsplit(":", 1)[1])

        assert "Not ready" not in command.out
        assert f"{url}/cameras/main/mjpeg" in command.out
        stream = re.search(r"curl -N '(\S+)'", command.out)
        assert stream
        assert (await get("127.0.0.1", port, "/readyz", timeout=PATIENCE)).status == 200
        assert (await get("127.0.0.1", port, "/", timeout=PATIENCE)).status == 200


async def test_a_killed_edge_is_back_on_its_port_and_refuses_nobody_meanwhile(tmp_path: Path) -> None:
    async with up(tmp_path, "--only", "edge"):
        port = int((tmp_path / "edge.url").read_text().rsplit(":", 1)[1])

        os.kill(member(tmp_path, "ops edge"), signal.SIGKILL)

        assert (await get("127.0.0.1", port, "/livez", timeout=PATIENCE)).status == 200
