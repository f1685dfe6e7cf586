"""Each life of a run ends once in the stream, with producers and the agent actor killed by kill -9, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from router.broker import Broker
from router.catalogue import ending
from router.event import Event
from router.nats.settings import BrokerSettings
from router.runs import RunLedger
from tests.ops.command import running
from tests.waiting import eventually, in_time, unhurried

pytestmark = pytest.mark.slow

# Runs of one process: `kind` says whether they complete, or go on until somebody kills it.
PRODUCER = """
import asyncio, sys
from router.sdk import Run, RunSettings

async def work(url, run, completes):
    # Who is to complete may not be taken for dead because the machine is busy.
    async with Run(run, url=url, settings=RunSettings(ttl=15 if completes else 2)) as own:
        step = 0
        while not completes or step < 60:
            step += 1
            await own.progress(min(step / 100, 0.99))
            await asyncio.sleep(0.1)
        await own.complete({"steps": step})

async def main():
    url, kind, *runs = sys.argv[1:]
    tasks = [asyncio.ensure_future(work(url, run, kind == "completes")) for run in runs]
    print("ready", flush=True)
    await asyncio.gather(*tasks)

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def producer(url: str, kind: str, runs: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PRODUCER, url, kind, *runs, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout and await in_time(process.stdout.readline()) == b"ready\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def events_of(broker: Broker, run: str) -> list[Event]:
    found, after, more = list[Event](), 0, True
    while more:
        page = await broker.read(f"agent.{run}.>", after)
        found += [record.event for record in page.records if record.event]
        after, more = (page.records[-1].sequence if page.records else after), page.more
    return found


def ends(events: list[Event]) -> list[str]:
    return [found for event in events if (found := ending("agent", event.type, event.data))]


async def test_killed_producers_and_a_killed_agent_leave_each_run_with_one_end(own_nats: str) -> None:
    completing, dying = [f"completes-{n}" for n in range(6)], [f"dies-{n}" for n in range(6)]
    async with Broker(unhurried(own_nats), "test") as broker:
        async with running("actor", "agent", NATS_URL=own_nats) as first:
            await eventually(lambda: _reads(broker))
            async with producer(own_nats, "completes", completing) as done, producer(own_nats, "dies", dying) as killed:
                await eventually(lambda: _began(broker, completing + dying))
                first.process.kill()
                killed.kill()
                # One that dies between its claim and its publish, while the agent is away.
                await _claim_only(own_nats, "claimed")
                async with running("actor", "agent", NATS_URL=own_nats) as second:
                    await asyncio.sleep(1)
                    second.process.kill()
                    await done.wait()
        async with running("actor", "agent", NATS_URL=own_nats):
            every = [*completing, *dying, "claimed"]

            async def all_over() -> bool:
                return all([ends(await events_of(broker, run)) for run in every])

            await eventually(all_over)
            # Whoever would end one again has had the time to.
            await asyncio.sleep(4)

            told = {run: await events_of(broker, run) for run in every}
            assert {run: ends(events) for run, events in told.items()} == {
                **{run: ["completed"] for run in [*completing, "claimed"]},
                **{run: ["failed"] for run in dying},
            }
            for run in dying:
                (end,) = [event for event in told[run] if event.type == "completion"]
                assert end.data["synthesized"] is True
            await eventually(lambda: _states(broker, Counter(completed=len(completing) + 1, failed=len(dying))))


async def _reads(broker: Broker) -> bool:
    return "actor-agent" in await broker.stream("EVENTS").consumer_names()


async def _began(broker: Broker, runs: list[str]) -> bool:
    return len(await broker.latest([f"agent.{run}.progress" for run in runs])) == len(runs)


async def _states(broker: Broker, wanted: Counter[str]) -> bool:
    states = await broker.latest(["agent.*.state"])
    return Counter(record.event.data["status"] for record in states if record.event) == wanted


async def _claim_only(url: str, run: str) -> None:
    class Dead(Exception):
        pass

    class Dying(Broker):
        async def put(self, *_: object, **__: object) -> object:  # type: ignore[override]
            raise Dead

    from router.codec import encode

    async with Dying(BrokerSettings(url), "dying") as broker:
        ledger = RunLedger(broker)
        await ledger.begin("agent", run, "one")
        event = Event.new(f"agent.{run}.completion", {"success": True, "incarnation": "one"})
        with contextlib.suppress(Dead):
            await ledger.end(event, encode(event))
