"""Files in the current folder that are named like Callboard's packages: none of them is run, and doctor finds them."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.launch import own_argv
from ops.process.http import get
from router.nats.embedded import free_port
from tests.ops.command import ROOT, Running, environment
from tests.waiting import PATIENCE, eventually

NAMES = ("ops", "edge", "router", "actors", "protos")
COMMAND = Path(sys.executable).parent / "callboard"


@pytest.fixture(params=["files", pytest.param("folders", marks=pytest.mark.slow)])
def trap(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder with code under the names of our packages that leaves a note where it is run."""
    folder = tmp_path / "trap"
    folder.mkdir()
    for name in NAMES:
        where = folder / f"{name}.py" if request.param == "files" else folder / name / "__init__.py"
        where.parent.mkdir(exist_ok=True)
        note = f"open({str(folder / 'ran')!r}, 'a').write(__file__ + '\\n')\nimport time; time.sleep(600)\n"
        where.write_text(note)
        if request.param == "folders":
            (folder / name / "__main__.py").write_text(note)
    yield folder
    assert not (folder / "ran").exists(), (folder / "ran").read_text()


def plain(**variables: str) -> dict[str, str]:
    """The environment of a person: nothing on PYTHONPATH."""
    made = environment({f"CALLBOARD_{name}": value for name, value in variables.items()})
    made.pop("PYTHONPATH")
    return made


async def start(folder: Path, *arguments: str, **variables: str) -> Running:
    process = await asyncio.create_subprocess_exec(
        *(str(COMMAND), *arguments),
        cwd=folder,
        env=plain(**variables),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return Running(process)


async def end(command: Running, reading: asyncio.Task[None]) -> None:
    command.signal(15)
    try:
        await command.ends(PATIENCE)
    except TimeoutError:
        command.process.kill()
    await reading


async def test_up_runs_its_own_code_in_a_folder_with_files_of_the_same_names(trap: Path, tmp_path: Path) -> None:
    command = await start(
        trap, "up", "--only", "edge,camera", "--data-dir", str(tmp_path / "data"),
        EDGE_PORT=str(free_port()), EMBEDDED_PORT=str(free_port()),
    )  # fmt: skip
    reading = asyncio.create_task(command.read())
    try:
        await command.says("Ctrl-C ends it", PATIENCE)

        assert "Callboard is ready" in command.out
    finally:
        await end(command, reading)


async def test_workers_of_an_edge_run_their_own_code_in_such_a_folder(trap: Path, nats_server: str) -> None:
    port = free_port()
    command = await start(trap, "edge", "--workers", "2", "--port", str(port), NATS_URL=nats_server)
    reading = asyncio.create_task(command.read())

    async def ready() -> bool:
        assert command.process.returncode is None, command.err
        try:
            return (await get("127.0.0.1", port, "/readyz", timeout=5)).status == 200
        except OSError:
            return False

    try:
        await eventually(ready, PATIENCE)
    finally:
        await end(command, reading)


async def test_a_command_is_run_and_told_of_from_such_a_folder(trap: Path, nats_server: str, entity: str) -> None:
    command = await start(trap, "run", "--json", "--job", entity, "--", "echo", "hello", NATS_URL=nats_server)
    reading = asyncio.create_task(command.read())

    assert await command.ends(PATIENCE) == 0

    await reading
    types = [json.loads(line)["event_type"] for line in command.out.splitlines()]
    assert types == ["workflow_start", "output", "completion"]


def test_python_m_ops_takes_its_packages_from_its_own_folder(trap: Path) -> None:
    for name in ("ops.py", "ops/__init__.py", "ops/__main__.py"):
        (trap / name).unlink(missing_ok=True)
    if (trap / "ops").exists():
        (trap / "ops").rmdir()

    done = subprocess.run(
        [sys.executable, "-m", "ops", "settings"],
        cwd=trap,
        env=plain(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )

    assert done.returncode == 0, done.stderr
    assert "CALLBOARD_EDGE_PORT" in done.stdout


def test_a_child_runs_its_own_code_though_pythonpath_leads_elsewhere(trap: Path) -> None:
    done = subprocess.run(
        own_argv("settings"),
        cwd=trap,
        env=plain() | {"PYTHONPATH": f"{trap}:"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )

    assert done.returncode == 0, done.stderr
    assert "CALLBOARD_EDGE_PORT" in done.stdout


def test_doctor_names_packages_that_are_not_the_distributions_own(tmp_path: Path) -> None:
    (tmp_path / "router.py").write_text("")
    metadata = tmp_path / "edger-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: edger\nVersion: 1.0\n")
    (metadata / "top_level.txt").write_text("edge\n")

    def found(path: str) -> list[dict[str, str]]:
        done = subprocess.run(
            own_argv("doctor", "--json"), cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE,
            env=plain(NATS_URL=f"nats://127.0.0.1:{free_port()}", NATS_CONNECT_TIMEOUT="1") | {"PYTHONPATH": path},
        )  # fmt: skip
        return [finding for finding in json.loads(done.stdout)["findings"] if finding["check"] == "packages"]

    assert [finding["verdict"] for finding in found(str(ROOT))] == ["ok"]
    [warning] = found(str(tmp_path))
    assert warning["verdict"] == "warn" and "environment of its own" in warning["mend"]
    assert f"router is {tmp_path / 'router.py'}" in warning["found"]
    assert "edger installs edge, too" in warning["found"]


@pytest.mark.slow
async def test_a_stranger_on_a_childs_port_is_not_called_ready(tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        command = await start(
            tmp_path, "up", "--only", "simulator", "--data-dir", "data",
            SIMULATOR_PORT=str(port), EMBEDDED_PORT=str(free_port()),
        )  # fmt: skip
        reading = asyncio.create_task(command.read())
        try:
            await command.says("Ctrl-C ends it", PATIENCE)
            assert "Callboard is not ready" in command.out and "Not ready yet: simulator" in command.out
            assert "Callboard is ready" not in command.out

            stranger.close()

            await command.says("is ready now", PATIENCE)
        finally:
            await end(command, reading)
