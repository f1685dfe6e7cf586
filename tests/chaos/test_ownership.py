"""Chaos: edges join a running one and are killed at once, again and again, while events go out.

After each of them the one that stays owns every partition again, and in the end every event was delivered.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edge.webhooks.queue.job import PARTITIONS
from edge.webhooks.service import WebhookSettings
from router.broker import Broker
from router.cluster.ownership import ABANDONED, owner_key, owner_value
from router.cluster.role import RoleSettings
from router.event import Event
from router.nats.bucket import Bucket
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from router.topology import LEASES, TopologySettings
from tests.edge.webhooks.stage import QUICK, Process, Receiver, Stage
from tests.waiting import eventually

JOINS = int(os.environ.get("CALLBOARD_TEST_CHAOS_JOINS", "50"))
SEED = int(os.environ.get("CALLBOARD_TEST_CHAOS_SEED", "1"))
# Two for each partition, about.
SESSIONS = 2 * PARTITIONS
# Events that are published at once, and seconds between: the survivor's event loop is kept busy by bursts.
BURST, PAUSE = 32, 0.2

ROLE = RoleSettings(ttl=2.0, poll=0.1)
SETTINGS = WebhookSettings(owner=ROLE, fanout=replace(QUICK.fanout, role=RoleSettings(ttl=30.0)), worker=QUICK.worker)

# Ready to join as soon as it is told to: what it takes to start is no part of the test.
JOINER = """
import asyncio, sys, uvloop
from router.broker import Broker
from router.nats.settings import BrokerSettings
from router.topology import TopologySettings
from tests.chaos.test_ownership import SETTINGS
from tests.edge.webhooks.stage import LOCAL, Process

async def main(url):
    broker = Broker(BrokerSettings(url=url), "joiner", TopologySettings())
    await broker.open(apply=False)
    await asyncio.gather(*Process(broker, SETTINGS, LOCAL)._tasks)

sys.stdin.readline()
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main(sys.argv[1]))
"""


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    server = EmbeddedServer(EmbeddedSettings(data_dir=folder / "nats", port=free_port()))
    await server.start()
    try:
        async with Broker(BrokerSettings(url=server.url), "test", TopologySettings()) as broker:
            stage = Stage(server.url, broker, TopologySettings(), [])
            try:
                yield stage
            finally:
                for process in stage.processes:
                    await process.stop()
    finally:
        await server.stop()


@asynccontextmanager
async def joiner(url: str, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """An edge that joins once it is told so by a line, and is killed at the end of the block."""
    with log.open("ab") as out:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", JOINER, url, stdin=asyncio.subprocess.PIPE, stdout=out, stderr=out
        )
    try:
        yield child
    finally:
        assert child.returncode is None, f"it ended by itself: {log.read_text()[-3000:]}"
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()


async def publish(stage: Stage, published: list[str]) -> None:
    """Publishes bursts of events, each for one session, until cancelled."""
    while True:
        events = [Event.new(f"job.owned-{number % SESSIONS}.made", {}) for number in range(BURST)]
        published += [event.id for event in events]
        await asyncio.gather(*(stage.broker.publish(event) for event in events))
        await asyncio.sleep(PAUSE)


async def taken(bucket: Bucket, survivor: Process) -> int:
    """How many partitions another than the survivor owns."""
    ours = survivor.webhooks.partitions.ownership
    records = [await bucket.latest(owner_key(partition)) for partition in range(PARTITIONS)]
    nobody = {owner_value(holder) for holder in ("", ABANDONED, ours.holder)}
    return sum(record is not None and record.value not in nobody for record in records)


@pytest.mark.slow
async def test_all_partitions_are_owned_and_all_events_delivered_after_each_joiner_that_is_killed(tmp_path: Path):
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    published: list[str] = []
    async with staged(tmp_path) as stage, Receiver().serving() as receiver:
        survivor = await stage.process(SETTINGS)
        partitions = survivor.webhooks.partitions
        bucket = Bucket(stage.broker.connection, LEASES)
        for number in range(SESSIONS):
            await stage.session(receiver.url, subjects=[f"job.owned-{number}.>"])

        def owns_all() -> bool:
            return sorted(partitions.terms) == list(range(PARTITIONS)) and not partitions.unowned

        await eventually(owns_all)
        traffic = asyncio.ensure_future(publish(stage, published))
        try:
            for _ in range(JOINS):
                # Somewhere in the hand-over, or right behind it.
                some = rng.randint(1, PARTITIONS // 2)
                async with joiner(stage.url, tmp_path / "joiners.log") as child:
                    assert child.stdin is not None
                    child.stdin.write(b"join\n")

                    async def has_taken(some: int = some) -> bool:
                        return await taken(bucket, survivor) >= some

                    await eventually(has_taken)
                await eventually(owns_all)
        finally:
            traffic.cancel()
            await asyncio.gather(traffic, return_exceptions=True)

        def delivered() -> set[str]:
            return {json.loads(post.body)["id"] for post in receiver.posts}

        await eventually(lambda: delivered() >= set(published))
