"""A program that is frozen until its lease runs out, against a whole Callboard: it is told, goes on, and ends as it does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from router.broker import Broker
from tests.e2e.tree import RunningCallboard
from tests.router.sdk.runs import events_of, types
from tests.waiting import eventually, in_time, unhurried

pytestmark = pytest.mark.slow

PROGRAM = """
import logging, sys, time
from router.sdk import RunSettings, SyncRun
logging.basicConfig(level=logging.WARNING)
url, run, edge_or_nats = sys.argv[1:]
with SyncRun(run, url, settings=RunSettings(ttl=5)) as made:
    made.progress(0.5)
    while made.report.unsent:
        time.sleep(0.01)
    print("ready", flush=True)
    sys.stdin.readline()
    made.progress(0.25)
    made.complete("done")
print("revived" if made.revived else "not revived", flush=True)
"""


@pytest.mark.parametrize("way", ["nats", "http"])
async def test_a_frozen_program_is_failed_in_its_place_and_revives(
    running_callboard: RunningCallboard, entity: str, tmp_path: Path, way: str
) -> None:
    url = running_callboard.nats_url if way == "nats" else running_callboard.url
    async with Broker(unhurried(running_callboard.nats_url), "test") as broker:

        async def failed() -> bool:
            return any(event.data.get("synthesized") for event in await events_of(broker, entity))

        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, url, entity, way,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout and process.stdin
        assert await in_time(process.stdout.readline()) == b"ready\n"
        os.kill(process.pid, signal.SIGSTOP)
        try:
            await eventually(failed)
        finally:
            os.kill(process.pid, signal.SIGCONT)
        out, err = await in_time(process.communicate(b"\n"))

        assert out == b"revived\n" and f"lease of run {entity} ran out".encode() in err, err.decode()
        events = await events_of(broker, entity)
        ends = [event.data for event in events if event.type == "completion"]
        assert [end.get("synthesized") for end in ends] == [True, None] and ends[1]["success"] is True
        starts = [event.data for event in events if event.type == "workflow_start"]
        assert starts[1]["resumed"] is True and ends[1]["incarnation"] == starts[1]["incarnation"]
        shares = [event.data["progress"] for event in events if event.type == "progress"]
        assert shares == sorted(shares) and types(events)[-1] == "completion"
