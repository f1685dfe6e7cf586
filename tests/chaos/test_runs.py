"""Chaos: 50 runs whose producers, agent actor and NATS server are killed; each life has one end, and all that was said is there.

Producers are of three kinds: programs of the SDK over NATS, the same over HTTP, and clients that speak plain HTTP. All know what
they are to say, so that the text of a run that finished tells whether anything is missing, twice or in another order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from ops.launch import own_argv
from router import catalogue
from router.broker import Broker
from router.event import Event
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from router.progress import share
from router.record import Record
from router.sdk.connect import sender_to
from router.sdk.flush import flush
from tests.ops.command import ROOT, environment, running
from tests.waiting import eventually

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("CALLBOARD_TEST_CHAOS_SEED", "1"))
# 50 runs: 5 programs of 3 over NATS, 5 of 2 over HTTP, 25 of plain HTTP.
OVER_NATS, OVER_HTTP, PLAIN = 5, 5, 25
RUNS_OVER_NATS, RUNS_OVER_HTTP = 3, 2
# Steps of a run and the seconds between; each is a piece of text and a progress.
STEPS = int(os.environ.get("CALLBOARD_TEST_CHAOS_STEPS", "50"))
PAUSE = 1.0
# How long NATS is away, and how long it is there before and after.
AWAY, BETWEEN = 30.0, 15.0
TTL = 10.0
# What the last ones have for their end, on a busy machine.
PATIENCE = 150.0

# One program with several runs: <url> <domain> <seed> <run>… ; a run that ends exits 0 and has said every step.
PROGRAM = """
import asyncio, random, sys
import uvloop
from router.sdk.run import Run

STEPS, PAUSE = {steps}, {pause}

async def one(url, run, source, dice):
    async with Run(run, url=url, domain="job", source=source) as producer:
        for n in range(STEPS):
            await producer.chunk(f"{{n}} ")
            # A worker of several, which reports its own part.
            await producer.progress(max(0.0, (n - dice.randrange(5)) / STEPS))
            await asyncio.sleep(PAUSE * dice.uniform(0.5, 1.5))

async def main(url, source, seed, *runs):
    dice = random.Random(seed)
    async with Run.connect(url) as shared:
        await asyncio.gather(*(one(shared, run, f"{{source}}-{{run}}", random.Random(dice.random())) for run in runs))

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main(*sys.argv[1:]))
"""


@dataclass
class Said:
    """What producers were told is stored, and what they finished."""

    ids: set[str] = field(default_factory=set)
    # The producer, by its source, of each run that was said to its end.
    finished: dict[str, str] = field(default_factory=dict)
    figures: Counter[str] = field(default_factory=Counter)


class PlainClient:
    """A producer with no SDK: it repeats what was not answered under the same id, and heeds its heartbeats."""

    def __init__(self, edges: list[httpx.AsyncClient], run: str, said: Said, dice: random.Random) -> None:
        self.run = run
        self.source = f"plain-{secrets.token_hex(3)}-{run}"
        self._edges, self._said, self._dice = edges, said, dice
        self._incarnation: str | None = None
        self._over = False

    async def work(self) -> None:
        begun = await self._say("workflow_start", {"name": self.run})
        self._incarnation = begun.get("incarnation")
        beating = asyncio.create_task(self._beat())
        try:
            for n in range(STEPS):
                await self._say("streaming_chunk", {"content": f"{n} "})
                await self._say("progress", {"progress": max(0.0, (n - self._dice.randrange(5)) / STEPS)})
                await asyncio.sleep(PAUSE * self._dice.uniform(0.5, 1.5))
            while not await self._end():
                await self._heartbeat()
            self._said.finished[self.run] = self.source
        finally:
            beating.cancel()

    async def _end(self) -> bool:
        """False where the run was failed meanwhile, which the next heartbeat mends."""
        answer = await self._say("completion", {"success": True, "incarnation": self._incarnation})
        if answer.get("code") in ("run_over", "run_superseded"):
            self._said.figures[answer["code"]] += 1
            return False
        return True

    async def _beat(self) -> None:
        while True:
            await self._heartbeat()
            await asyncio.sleep(TTL / 3)

    async def _heartbeat(self) -> None:
        body = {"domain": "job", "ttl": TTL, "incarnation": self._incarnation}
        with contextlib.suppress(httpx.HTTPError):
            answer = await self._dice.choice(self._edges).post(f"/runs/{self.run}/lease", json=body)
            if answer.status_code == 200:
                self._said.figures["revived"] += answer.json()["revived"]
                self._incarnation = answer.json()["incarnation"]

    async def _say(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        event = {"id": secrets.token_hex(8), "subject": f"job.{self.run}.{kind}", "source": self.source, "data": data}
        while True:
            with contextlib.suppress(httpx.HTTPError):
                answer = await self._dice.choice(self._edges).post("/events", json=event)
                if answer.status_code == 201:
                    self._said.ids.add(event["id"])
                if answer.status_code in (201, 409):
                    found: dict[str, Any] = answer.json()
                    return found
                assert answer.status_code == 503, answer.text
                self._said.figures["repeated"] += 1
            await asyncio.sleep(0.2)


class House:
    """Everything that is killed, and who kills it."""

    def __init__(
        self, server: EmbeddedServer, edges: list[httpx.AsyncClient], folder: Path, dice: random.Random
    ) -> None:
        self.server, self.edges, self.dice = server, edges, dice
        self.said = Said()
        self._folder = folder
        self._programs: dict[int, tuple[str, list[str], asyncio.subprocess.Process]] = {}
        self._clients: dict[str, asyncio.Task[None]] = {}
        self._agent: asyncio.subprocess.Process | None = None
        self._watching: list[asyncio.Task[None]] = []
        self._count = 0
        # Who is dead, for a while or for good: of two programs of one run, the older one would be told by an error.
        self._down: set[int | str] = set()

    @property
    def runs(self) -> list[str]:
        return [run for _, runs, _ in self._programs.values() for run in runs] + list(self._clients)

    async def start(self) -> None:
        await self.start_agent()
        for kind, url, programs, each in (
            ("nats", self.server.url, OVER_NATS, RUNS_OVER_NATS), ("http", "", OVER_HTTP, RUNS_OVER_HTTP),
        ):  # fmt: skip
            for number in range(programs):
                await self._program(len(self._programs), url, [f"{kind}-{number}-{run}" for run in range(each)])
        for number in range(PLAIN):
            self._client(f"plain-{number}")

    def _environment(self) -> dict[str, str]:
        return environment({"CALLBOARD_NATS_URL": self.server.url, "XDG_STATE_HOME": str(self._folder / "state")})

    async def start_agent(self) -> None:
        log = (self._folder / "agent.log").open("ab")
        variables = {**self._environment(), "CALLBOARD_INTERNAL_PORT": str(free_port())}
        with log:
            self._agent = await asyncio.create_subprocess_exec(
                *own_argv("actor", "agent"), stdout=log, stderr=log, cwd=ROOT, env=variables
            )

    async def _program(self, number: int, url: str, runs: list[str]) -> None:
        self._count += 1
        code = PROGRAM.format(steps=STEPS, pause=PAUSE)
        address = url or str(self.dice.choice(self.edges).base_url)
        source = f"program-{self._count}"
        with (self._folder / f"{source}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, address, source, str(self.dice.random()), *runs,
                stdout=log, stderr=log, cwd=ROOT, env=self._environment(),
            )  # fmt: skip
        self._programs[number] = (url, runs, process)
        self._watching.append(asyncio.create_task(self._finished(process, source, runs)))

    async def _finished(self, process: asyncio.subprocess.Process, source: str, runs: list[str]) -> None:
        code = await process.wait()
        assert code in (0, -signal.SIGKILL), (self._folder / f"{source}.log").read_text()
        if code == 0:
            self.said.finished |= {run: f"{source}-{run}" for run in runs}
        self.said.figures[f"program exited {code}"] += 1

    def _client(self, run: str) -> None:
        client = PlainClient(self.edges, run, self.said, random.Random(self.dice.random()))
        self._clients[run] = asyncio.create_task(client.work())

    async def kill_a_producer(self) -> None:
        """Kills one, which is begun anew at once, after a while, or never."""
        again = self.dice.choice((0.0, 3.0, 25.0, None))
        everybody: list[int | str] = [*self._programs, *self._clients]
        victim = self.dice.choice([each for each in everybody if each not in self._down])
        self.said.figures["producers killed"] += 1
        self._down.add(victim)
        if isinstance(victim, int):
            with contextlib.suppress(ProcessLookupError):
                self._programs[victim][2].kill()
        else:
            self._clients[victim].cancel()
        if again is None:
            return
        await asyncio.sleep(again)
        if isinstance(victim, int):
            await self._program(victim, *self._programs[victim][:2])
        else:
            self._client(victim)
        self._down.discard(victim)

    async def kill_the_agent(self) -> None:
        assert self._agent is not None
        self.said.figures["agent killed"] += 1
        with contextlib.suppress(ProcessLookupError):
            self._agent.kill()
        await self._agent.wait()
        await self.start_agent()

    async def take_nats_away(self) -> None:
        assert self.server.process is not None
        self.said.figures["NATS killed"] += 1
        self.server.process.kill()
        await self.server.process.wait()
        await asyncio.sleep(AWAY)
        await self.server.start()

    async def wreak(self) -> None:
        """Kills at random while NATS goes away twice."""
        async with asyncio.TaskGroup() as group:
            outages = group.create_task(self._outages())
            while not outages.done():
                await asyncio.sleep(self.dice.uniform(2.0, 5.0))
                group.create_task(self.kill_the_agent() if self.dice.random() < 0.2 else self.kill_a_producer())

    async def _outages(self) -> None:
        for _ in range(2):
            await asyncio.sleep(BETWEEN)
            await self.take_nats_away()
        await asyncio.sleep(BETWEEN)

    async def finish(self) -> None:
        """Waits for those that live."""
        await asyncio.gather(*self._clients.values(), return_exceptions=True)
        for task in self._clients.values():
            if not task.cancelled() and (fault := task.exception()) is not None:
                raise fault
        await asyncio.gather(*self._watching)

    async def stop(self) -> None:
        for task in self._clients.values():
            task.cancel()
        for process in [self._agent, *(process for _, _, process in self._programs.values())]:
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()

    async def flush(self) -> None:
        """Delivers what programs have left on disk that did not come back."""
        folder = self._folder / "state" / "callboard" / "spool"
        async for told in flush(folder, lambda header: sender_to(header.url, header.life, TTL, None)):
            self.said.figures["spools left"] += 1
            assert told.left is None, told


@contextlib.asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    server = EmbeddedServer(EmbeddedSettings(folder, free_port()))
    await server.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        edges: list[httpx.AsyncClient] = []
        for port in (free_port(), free_port()):
            variables = {"NATS_URL": server.url, "INTERNAL_PORT": str(free_port())}
            await stack.enter_async_context(running("edge", "--port", str(port), **variables))
            client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=15.0, trust_env=False)
            edges.append(await stack.enter_async_context(client))
            await eventually(lambda: _ready(client))
        place = House(server, edges, folder, random.Random(SEED))
        stack.push_async_callback(place.stop)
        yield place


async def _ready(http: httpx.AsyncClient) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return (await http.get("/readyz")).status_code == 200
    return False


async def test_each_life_of_a_run_ends_once_and_nothing_that_was_said_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()
    async with house(tmp_path) as place:
        await place.start()
        await place.wreak()
        await place.finish()
        await place.flush()
        settings = BrokerSettings(place.server.url, request_timeout=60.0)
        async with Broker(settings, "judge") as broker:
            await eventually(lambda: _all_over(broker, place.runs), PATIENCE)
            runs = by_run(await everything(broker))

    figures = place.said.figures
    for run in place.runs:
        lives = list(lives_of(runs[run]))
        figures["lives"] += len(lives)
        figures["ends"] += sum(len(life.ends) for life in lives)
        figures["synthesized"] += sum(event.data.get("synthesized") is True for life in lives for event in life.ends)
        check_lives(run, lives)
        check_progress(run, runs[run])
        if (source := place.said.finished.get(run)) is not None:
            check_text(run, source, runs[run])
            figures["finished"] += 1
    stored = {event.id for events in runs.values() for event in events}
    figures["events"] = sum(len(events) for events in runs.values())
    figures["accepted by plain HTTP"] = len(place.said.ids)
    assert place.said.ids - stored == set()
    with capsys.disabled():
        print(f"\n{len(place.runs)} runs in {time.monotonic() - begun:.0f} s: {dict(sorted(figures.items()))}")


async def everything(broker: Broker) -> list[Record]:
    found: list[Record] = []
    while True:
        page = await broker.read("job.>", found[-1].sequence if found else 0, 1000)
        found += page.records
        if not page.more:
            return found


def by_run(records: list[Record]) -> dict[str, list[Event]]:
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for record in records:
        if (event := record.event) is not None and event.type not in ("state", "stages"):
            found[event.subject.entity].append(event)
    return found


async def _all_over(broker: Broker, runs: list[str]) -> bool:
    over = {
        record.event.subject.entity
        for record in await broker.latest(["job.*.state"])
        if record.event and record.event.data["status"] in ("completed", "failed", "cancelled")
    }
    missing = sorted(set(runs) - over)
    assert not missing, f"still open: {missing}"
    return True


@dataclass
class LifeSeen:
    """One life of a run, as the stream has it."""

    incarnation: str
    ends: list[Event] = field(default_factory=list)


def lives_of(events: list[Event]) -> Iterator[LifeSeen]:
    """The lives, each with the terminal events that are its own; one that names none is of the life that it comes in."""
    lives: dict[str, LifeSeen] = {}
    living = ""
    for event in events:
        if event.type == "workflow_start":
            living = str(event.data.get("incarnation") or event.id)
            assert living not in lives, f"{living} was begun twice"
            lives[living] = LifeSeen(living)
        elif catalogue.ending("job", event.type, event.data) is not None:
            named = str(event.data.get("incarnation") or living)
            lives[named].ends.append(event)
    yield from lives.values()


def check_lives(run: str, lives: list[LifeSeen]) -> None:
    assert lives, f"{run} was never begun"
    for life in lives:
        assert len(life.ends) <= 1, (run, life.incarnation, [event.data for event in life.ends])
    # One that was begun anew before anybody missed it has none.
    assert len(lives[-1].ends) == 1, (run, lives[-1])


def check_progress(run: str, events: list[Event]) -> None:
    reached = 0.0
    for event in events:
        if event.type == "workflow_start" and event.data.get("resumed") is not True:
            reached = 0.0
        elif event.type == "progress" and (said := share(event.data)) is not None:
            assert said >= reached, (run, event.source, said, reached)
            reached = said


def check_text(run: str, source: str, events: list[Event]) -> None:
    text = "".join(
        str(event.data["content"]) for event in events if event.type == "streaming_chunk" and event.source == source
    )
    assert text == "".join(f"{n} " for n in range(STEPS)), (run, source)
