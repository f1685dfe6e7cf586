"""Chaos: edge processes and the nats-server die at random while events go to receivers that fail, hang and dawdle.

In the end every event has been taken by every receiver, or lies in the dead letters: each one is accounted for. What was
taken twice was taken under the same `webhook-id`, and nothing is left in the queues. The same on a JetStream of three
nodes, of which the one that leads the jobs dies.

The short runs are part of the suite. The long ones: `CALLBOARD_TEST_CHAOS_SECONDS=120 python -m pytest -s tests/chaos`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import web

from edge.sessions.endpoint.body import DEFAULT_CONCURRENCY
from edge.sessions.registry import Session
from router.broker import Broker
from router.deadletters import DeadLetters
from router.errors import BrokerError
from router.event import Event
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from router.topology import HOOKS, RETRIES, TopologySettings
from tests.chaos.cluster import Cluster
from tests.edge.webhooks.stage import Stage
from tests.waiting import eventually

SECONDS = float(os.environ.get("CALLBOARD_TEST_CHAOS_SECONDS", "6"))
LONG = SECONDS > 60
# The short run makes the same plan each time, the long one a new one.
SEED = int(os.environ.get("CALLBOARD_TEST_CHAOS_SEED", "0")) or (random.SystemRandom().randrange(2**32) if LONG else 1)
RATE = 12  # events a second, for seven receivers
REPLICAS = 3
# Jobs wait this long for a receiver that cannot be had; in production it is days.
KEEP = 30.0 if LONG else 7.0

# An edge as far as webhooks go, in a process of its own, with the patience of a test.
CHILD = """
import asyncio, sys, uvloop
from dataclasses import replace
from edge.webhooks.endpoint.breaker import CircuitBreakerSettings
from router.cluster.role import RoleSettings
from edge.webhooks.service import WebhookSettings
from edge.webhooks.fanout.settings import FanoutSettings
from edge.webhooks.worker.context import WorkerSettings
from router.broker import Broker
from router.nats.settings import BrokerSettings
from router.topology import TopologySettings
from tests.edge.webhooks.stage import LOCAL, Process

async def main(url, replicas, keep):
    settings = WebhookSettings(
        owner=RoleSettings(ttl=3.0, poll=0.2),
        fanout=FanoutSettings(role=RoleSettings(ttl=3.0, poll=0.2)),
        worker=WorkerSettings(
            schedule=(0.5, 1, 2),
            ack_wait=5.0,
            keep=keep,
            sweep=1.0,
            breaker=CircuitBreakerSettings(pause=0.5, max_pause=3.0),
        ),
    )
    broker = Broker(BrokerSettings(url=url), "edge", TopologySettings(replicas=replicas))
    await broker.open()
    await asyncio.gather(*Process(broker, settings, LOCAL)._tasks)

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
"""


class Crowd:
    """Edge processes, each started again after it was killed."""

    def __init__(self, url: str, replicas: int, folder: Path) -> None:
        self._arguments = (sys.executable, "-c", CHILD, url, str(replicas), str(KEEP))
        self._log = folder / "edges.log"
        self.children: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self.children.append(
                await asyncio.create_subprocess_exec(
                    *self._arguments, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=dict(os.environ)
                )
            )

    async def kill(self, child: asyncio.subprocess.Process) -> None:
        assert child.returncode is None, f"an edge ended by itself: {self._log.read_text()[-3000:]}"
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
        self.children.remove(child)

    async def stop(self) -> None:
        for child in list(self.children):
            await self.kill(child)


class Receivers:
    """Receivers of every temper, and what each took."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.taken: dict[str, list[str]] = defaultdict(list)  # receiver -> event ids, in order
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self.ids: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.port = 0

    async def handle(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        body = json.loads(await request.read())
        self.ids[name, body["id"]].add(request.headers["webhook-id"])
        answer: Callable[[], Awaitable[int]] = getattr(self, f"_{name.rstrip('0123456789')}")
        status = await answer()
        if status == 200:
            self.taken[name].append(body["id"])
            self.numbers[name].append(body["data"]["n"])
        return web.Response(status=status)

    async def _flaky(self) -> int:
        await asyncio.sleep(self.rng.random() * 0.02)
        return 503 if self.rng.random() < 0.25 else 200

    async def _ordered(self) -> int:
        return 500 if self.rng.random() < 0.05 else 200

    async def _slow(self) -> int:
        await asyncio.sleep(self.rng.uniform(0.05, 0.3))
        return 200

    async def _failing(self) -> int:
        return 500

    async def _gone(self) -> int:
        return 410

    async def _hanging(self) -> int:
        await asyncio.sleep(3600)
        return 200

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Receivers]:
        app = web.Application()
        app.router.add_post("/{name}", self.handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()


NAMES = ("flaky0", "flaky1", "ordered", "slow", "failing", "gone", "hanging")


async def _publish(broker: Broker, events: dict[str, int], seconds: float) -> None:
    end, due, number = time.monotonic() + seconds, time.monotonic(), 0
    while time.monotonic() < end:
        event = Event.new(f"job.chaos.t{number % 7}", {"n": number}, type="output")
        while True:
            try:
                await broker.publish(event)
                break
            except BrokerError:
                await asyncio.sleep(0.1)
        events[event.id] = number
        number += 1
        due = max(due + 1 / RATE, time.monotonic() - 1)
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _kill_edges(crowd: Crowd, rng: random.Random, kills: int, seconds: float, faults: Counter[str]) -> None:
    for _ in range(kills):
        await asyncio.sleep(rng.uniform(0.6, 1.4) * seconds / (kills + 1))
        await crowd.kill(rng.choice(crowd.children))
        faults["edge"] += 1
        await asyncio.sleep(rng.uniform(0.0, 1.0))
        await crowd.start()


async def _letters(broker: Broker) -> dict[str, dict[str, str]]:
    """By session, the events that were given up, and why."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    after, more = 0, True
    while more:
        page = await DeadLetters(broker).read(after, 500)
        for letter in page.deadletters:
            after = letter.sequence
            found[letter.source][letter.event_id] = letter.reason
        more = page.more and bool(page.deadletters)
    return found


async def _left(broker: Broker) -> list[int]:
    found = []
    for stream in (HOOKS, RETRIES):
        try:
            found.append((await broker.connection.api(f"STREAM.INFO.{stream}"))["state"]["messages"])
        except BrokerError:
            found.append(-1)
    return found


async def _run(
    url: str,
    replicas: int,
    folder: Path,
    kill_server: Callable[[Broker], Awaitable[None]],
    faults: Counter[str],
    name: str,
) -> None:
    rng = random.Random(SEED)
    kills, server_kills = (24, 2) if LONG else (3, 1)
    events: dict[str, int] = {}
    crowd = Crowd(url, replicas, folder)
    topology = TopologySettings(replicas=replicas)
    async with Receivers(rng).serving() as receivers, Broker(BrokerSettings(url), "chaos", topology) as broker:
        stage = Stage(url, broker, topology, [])
        sessions: dict[str, Session] = {}
        for each in NAMES:
            sessions[each] = await stage.session(
                f"http://127.0.0.1:{receivers.port}/{each}",
                subjects=["job.chaos.>"],
                retry_attempts=6 if each.startswith(("flaky", "ordered")) else 2,
                timeout=1.0,
                mode="fifo" if each == "ordered" else "unordered",
            )
        try:
            for _ in range(REPLICAS):
                await crowd.start()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_publish(broker, events, SECONDS))
                tasks.create_task(_kill_edges(crowd, rng, kills, SECONDS, faults))
                for turn in range(server_kills):
                    await asyncio.sleep(SECONDS / (server_kills + 1) * (0.8 if turn else 1.0))
                    await kill_server(broker)
                    faults["nats"] += 1

            letters: dict[str, dict[str, str]] = {}

            def missed() -> dict[str, list[int]]:
                found = {}
                for each in NAMES:
                    missing = set(events) - set(receivers.taken[each]) - set(letters.get(sessions[each].id, {}))
                    if missing:
                        found[each] = sorted(events[id] for id in missing)[:20]
                return found

            async def all_done() -> bool:
                # Empty queues alone say little: what was not fanned out yet is in none.
                if await _left(broker) != [0, 0]:
                    return False
                letters.update(await _letters(broker))
                return not missed()

            began = time.monotonic()
            try:
                await eventually(all_done, within=KEEP + 90)
            except AssertionError:
                left = await broker.connection.api(f"STREAM.INFO.{HOOKS}", {"subjects_filter": ">"})
                raise AssertionError(
                    f"seed {SEED}: missed {missed()}, left {await _left(broker)}: {left['state'].get('subjects')}"
                ) from None
            settled = time.monotonic() - began
        finally:
            await crowd.stop()
    pairs = len(events) * len(NAMES)
    repeats = buried = 0
    reasons: Counter[str] = Counter()
    for each in NAMES:
        taken, dead = receivers.taken[each], letters.get(sessions[each].id, {})
        repeats += len(taken) - len(set(taken))
        buried += len(dead)
        reasons += Counter(f"{each} {reason}" for reason in dead.values())
    print(
        f"\n{name}: seed {SEED}, {dict(faults)}, {len(events)} events for {len(NAMES)} receivers = {pairs} deliveries, "
        f"{pairs - buried} taken, {buried} buried {dict(reasons)}, "
        f"{repeats} taken twice ({repeats / pairs:.2%}), queues empty {settled:.0f} s after the last event"
    )
    assert all(len(ids) == 1 for ids in receivers.ids.values()), "a delivery has more than one webhook-id"
    assert set(letters.get(sessions["gone"].id, {})) >= set(events), "who is gone has got something"
    order = list(dict.fromkeys(receivers.numbers["ordered"]))
    assert order == sorted(order), f"seed {SEED}: out of order: {_disorder(order)}"
    # A fault repeats what was on the wire: to each receiver so many posts as may be under way at a time.
    on_the_wire = sum(faults.values()) * len(NAMES) * DEFAULT_CONCURRENCY
    assert repeats <= (pairs * 0.02 if LONG else min(on_the_wire, pairs / 2)), (
        f"seed {SEED}: {repeats} of {pairs} repeated"
    )


def _disorder(numbers: list[int]) -> list[tuple[int, int]]:
    return [(a, b) for a, b in pairwise(numbers) if b < a][:10]


@pytest.mark.timeout(SECONDS * 3 + 900)
@pytest.mark.slow
async def test_every_webhook_is_delivered_or_in_the_dead_letters_whatever_dies(tmp_path: Path) -> None:
    faults: Counter[str] = Counter()
    server = EmbeddedServer(EmbeddedSettings(tmp_path / "data", free_port()))
    await server.start()

    async def kill_server(_broker: Broker) -> None:
        assert server.process is not None
        server.process.kill()
        await server.process.wait()
        await asyncio.sleep(0.5)
        await server.start()

    try:
        await _run(server.url, 1, tmp_path, kill_server, faults, "one server")
    finally:
        await server.stop()


@pytest.mark.timeout(SECONDS * 3 + 900)
@pytest.mark.slow
async def test_the_same_on_three_nodes_of_which_the_leader_dies(tmp_path: Path) -> None:
    faults: Counter[str] = Counter()
    cluster = Cluster(tmp_path / "cluster")
    await cluster.start()

    async def kill_leader(broker: Broker) -> None:
        node = await cluster.leader(broker.connection, HOOKS)
        await node.kill()
        await asyncio.sleep(2.0)
        await node.start()

    try:
        await _run(cluster.url, 3, tmp_path, kill_leader, faults, "three nodes")
    finally:
        await cluster.stop()
