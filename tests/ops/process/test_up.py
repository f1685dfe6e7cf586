"""`callboard up`: what it starts, how it fails, what it leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ops.process.http import get
from router.broker import Broker
from router.nats.embedded import free_port
from router.nats.settings import BrokerSettings
from tests.ops.command import ROOT, callboard, environment, family, member, running, up
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


def test_a_busy_port_is_told_with_a_free_one_before_anything_is_made(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        done = callboard("up", "--port", str(port), "--data-dir", str(tmp_path / "data"))

    assert done.returncode == 1
    assert re.fullmatch(rf"callboard: port {port} on 127\.0\.0\.1 is in use; .* --port \d+\n", done.stderr)
    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_is_a_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    done = callboard("up", "--only", "agent", "--data-dir", str(tmp_path / "data"))

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be used" in done.stderr and "--data-dir" in done.stderr


def test_an_unreachable_nats_is_told_in_one_line(tmp_path: Path) -> None:
    url = f"nats://127.0.0.1:{free_port()}"

    done = callboard("up", "--only", "camera", "--nats-url", url, "--data-dir", str(tmp_path), NATS_CONNECT_TIMEOUT="1")

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert url in done.stderr


def test_the_edge_is_not_offered_to_the_public(tmp_path: Path) -> None:
    done = callboard("up", "--host", "0.0.0.0", "--data-dir", str(tmp_path))

    assert done.returncode == 1
    assert "without authentication" in done.stderr


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


def test_a_stranger_is_not_started() -> None:
    done = callboard("up", "--only", "fish")

    assert done.returncode == 2
    assert "fish" in done.stderr and "camera" in done.stderr


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


async def test_a_second_start_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    async with up(tmp_path, "--only", "camera"):
        done = await asyncio.to_thread(callboard, "up", "--data-dir", str(tmp_path))

        assert done.returncode == 1
        assert "already runs" in done.stderr


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


async def test_the_lifeline_alone_ends_a_child(tmp_path: Path, nats_server: str) -> None:
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ops",
        "actor",
        "camera",
        env=environment({"CALLBOARD_NATS_URL": nats_server, "CALLBOARD_LIFELINE": str(reading)}),
        cwd=ROOT,
        pass_fds=[reading],
    )
    os.close(reading)

    os.close(writing)

    # In order where it had begun to listen for signals, by the signal itself where not.
    assert await asyncio.wait_for(process.wait(), PATIENCE) in (0, -signal.SIGTERM)


async def test_a_killed_child_is_started_again_and_it_is_said_why(tmp_path: Path) -> None:
    async with up(tmp_path, "--only", "camera,octane") as command:
        first = member(tmp_path, "actor camera")

        os.kill(first, signal.SIGKILL)

        await command.says("was killed by SIGKILL; starting it again")
        await eventually(lambda: member(tmp_path, "actor camera") != first)
        assert command.err.startswith("camera ")


async def test_a_killed_nats_server_is_started_again_with_its_data(tmp_path: Path) -> None:
    async with up(tmp_path, "--only", "camera") as command:
        url = (tmp_path / "nats.url").read_text().strip()
        said = await asyncio.to_thread(callboard, "publish", "job.a.started", '{"n": 1}', NATS_URL=url)
        assert said.returncode == 0, said.stderr

        os.kill(member(tmp_path, "nats-server.conf"), signal.SIGKILL)

        await command.says("nats-server was killed by SIGKILL")
        await eventually(lambda: "nats-server.conf" in " ".join(family(tmp_path).values()))
        async with Broker(BrokerSettings(url=url, connect_timeout=10), "test") as broker:
            assert [record.subject for record in (await broker.read("job.>", 0)).records] == ["job.a.started"]


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
        assert (await get("127.0.0.1", port, "/readyz")).status == 200
        assert (await get("127.0.0.1", port, "/")).status == 200


async def test_a_killed_edge_is_back_on_its_port_and_refuses_nobody_meanwhile(tmp_path: Path) -> None:
    async with up(tmp_path, "--only", "edge"):
        port = int((tmp_path / "edge.url").read_text().rsplit(":", 1)[1])

        os.kill(member(tmp_path, "ops edge"), signal.SIGKILL)

        assert (await get("127.0.0.1", port, "/livez", timeout=PATIENCE)).status == 200


async def test_under_make_ctrl_c_does_not_reach_make(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(
        f"up:\n\t@{sys.executable} -m ops up --only camera --data-dir {tmp_path / 'data'}\n"
    )
    controller, terminal = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        "setsid",
        "--ctty",
        "--wait",
        "make",
        "-C",
        str(tmp_path),
        "up",
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment({"CALLBOARD_EMBEDDED_PORT": str(free_port())}),
    )
    os.close(terminal)
    os.set_blocking(controller, False)
    said = b""

    def read() -> bool:
        nonlocal said
        try:
            said += os.read(controller, 65536)
        except OSError:
            pass
        return b"Ctrl-C ends it" in said

    try:
        await eventually(read)

        os.write(controller, b"\x03")

        code = await asyncio.wait_for(process.wait(), PATIENCE)
        read()
        assert code == 0, said.decode()
        assert b"Error" not in said, said.decode()
        assert not family(tmp_path)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(controller)


async def test_workers_share_one_port(tmp_path: Path, nats_server: str) -> None:
    port = free_port()
    async with running("edge", "--port", str(port), "--workers", "2", NATS_URL=nats_server) as command:

        async def answers() -> bool:
            try:
                return (await get("127.0.0.1", port, "/livez")).status == 200
            except OSError:
                return False

        await eventually(answers)
        children = Path(f"/proc/{command.process.pid}/task/{command.process.pid}/children").read_text().split()
        assert len(children) == 2

        command.signal(signal.SIGTERM)

        assert await command.ends() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)
