"""The command itself: help, errors in one line, what it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ops.cli.commands import NAMES
from ops.cli.overview import OVERVIEW
from tests.ops.command import ROOT, callboard, environment
from tests.waiting import PATIENCE


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    done = callboard("--help")
    loaded = "import sys, ops.__main__; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    modules = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert done.returncode == 0
    assert done.stdout == OVERVIEW
    assert all(f"  {name}" in OVERVIEW for name in NAMES)
    assert not {"numpy", "grpc", "starlette", "uvicorn", "nats", "av", "PIL", "rich"} & set(modules.split())


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help(name: str) -> None:
    done = callboard(name, "--help")

    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: callboard {name}")


def test_a_command_that_is_none_gets_a_hint() -> None:
    done = callboard("tial", ">")

    assert (done.returncode, done.stderr) == (2, "callboard: tial: there is no such command; did you mean tail?\n")


def test_a_wrong_flag_is_told_in_one_line() -> None:
    done = callboard("tail", "--colour", ">")

    assert done.returncode == 2
    assert done.stderr.startswith("callboard: tail: ") and done.stderr.endswith("see `callboard tail --help`\n")
    assert len(done.stderr.splitlines()) == 1


def test_a_failure_shows_no_traceback_unless_asked(tmp_path: Path) -> None:
    nowhere = "nats://127.0.0.1:1"

    plain = callboard("streams", "diff", NATS_URL=nowhere, NATS_CONNECT_TIMEOUT="0.5")
    verbose = callboard("streams", "diff", "--debug", NATS_URL=nowhere, NATS_CONNECT_TIMEOUT="0.5")

    assert plain.returncode == 1
    assert len(plain.stderr.splitlines()) == 1 and plain.stderr.startswith("callboard: no NATS server answers")
    assert "Traceback" in verbose.stderr


def test_a_reader_that_leaves_early_is_no_error() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m ops settings | head -1; echo $?"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=ROOT,
        env=environment(),
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.startswith("setting")
