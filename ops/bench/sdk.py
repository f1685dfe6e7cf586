"""Measures the SDK: what one call costs a program, and how many events a second are stored, beside bare nats-py.

A cost is CPU time of the whole process, the thread that delivers included. That process has a core of its own where there is
more than one; nats-server has the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ops.bench.cores import Cores
from ops.bench.report import ReportRow, middle
from ops.bench.stand import RUNS, CpuWatch, Plan, Stand, settle_on, stand
from router.sdk import Run, RunSettings, SyncRun

CALLS = 20_000
# Events that are said and not stored yet, before the program that is measured waits.
MAX_UNSTORED = 2000
TEXT = "x" * 89  # 100 bytes of JSON

# nats-py as its documentation has it: publishes with acknowledgement, so many beside one another.
BARE = """
import asyncio, sys, time
import nats
async def main(url, seconds, beside):
    client = await nats.connect(url)
    stream = client.jetstream()
    until = time.perf_counter() + seconds
    stored = 0
    async def one():
        nonlocal stored
        while time.perf_counter() < until:
            await stream.publish("ev.job.bench.said", b"x" * 180)
            stored += 1
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one() for _ in range(beside)))
    print(stored / (time.perf_counter() - began), (time.process_time() - cpu) / stored * 1e6)
    await client.close()
asyncio.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
"""
BESIDE = 256


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Measures the cost of a call and the sustained rates, in turn."""
    costs: dict[str, list[float]] = {}
    rates: list[tuple[float, dict[str, float]]] = []
    bare: list[tuple[float, float]] = []
    cores = Cores.here()
    async with stand() as place, contextlib.AsyncExitStack() as stack:
        stack.callback(settle_on, os.sched_getaffinity(0), os.getpid())
        settle_on(cores.server, os.getpid())
        settle_on(cores.others, place.nats_pid)
        with tempfile.TemporaryDirectory() as folder:
            settings = RunSettings(spool_dir=Path(folder))
            for number in range(RUNS):
                found = await asyncio.to_thread(call_costs, place.nats_url, f"bench-{number}", settings)
                for title, cost in found.items():
                    costs.setdefault(title, []).append(cost)
                rates.append(await _sustained(place, f"bench-many-{number}", settings, plan.seconds))
                bare.append(await asyncio.to_thread(_bare, place.nats_url, plan.seconds))
    for title, runs in costs.items():
        yield ReportRow("sdk", f"SDK, a call of {title}", "µs CPU", runs)
    busy = middle(shares for _, shares in rates)
    yield ReportRow("sdk", "SDK emit, stored and acknowledged", "events/s", [rate for rate, _ in rates], busy=busy)
    yield ReportRow("sdk", f"bare nats-py, {BESIDE} publishes in flight", "events/s", [rate for rate, _ in bare])
    yield ReportRow("sdk", "bare nats-py, a publish", "µs CPU", [cost for _, cost in bare])


def call_costs(url: str, name: str, settings: RunSettings) -> dict[str, float]:
    """The CPU time of one call in µs, by the method that is called."""
    found: dict[str, float] = {}
    with SyncRun(name, url, settings=settings) as run:
        calls: dict[str, Any] = {
            "progress": lambda n: run.progress(n / CALLS, "working", current_step=n, total_steps=CALLS),
            "chunk": lambda n: run.chunk("token "),
            "emit": lambda n: run.emit("said", {"text": TEXT}),
        }
        for title, call in calls.items():
            began = time.process_time()
            for n in range(CALLS):
                call(n)
            while run.report.unsent:
                time.sleep(0.001)
            found[title] = (time.process_time() - began) / CALLS * 1e6
    return found


async def _sustained(place: Stand, name: str, settings: RunSettings, seconds: float) -> tuple[float, dict[str, float]]:
    watch = CpuWatch(sdk=os.getpid(), nats=place.nats_pid)
    async with Run(name, url=place.nats_url, settings=settings) as run:
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            for _ in range(50):
                await run.emit("said", {"text": TEXT})
            await asyncio.sleep(0)
            await run.keep_pace(MAX_UNSTORED)
        await run.keep_pace(0)
        return run.sent / (time.perf_counter() - began), watch.shares()


def _bare(url: str, seconds: float) -> tuple[float, float]:
    command = [sys.executable, "-c", BARE, url, str(seconds), str(BESIDE)]
    rate, cost = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(rate), float(cost)
