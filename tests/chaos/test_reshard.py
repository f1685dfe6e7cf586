"""Chaos: the events are put into 4 streams, then into 2, while edges, the nats-server and the reshard itself are killed.

Meanwhile publishers of every kind publish, readers read by every door, webhooks are sent and an actor answers. In the end each
has what the streams hold: nothing lost, nothing twice, and the events of each entity in their order.

The short run is part of the suite. The long one: `CALLBOARD_TEST_CHAOS_SECONDS=240 python -m pytest -s tests/chaos/test_reshard.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from actors.system.actor import Actor
from actors.system.context import Context
from edge.sessions.registry import Session
from ops.launch import own_argv
from router.broker import Broker
from router.event import Event
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.topology import TopologySettings
from tests.actors.system.running import running_actor
from tests.actors.system.sample_actors import made
from tests.chaos.reshard_crowd import Published, Reader, check_published, check_readers, difference, say
from tests.chaos.test_readers import Replica, _ready
from tests.chaos.test_webhooks import Receivers
from tests.edge.webhooks.stage import Stage
from tests.ops.command import ROOT, environment
from tests.router.resharding import broker_of
from tests.waiting import eventually, in_time

SECONDS = float(os.environ.get("CALLBOARD_TEST_CHAOS_SECONDS", "0"))
LONG = SECONDS > 60
# The short run makes the same plan each time, the long one a new one.
SEED = int(os.environ.get("CALLBOARD_TEST_CHAOS_SEED", "0")) or (random.SystemRandom().randrange(2**32) if LONG else 1)
# A kill and what follows from it ends within this window; a reshard may follow another once it is over, and 5 s more.
WINDOW = 20.0 if LONG else 10.0
ROUNDS = (4, 2, 3, 1, 5, 2, 4) if LONG else (4, 2)
# Each generation keeps its room.
MAX_BYTES = 256 * 1024 * 1024
TOPOLOGY = TopologySettings(dedup_window=WINDOW, events_max_bytes=MAX_BYTES)
VARIABLES = {"DEDUP_WINDOW": f"{WINDOW:g}", "EVENTS_MAX_BYTES": str(MAX_BYTES)}

PATTERNS = (">", "job.n0.>", "job.h0.>")
OVER_NATS, OVER_HTTP = ("n0", "n1", "n2", "n3"), ("h0", "h1", "h2", "h3")
HOOKED = ["job.n0.output", "job.n1.output", "job.h0.output", "job.h1.output"]
HOOKS = ("seldom0", "seldom1")


class Hooks(Receivers):
    """Receivers that fail now and then."""

    async def _seldom(self) -> int:
        return 503 if self.rng.random() < 0.01 else 200


class Echo:
    """An actor that says again what it has received, and is stopped and started again and again."""

    def __init__(self, url: str, rng: random.Random) -> None:
        self.stop = asyncio.Event()
        self.began = asyncio.Event()
        self.heard: set[str] = set()
        self._url = url
        self._rng = rng

    async def run(self) -> None:
        async def receive(_self: Actor, event: Event, ctx: Context) -> None:
            self.heard.add(event.id)
            ctx.emit(f"echo.{event.subject.entity}.heard", {"id": event.id})

        echo = made(subjects=("job.*.output",), receive=receive, name="echo", timeout=5.0, capacity=1, attempts=50)
        async with broker_of(self._url, TOPOLOGY) as broker:
            while not self.stop.is_set():
                async with running_actor(echo, broker) as running:
                    self.began.set()
                    with contextlib.suppress(TimeoutError):
                        await in_time(self.stop.wait(), self._rng.uniform(2.0, 6.0))
                    if not self.stop.is_set() and self._rng.random() < 0.5:
                        running.cancel()  # it gives nothing back


class House:
    """Everything that is killed, and who kills it."""

    def __init__(self, server: EmbeddedServer, folder: Path, hooks: Hooks) -> None:
        self.rng = random.Random(SEED)
        self.server, self.hooks = server, hooks
        variables = {
            **VARIABLES,
            "WEBHOOK_ALLOW_LOOPBACK": "true",
            "WEBHOOK_RETRY_SCHEDULE": "0.5,1,2",
            "WEBHOOK_BREAKER_MAX_PAUSE": "3",
        }
        self.edges = [Replica(server.url, folder, **variables) for _ in range(2)]
        self.faults: Counter[str] = Counter()
        self.readers: list[Reader] = []
        self.reading: list[asyncio.Future[None]] = []
        self.hooked: list[Session] = []

    async def make_sessions(self, http: aiohttp.ClientSession, broker: Broker) -> None:
        """Sessions of readers, two webhooks, one of them with order."""
        for pattern in PATTERNS:
            async with http.post(f"{self.edges[0].base}/callbacks/sessions", json={"subjects": [pattern]}) as answer:
                made_ = await answer.json()
            for _ in range(4):
                number = len(self.readers)
                rng = random.Random(f"{SEED}-{number}")
                self.readers.append(Reader(number, rng, pattern, self.edges, made_["session_id"], made_["cursor"]))
        stage = Stage(self.server.url, broker, TOPOLOGY, [])
        for name, mode in zip(HOOKS, ("unordered", "fifo"), strict=True):
            url = f"http://127.0.0.1:{self.hooks.port}/{name}"
            self.hooked.append(await stage.session(url, subjects=HOOKED, retry_attempts=8, timeout=5.0, mode=mode))

    async def wreak(self, http: aiohttp.ClientSession, over: asyncio.Event) -> None:
        """Kills at random until it is told that it is over; an edge only where both are there, which takes a busy machine long."""
        now = time.monotonic()
        due = {"edge": now + 1.0, "nats": now + 2.0}
        pauses = {"edge": (2.0, 5.0), "nats": (4.0, 9.0)}
        while not over.is_set():
            await asyncio.sleep(self.rng.uniform(0.1, 0.4))
            self.rng.choice(self.readers).cut.set()
            self.faults["socket"] += 1
            for what, moment in due.items():
                if time.monotonic() > moment and (what == "nats" or await self.are_ready(http)):
                    await getattr(self, f"_kill_{what}")()
                    self.faults[what] += 1
                    due[what] = time.monotonic() + self.rng.uniform(*pauses[what])

    async def _kill_edge(self) -> None:
        edge = self.rng.choice(self.edges)
        await edge.kill()
        await edge.start()

    async def are_ready(self, http: aiohttp.ClientSession) -> bool:
        return all(await asyncio.gather(*(_ready(http, edge) for edge in self.edges)))

    async def _kill_nats(self) -> None:
        assert self.server.process is not None
        self.server.process.kill()
        await self.server.process.wait()
        await asyncio.sleep(self.rng.uniform(0.0, 0.5))
        await self.server.start()

    async def reshard(self, shards: int) -> None:
        """Puts the events into so many streams by the command, which is killed once, and repeated until it says that it is done."""
        steps = self.rng.randrange(1, 4)
        while not await self._command(shards, steps):  # noqa: ASYNC110  each is a process of its own
            await asyncio.sleep(0.2)

    async def _command(self, shards: int, steps: int) -> bool:
        """Runs the command; kills it behind so many lines, but not one that finishes what was begun."""
        process = await asyncio.create_subprocess_exec(
            *own_argv("streams", "reshard", str(shards)), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, cwd=ROOT,
            env=environment({f"CALLBOARD_{name}": text for name, text in {"NATS_URL": self.server.url, **VARIABLES}.items()}),
        )  # fmt: skip
        assert process.stdout is not None
        lines: list[str] = []
        while line := (await process.stdout.readline()).decode():
            lines.append(line)
            if len(lines) == steps and "was begun" not in lines[0] and "already" not in line:
                self.faults["reshard"] += 1
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        assert process.stderr is not None
        told = (await process.stderr.read()).decode()
        assert "cannot be made" not in told and "former version" not in told, told
        return await process.wait() == 0


@contextlib.asynccontextmanager
async def _house(folder: Path) -> AsyncIterator[House]:
    server = EmbeddedServer(EmbeddedSettings(folder / "data", free_port()))
    await server.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        hooks = await stack.enter_async_context(Hooks(random.Random(SEED)).serving())
        house = House(server, folder, hooks)
        for edge in house.edges:
            await edge.start()
            stack.push_async_callback(edge.kill)
        async with aiohttp.ClientSession() as http:
            await eventually(lambda: house.are_ready(http))
        yield house


@pytest.mark.timeout(SECONDS * 3 + 900)
@pytest.mark.slow
async def test_nobody_misses_anything_while_the_events_are_put_into_other_streams_whatever_dies(tmp_path: Path) -> None:
    published, began = Published(), time.monotonic()
    async with (
        _house(tmp_path) as house,
        broker_of(house.server.url, TOPOLOGY) as broker,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        await house.make_sessions(http, broker)
        house.reading = [asyncio.ensure_future(reader.run(http)) for reader in house.readers]
        try:
            said = await _run(house, broker, http, published)
            await _check(house, broker, published, said)
        finally:
            for task in house.reading:
                task.cancel()
            await asyncio.gather(*house.reading, return_exceptions=True)
    print(
        f"\nreshard: seed {SEED}, {len(ROUNDS)} rounds in {time.monotonic() - began:.0f} s, faults {dict(house.faults)}, "
        f"{sum(map(len, published.of.values()))} events published, {published.repeats} tries repeated, "
        f"{sum(r.taken for r in house.readers)} deliveries to {len(house.readers)} readers, "
        f"{sum(r.connects for r in house.readers)} reconnects, sent back "
        f"{sum(isinstance(entry, str) for r in house.readers for entry in r.record)}"
    )


async def _run(house: House, broker: Broker, http: aiohttp.ClientSession, published: Published) -> list[list[str]]:
    """Publishes while everything dies and the events are put into other streams; what the runs of the SDK said."""
    echo, over = Echo(house.server.url, house.rng), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        heard = tasks.create_task(echo.run())
        # A new actor begins with what is stored from then on.
        await echo.began.wait()
        for entity in OVER_NATS:
            tasks.create_task(published.over_nats(broker, entity, random.Random(f"{SEED}-{entity}")))
        for entity in OVER_HTTP:
            tasks.create_task(published.over_http(http, house.edges, entity, random.Random(f"{SEED}-{entity}")))
        urls = (house.server.url, house.edges[0].base)
        runs = [tasks.create_task(say(place, url, published.stop)) for place, url in enumerate(urls)]
        tasks.create_task(house.wreak(http, over))
        await _rounds(house, published)
        over.set()
        await eventually(lambda: house.are_ready(http))
        published.stop.set()
        await asyncio.gather(*runs)
        await eventually(lambda: echo.heard >= {id for names in published.of.values() for id, _ in names})
        echo.stop.set()
        await heard
    return [run.result() for run in runs]


async def _rounds(house: House, published: Published) -> None:
    """One reshard after the other, each as soon as it may be."""
    for number, shards in enumerate(ROUNDS):
        await asyncio.sleep(max(WINDOW + 5.0, SECONDS / len(ROUNDS)) if number else 2.0)
        await house.reshard(shards)
    before = {entity: len(names) for entity, names in published.of.items()}
    # Each publisher knows the last layout.
    await eventually(lambda: all(len(names) > before[entity] for entity, names in published.of.items()))
    await asyncio.sleep(2.0)


async def _check(house: House, broker: Broker, published: Published, said: list[list[str]]) -> None:
    """Compares every record with what the streams hold."""
    print(f"seed {SEED}")
    events = await check_published(broker, published, said)
    answers = Counter(event.data["id"] for (_, subject), event in events.items() if subject.startswith("echo."))
    assert set(answers) >= {id for names in published.of.values() for id, _ in names}, "without an answer"
    assert set(answers.values()) == {1}, f"answered twice: {answers.most_common(5)}"
    await _check_hooks(house, published)
    await check_readers(broker, house.readers, house.reading)


async def _check_hooks(house: House, published: Published) -> None:
    wanted = [name for entity in ("n0", "n1", "h0", "h1") for name in published.of[entity]]

    def missing(hook: str) -> set[str]:
        return {id for id, _ in wanted} - set(house.hooks.taken[hook])

    await eventually(lambda: not any(map(missing, HOOKS)))
    assert all(len(ids) == 1 for ids in house.hooks.ids.values()), "a delivery has more than one webhook-id"
    subjects = dict(wanted)
    first = [(id, subjects[id]) for id in dict.fromkeys(house.hooks.taken["seldom1"])]
    assert not (wrong := difference(first, wanted)), f"webhook with order: {wrong}"
