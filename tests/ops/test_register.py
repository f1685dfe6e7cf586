"""Commands find the running `callboard up` of this user, from any folder and with any data folder."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ops.launch import own_argv
from ops.register import Register, Running, folders
from router.nats.embedded import free_port
from tests.ops.command import callboard, environment, running
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the processes of a tree are found in /proc"
)
SECRET = "a secret that is long enough for HS256"


@pytest.fixture
def register(tmp_path: Path) -> str:
    """The register that the commands of one test share."""
    return str(tmp_path / "runtime" / "callboard")


def elsewhere(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in another folder."""
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        own_argv(*arguments), cwd=folder, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL,
        env=environment({f"CALLBOARD_{name}": value for name, value in variables.items()}), check=False,
    )  # fmt: skip


def tree(register: str, data: Path, *only: str, **variables: str):  # type: ignore[no-untyped-def]
    ports = {"EMBEDDED_PORT": str(free_port()), "EDGE_PORT": str(free_port())}
    return running(
        "up", "--only", ",".join(only), "--data-dir", str(data), RUNTIME_DIR=register, **ports, **variables
    )  # fmt: skip


@pytest.mark.slow
async def test_every_command_finds_the_running_up_from_another_folder(tmp_path: Path, register: str) -> None:
    async with tree(register, tmp_path / "data", "edge", "agent", INTERNAL_PORT=str(free_port())) as up:
        await up.says("Callboard is ready", PATIENCE)
        other = tmp_path / "other"

        async def asked(*arguments: str) -> subprocess.CompletedProcess[str]:
            return await asyncio.to_thread(elsewhere, other, *arguments, RUNTIME_DIR=register)

        said = await asked("publish", "job.a.started", '{"n": 1}')
        ran = await asked("run", "--job", "b", "--", "echo", "hello")
        told = await asked("tail", "job.>", "--no-follow", "--json")
        listed = await asked("sessions", "--json")
        letters = await asked("deadletters", "summary")
        attempts = await asked("webhooks", "attempts", "sess_none")
        streams = await asked("streams", "diff")
        levels = await asked("logs")
        healthy = await asked("health")
        doctor = await asked("doctor", "--json")

    assert said.returncode == 0, said.stderr
    assert ran.returncode == 0 and "dropped" not in ran.stderr, ran.stderr
    subjects = [json.loads(line)["subject"] for line in told.stdout.splitlines()]
    assert subjects[0] == "job.a.started" and "job.b.completion" in subjects
    assert listed.returncode == 0 and json.loads(listed.stdout), listed.stderr
    assert letters.returncode == 0, letters.stderr
    assert "no edge answers" not in attempts.stderr and "sess_none" in attempts.stderr + attempts.stdout
    assert streams.returncode == 0, streams.stderr
    assert levels.returncode == 0 and "root info" in levels.stdout, levels.stderr
    assert healthy.returncode == 0, healthy.stderr
    found = {finding["check"]: finding for finding in json.loads(doctor.stdout)["findings"]}
    assert found["up"]["found"].startswith(f"runs on {tmp_path / 'data'}")
    assert found["nats"]["verdict"] == found["edge"]["verdict"] == "ok"


@pytest.mark.slow
async def test_of_several_the_command_says_which_there_are_and_how_to_choose(tmp_path: Path, register: str) -> None:
    async with tree(register, tmp_path / "one", "agent") as one, tree(register, tmp_path / "two", "agent") as two:
        await one.says("Callboard is ready", PATIENCE)
        await two.says("Callboard is ready", PATIENCE)

        def asked(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
            return elsewhere(tmp_path / "other", *arguments, RUNTIME_DIR=register, **variables)

        for command in (
            ("publish", "job.a.started", "{}"), ("tail", ">", "--no-follow"), ("run", "--", "touch", "was-run"),
            ("sessions",), ("streams", "diff"), ("doctor",), ("health",), ("logs",),
        ):  # fmt: skip
            refused = await asyncio.to_thread(asked, *command)
            assert refused.returncode == 2, (command, refused.stdout, refused.stderr)
            assert str(tmp_path / "one") in refused.stderr and str(tmp_path / "two") in refused.stderr
            assert "--data-dir" in refused.stderr and len(refused.stderr.splitlines()) == 1
        assert not (tmp_path / "other" / "was-run").exists()

        said = await asyncio.to_thread(asked, "publish", "job.a.started", "{}", "--data-dir", str(tmp_path / "two"))
        told = [
            (await asyncio.to_thread(asked, "tail", ">", "--no-follow", "--json", DATA_DIR=str(tmp_path / name))).stdout
            for name in ("one", "two")
        ]
        shown = await asyncio.to_thread(asked, "settings")

    assert said.returncode == 0, said.stderr
    assert "job.a.started" not in told[0] and "job.a.started" in told[1]
    assert shown.returncode == 0, shown.stderr


@pytest.mark.slow
async def test_the_up_of_this_folder_comes_before_all_others(tmp_path: Path, register: str) -> None:
    here = tmp_path / "here"
    async with tree(register, here / ".callboard", "agent") as one, tree(register, tmp_path / "two", "agent") as two:
        await one.says("Callboard is ready", PATIENCE)
        await two.says("Callboard is ready", PATIENCE)

        said = await asyncio.to_thread(elsewhere, here, "publish", "job.a.started", "{}", RUNTIME_DIR=register)
        told = await asyncio.to_thread(
            callboard, "tail", ">", "--no-follow", "--json", "--data-dir", str(here / ".callboard")
        )

    assert said.returncode == 0, said.stderr
    assert "job.a.started" in told.stdout


async def test_a_named_folder_without_an_up_is_not_taken_for_another_ones(tmp_path: Path, register: str) -> None:
    async with tree(register, tmp_path / "one", "agent") as up:
        await up.says("Callboard is ready", PATIENCE)

        shown = await asyncio.to_thread(
            elsewhere, tmp_path / "other", "settings", "--json", RUNTIME_DIR=register, DATA_DIR=str(tmp_path / "none")
        )

    url = next(row for row in json.loads(shown.stdout) if row["variable"] == "CALLBOARD_NATS_URL")
    assert url["source"] == "default"


async def test_one_that_was_killed_is_not_found(tmp_path: Path, register: str) -> None:
    async with tree(register, tmp_path / "data", "agent") as up:
        await up.says("Callboard is ready", PATIENCE)
        [entry] = Path(register).glob("up-*.json")
        assert entry.stat().st_mode & 0o777 == 0o600 and Path(register).stat().st_mode & 0o777 == 0o700

        up.signal(signal.SIGKILL)
        await up.ends(PATIENCE)

        assert entry.exists()
        shown = await asyncio.to_thread(elsewhere, tmp_path / "other", "settings", "--json", RUNTIME_DIR=register)

    url = next(row for row in json.loads(shown.stdout) if row["variable"] == "CALLBOARD_NATS_URL")
    assert url["source"] == "default"
    assert not entry.exists()


@pytest.mark.slow
async def test_flags_and_variables_come_before_a_running_up(tmp_path: Path, register: str) -> None:
    async with tree(register, tmp_path / "data", "agent") as up:
        await up.says("Callboard is ready", PATIENCE)

        def source(*arguments: str, **variables: str) -> tuple[str, str]:
            shown = elsewhere(tmp_path / "other", "settings", "--json", *arguments, RUNTIME_DIR=register, **variables)
            row = next(row for row in json.loads(shown.stdout) if row["variable"] == "CALLBOARD_NATS_URL")
            return row["value"], row["source"]

        set_ = {"NATS_URL": "nats://variable:4222"}
        flagged = await asyncio.to_thread(source, "--nats-url", "nats://flag:4222", **set_)
        told = await asyncio.to_thread(source, **set_)
        found = await asyncio.to_thread(source)

    assert flagged == ("nats://flag:4222", "flag")
    assert told == ("nats://variable:4222", "environment")
    assert found[1] == "a running `callboard up`"


@pytest.mark.slow
async def test_the_lines_that_up_prints_work_as_pasted_in_another_folder(tmp_path: Path, register: str) -> None:
    data = tmp_path / "a folder's data"
    async with tree(register, data, "edge", "agent") as up, tree(register, tmp_path / "two", "agent") as two:
        await up.says("Ctrl-C ends it", PATIENCE)
        await two.says("Ctrl-C ends it", PATIENCE)
        other = tmp_path / "other"
        other.mkdir()

        def paste(line: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                ["sh", "-c", line], cwd=other, env=environment({"CALLBOARD_RUNTIME_DIR": register}),
                capture_output=True, text=True, timeout=PATIENCE, check=False,
            )  # fmt: skip

        def printed(what: str) -> str:
            line = re.search(rf"^  {what} +(.+)$", up.out, re.MULTILINE)
            assert line, up.out
            return line[1].strip()

        job = await asyncio.to_thread(paste, printed("a job"))
        told = await asyncio.to_thread(paste, f"{printed('follow')} --no-follow --json")
        check = await asyncio.to_thread(paste, f"{printed('check')} --json")
        events = await asyncio.to_thread(paste, f"{printed('events')} -m 3")

    assert job.returncode == 0 and "dropped" not in job.stderr, job.stderr
    assert "completion" in told.stdout, told.stderr
    found = {finding["check"]: finding for finding in json.loads(check.stdout)["findings"]}
    assert str(data) in found["up"]["found"]
    assert "event: ready" in events.stdout


@pytest.mark.slow
async def test_with_keys_the_line_for_a_token_works_as_pasted_and_its_token_opens_the_edge(
    tmp_path: Path, register: str
) -> None:
    async with tree(register, tmp_path / "data", "edge", "agent", JWT_SECRET=SECRET) as up:
        await up.says("Ctrl-C ends it", PATIENCE)
        line = re.search(r"^  a token +(.+)$", up.out, re.MULTILINE)
        assert line, up.out
        [entry] = Path(register).glob("up-*.json")
        assert entry.stat().st_mode & 0o777 == 0o600

        opened = await asyncio.to_thread(
            subprocess.run,
            ["sh", "-c", f"{line[1]}; {' '.join(own_argv('sessions', '--json'))}"],
            cwd=tmp_path, env=environment({"CALLBOARD_RUNTIME_DIR": register}), capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        closed = await asyncio.to_thread(elsewhere, tmp_path / "other", "sessions", RUNTIME_DIR=register)

    assert opened.returncode == 0 and json.loads(opened.stdout) == [], opened.stderr
    assert closed.returncode == 1 and "--token" in closed.stderr


def test_a_folder_that_others_may_read_or_a_link_is_not_believed(tmp_path: Path) -> None:
    open_, linked, private = tmp_path / "open", tmp_path / "linked", tmp_path / "private"
    open_.mkdir(mode=0o755)
    linked.symlink_to(private)
    entry = Running(str(tmp_path), os.getpid())

    with Register([open_]).kept(entry) as kept:
        assert not kept
    with Register([open_, private]).kept(entry) as kept:
        assert kept
        assert Register([private]).running() == [entry]
        assert Register([linked]).running() == []
        private.chmod(0o750)
        assert Register([private]).running() == []
        private.chmod(0o700)
    assert Register([private]).running() == []


def test_the_register_is_in_the_runtime_folder_first_and_read_in_all() -> None:
    found = folders(None, {"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/home/me"})

    assert [str(folder) for folder in found[:2]] == ["/run/user/7/callboard", "/home/me/.local/state/callboard"]
    assert found[2].name == f"callboard-{os.getuid()}"
    assert folders(Path("/given"), {"XDG_RUNTIME_DIR": "/run/user/7"}) == [Path("/given")]


async def test_a_run_without_nats_says_what_waits_for_a_flush(tmp_path: Path) -> None:
    done = await asyncio.to_thread(
        elsewhere, tmp_path / "other", "run", "--", "echo", "hello",
        NATS_URL=f"nats://127.0.0.1:{free_port()}", NATS_CONNECT_TIMEOUT="1",
    )  # fmt: skip

    assert done.returncode == 0 and done.stdout == "hello\n"
    assert "NATS does not answer" in done.stderr and "`callboard flush` delivers them" in done.stderr


async def test_a_look_at_the_lock_does_not_keep_an_up_from_starting(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / "up.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)

        async with running(
            "up", "--only", "agent", "--data-dir", str(tmp_path / "data"), EMBEDDED_PORT=str(free_port())
        ) as up:
            # It has opened the lock by then, and waits for it.
            await eventually(lambda: _waits(up.process.pid, tmp_path / "data" / "up.lock"), PATIENCE)
            fcntl.flock(lock, fcntl.LOCK_UN)
            await up.says("Callboard is ready", PATIENCE)


def _waits(pid: int, lock: Path) -> bool:
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            if os.readlink(descriptor) == str(lock.resolve()):
                return True
    return False
