"""Chaos: the events of three nodes are put into other streams while the node that leads them is killed, or stands still.

Publishers over NATS, HTTP and the SDK and readers by every door go on. Nothing that was acknowledged is lost or stored twice.

The short run has one fault, while the stream is sealed. All of them:
`CALLBOARD_TEST_CHAOS_SECONDS=240 python -m pytest -s tests/chaos/test_reshard_cluster.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from router.broker import Broker
from router.errors import BadInput, BrokerError
from router.nats.settings import BrokerSettings
from router.reshard import BadReshard, Reshard
from router.topology import TopologySettings
from tests.chaos.cluster import Cluster, Node
from tests.chaos.reshard_crowd import Published, Reader, check_published, check_readers, say
from tests.chaos.test_readers import Replica, _ready
from tests.waiting import eventually

LONG = float(os.environ.get("CALLBOARD_TEST_CHAOS_SECONDS", "0")) > 60
# A leader is elected within about 10 s; what was not acknowledged until then is repeated within the window.
WINDOW = 25.0
TOPOLOGY = TopologySettings(replicas=3, dedup_window=WINDOW)
# What becomes of the node that leads the first stream of events, and when.
FAULTS = [
    (signal.SIGKILL, "sealing"),
    *([(signal.SIGSTOP, "sealing"), (signal.SIGKILL, "before"), (signal.SIGSTOP, "new events go")] if LONG else []),
]
# How long a node is away: longer than the others wait before they elect a leader.
AWAY = 12.0


@contextlib.asynccontextmanager
async def _cluster(folder: Path) -> AsyncIterator[tuple[Cluster, Replica, aiohttp.ClientSession]]:
    cluster = Cluster(folder / "cluster")
    await cluster.start()
    edge = Replica(cluster.url, folder, REPLICAS="3", DEDUP_WINDOW=f"{WINDOW:g}")
    try:
        await edge.start()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            await eventually(lambda: _ready(http, edge))
            yield cluster, edge, http
    finally:
        await edge.kill()
        await cluster.stop()


def settings_of(cluster: Cluster) -> BrokerSettings:
    """Who asks a node that dies has no answer: soon another is asked."""
    return BrokerSettings(cluster.url, request_timeout=5.0)


async def _away(node: Node, how: signal.Signals) -> None:
    """Takes a node away for a while."""
    assert node.process is not None
    if how == signal.SIGSTOP:
        os.kill(node.process.pid, signal.SIGSTOP)
        await asyncio.sleep(AWAY)
        os.kill(node.process.pid, signal.SIGCONT)
        return
    await node.kill()
    await asyncio.sleep(AWAY)
    await node.start()


async def _reshard(cluster: Cluster, broker: Broker, shards: int, how: signal.Signals, moment: str) -> int:
    """Puts the events into so many streams, by as many calls as it takes; how many those were."""
    node = await cluster.leader(broker.connection, broker.layout.current.shards[0].stream)
    faults: list[asyncio.Task[None]] = []

    def tell(line: str) -> None:
        if line.startswith(moment) and not faults:
            faults.append(asyncio.ensure_future(_away(node, how)))

    tell(f"before: {shards}")
    calls = 0
    while True:
        calls += 1
        try:
            await Reshard(broker, shards, tell).run()
            break
        except BadReshard as fault:
            assert "somebody else" in str(fault), fault
        except (BrokerError, BadInput):
            await asyncio.sleep(0.5)
    await asyncio.gather(*faults)
    assert faults
    return calls


@pytest.mark.timeout(900)
@pytest.mark.slow
async def test_nothing_that_was_acknowledged_is_lost_or_stored_twice_where_the_leader_dies(tmp_path: Path) -> None:
    published, calls, began = Published(), [], time.monotonic()
    async with _cluster(tmp_path) as (cluster, edge, http), Broker(settings_of(cluster), "test", TOPOLOGY) as broker:
        async with http.post(f"{edge.base}/callbacks/sessions", json={"subjects": [">"]}) as answer:
            made = await answer.json()
        readers = [Reader(n, random.Random(n), ">", [edge], made["session_id"], made["cursor"]) for n in range(4)]
        reading = [asyncio.ensure_future(reader.run(http)) for reader in readers]
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(4):
                    rng = random.Random(number)
                    tasks.create_task(published.over_nats(broker, f"n{number}", rng))
                    tasks.create_task(published.over_http(http, [edge], f"h{number}", rng))
                urls = (cluster.url, edge.base)
                runs = [tasks.create_task(say(place, url, published.stop)) for place, url in enumerate(urls)]
                await eventually(lambda: all(len(names) > 5 for names in published.of.values()))
                for round_, (how, moment) in enumerate(FAULTS):
                    if round_:
                        await eventually(lambda: not broker.earlier.active)
                    calls.append(await _reshard(cluster, broker, (3, 2)[round_ % 2], how, moment))
                before = {entity: len(names) for entity, names in published.of.items()}
                await eventually(lambda: all(len(names) > before[each] + 5 for each, names in published.of.items()))
                published.stop.set()
            await check_published(broker, published, [run.result() for run in runs])
            await check_readers(broker, readers, reading)
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
    print(
        f"\nreshard of three nodes: {len(FAULTS)} rounds in {time.monotonic() - began:.0f} s, {calls} calls, "
        f"{sum(map(len, published.of.values()))} events, {published.repeats} tries repeated"
    )
