"""Chaos: threads whose runs are begun and stopped by many while the processes that serve the agent are killed and started.

In the stream of each thread the lives follow one another: none begins before the one before has ended, each ends once, and what is
said between its start and its end is said by its own process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter

import pytest

from router.broker import Broker
from router.event import Event
from router.nats.settings import BrokerSettings
from tests.ops.command import ROOT, environment
from tests.router.sdk.agents.conftest import Served
from tests.router.sdk.runs import events_of
from tests.waiting import eventually, in_time

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("CALLBOARD_TEST_CHAOS_SEED", "1"))
SECONDS = float(os.environ.get("CALLBOARD_TEST_AGENTS_SECONDS", "25"))
PROCESSES, THREADS, CLIENTS = 3, 8, 12
# Of a request that nobody may answer, in seconds: the processes are killed meanwhile.
GIVEN_UP = 9.0
# Between two kills, in seconds.
KILLS = 4.0

PROGRAM = """
import asyncio, os, random, sys
from callboard import RunSettings, agent, serve

@agent(sys.argv[1], concurrency=4, backlog=8, queue=int(sys.argv[3]))
async def worker(run, input):
    for n in range(random.randint(1, 6)):
        await run.emit("output", {"line": run.incarnation, "n": n})
        await asyncio.sleep(random.uniform(0, 0.2))
    if random.random() < 0.1:
        raise ValueError("as it may be")
    return run.incarnation

serve(worker, url=sys.argv[2], grace=1.0, settings=RunSettings(ttl=1.0), ready=lambda where: print("ready", flush=True))
"""


async def begin_process(name: str, url: str, queue: int) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", PROGRAM, name, url, str(queue), cwd=ROOT, env=environment(),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    assert await in_time(process.stdout.readline()) == b"ready\n"
    return process


async def ask(served: Served, threads: list[str], luck: random.Random, until: float, answers: Counter[str]) -> None:
    """Begins and stops runs, whichever are there."""
    while time.monotonic() < until:
        thread = luck.choice(threads)
        with contextlib.suppress(Exception):  # nobody serves, or who was asked has been killed
            if luck.random() < 0.3:
                async with asyncio.timeout(GIVEN_UP):
                    await served.tell_to_stop(thread)
            else:
                async with asyncio.timeout(GIVEN_UP):
                    answers[(await served.start(thread))[0]] += 1
        await asyncio.sleep(luck.uniform(0, 0.2))


def faults_of(events: list[Event]) -> list[str]:
    """What is wrong with the lives of a thread, in the order of its stream."""
    found, living, seen = list[str](), "", set[str]()
    for event in events:
        said = str(event.data.get("incarnation") or "")
        if event.type == "workflow_start":
            if living:
                found.append(f"{said} began while {living} went on")
            if said in seen:
                found.append(f"{said} began twice")
            living = said
            seen.add(said)
        elif event.type == "completion":
            # Of a process that was killed before its start was stored there is the end alone.
            if said != living and (living or said in seen):
                found.append(f"{said} ended while {living or 'none'} went on")
            living = ""
            seen.add(said)
        elif event.type == "output" and event.data["line"] != living:
            found.append(f"{event.data['line']} spoke while {living or 'none'} went on")
    if living:
        found.append(f"{living} has no end")
    return found


@pytest.mark.parametrize("queue", [0, 2])
async def test_lives_of_a_thread_follow_one_another_whoever_serves_and_whoever_dies(
    own_nats: str, entity: str, queue: int
) -> None:
    luck = random.Random(SEED)
    threads = [f"{entity}-{n}" for n in range(THREADS)]
    answers: Counter[str] = Counter()
    async with Broker(BrokerSettings(own_nats, request_timeout=60.0), "test") as broker:
        served = Served(broker, None, entity)  # type: ignore[arg-type]
        processes = list(await asyncio.gather(*(begin_process(entity, own_nats, queue) for _ in range(PROCESSES))))
        until = time.monotonic() + SECONDS
        try:
            async with asyncio.TaskGroup() as group:
                for n in range(CLIENTS):
                    group.create_task(ask(served, threads, random.Random(SEED + n), until, answers))
                while time.monotonic() < until:
                    await asyncio.sleep(KILLS)
                    process = processes.pop(luck.randrange(len(processes)))
                    process.send_signal(luck.choice([signal.SIGKILL, signal.SIGTERM]))
                    await process.wait()
                    processes.append(await begin_process(entity, own_nats, queue))

            async def begun(thread: str) -> bool:
                return (await served.start(thread))[0] == ""

            # A run of each that is not disturbed, behind whatever was left open.
            for thread in threads:
                await eventually(lambda: begun(thread))
            wrong: dict[str, list[str]] = {}

            async def follow_one_another() -> bool:
                wrong.clear()
                for thread in threads:
                    wrong[thread] = faults_of(await events_of(broker, thread, "thread"))
                return not any(wrong.values())

            with contextlib.suppress(AssertionError):
                await eventually(follow_one_another, 30.0)
            assert not any(wrong.values()), wrong
            starts = 0
            for thread in threads:
                starts += [event.type for event in await events_of(broker, thread, "thread")].count("workflow_start")
        finally:
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.communicate()

    print(f"{starts} lives, answers {dict(answers)}")
    assert starts > 50
