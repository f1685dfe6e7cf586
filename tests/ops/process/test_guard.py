"""Tests of guard.py: real processes whose parent is killed, or ends in good order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.process.guard import ProcessGuard
from tests.waiting import PATIENCE, eventually

# Starts a child with a guard, says the child's number, and waits to be killed or told to end.
PARENT = """
import subprocess, sys
from ops.process.guard import ProcessGuard
guard = ProcessGuard(0.2)
import os
child = subprocess.Popen(sys.argv[2:], env={**os.environ, **guard.environment}, process_group=0)
if sys.argv[1] == "named":
    guard.watch(child.pid)
print(child.pid, flush=True)
sys.stdin.readline()
guard.close()
"""


@pytest.fixture
def pids() -> Iterator[list[int]]:
    found: list[int] = []
    yield found
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def parent(mode: str, *command: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", PARENT, mode, *command]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("mode", ["named", "killed before it could name it"])
async def test_what_a_killed_process_started_is_ended(mode: str, pids: list[int]) -> None:
    with parent(mode, "sleep", "600") as process:
        assert process.stdout
        pids.append(int(process.stdout.readline()))
        process.kill()

        await eventually(lambda: not alive(pids[0]))


async def test_what_does_not_end_when_asked_is_killed(pids: list[int]) -> None:
    with parent("named", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done") as process:
        assert process.stdout
        pids.append(int(process.stdout.readline()))
        process.kill()

        await eventually(lambda: not alive(pids[0]))


def test_what_a_process_leaves_behind_in_good_order_is_left_alone(pids: list[int]) -> None:
    with parent("named", "sleep", "600") as process:
        assert process.stdout
        pids.append(int(process.stdout.readline()))

        assert process.stdin
        process.stdin.write("\n")
        process.stdin.close()

        assert process.wait(PATIENCE) == 0 and alive(pids[0])


def test_a_guard_ends_with_what_it_guards() -> None:
    guard = ProcessGuard()
    inner = guard._process
    assert inner is not None

    guard.close()
    guard.close()

    assert inner.returncode == 0
