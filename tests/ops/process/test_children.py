"""Child processes are restarted, and none outlives its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from ops.process.children import EARNED_AFTER, FIRST_DELAY, LONGEST_DELAY, QUICK_RESTARTS, Backoff
from tests.ops.command import ROOT, environment, member, up
from tests.waiting import eventually, in_time

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


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
    assert await in_time(process.wait()) in (0, -signal.SIGTERM)


def test_a_process_that_was_ready_is_restarted_quickly_three_times_in_ten_seconds() -> None:
    now = 0.0
    backoff = Backoff(lambda: now)
    delays = []
    for _ in range(6):
        backoff.started()
        now += 1.0
        delays.append(backoff.next(ready=True))

    assert all(delay <= FIRST_DELAY for delay in delays[:QUICK_RESTARTS])
    assert all(delay > 2 * FIRST_DELAY for delay in delays[QUICK_RESTARTS:])
    now += EARNED_AFTER
    assert backoff.next(ready=True) <= FIRST_DELAY


def test_a_process_that_never_becomes_ready_waits_longer_each_time() -> None:
    backoff = Backoff(lambda: 0.0)

    delays = [backoff.next() for _ in range(6)]

    for failures, delay in enumerate(delays):
        longest = min(LONGEST_DELAY, FIRST_DELAY * 2**failures)
        assert longest / 2 <= delay <= longest


async def test_a_killed_child_is_started_again_and_it_is_said_why(tmp_path: Path) -> None:
    async with up(tmp_path, "--only", "camera,octane") as command:
        first = member(tmp_path, "actor camera")

        os.kill(first, signal.SIGKILL)

        await command.says("was killed by SIGKILL; starting it again")
        await eventually(lambda: member(tmp_path, "actor camera") != first)
        assert command.err.startswith("camera ")
