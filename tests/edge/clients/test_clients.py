"""The clients that people use, each on a wire that breaks at random bytes: none misses an event, or waits for the next to see one.

Every client is a process with several readers, which come back as that client's users have them come back: by themselves,
or in a loop with the last cursor. chromium's EventSource is in tests/edge/test_cut_sockets.py and tests/browser.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from edge.settings import SessionSettings
from tests import parts, trust
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.npm import node_with
from tests.proxy import Cut, Proxy
from tests.waiting import eventually

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("CALLBOARD_TEST_CHAOS_SEED", "0")) or random.SystemRandom().randrange(2**32)
HERE = Path(__file__).parent
READERS, CUTS = 4, 24
PATIENCE = 60
# No heartbeat may push out what a client holds back.
QUIET = SessionSettings(heartbeat=100.0)

NPM = {
    "eventsource": "eventsource@3.0.7",
    "eventsource-client": "eventsource-client@1.2.0",
    "fetch-event-source": "@microsoft/fetch-event-source@2.0.1",
    "event-source-polyfill": "event-source-polyfill@1.0.31",
    "launchdarkly-eventsource": "launchdarkly-eventsource@2.2.0",
    "ws": "ws@8.23.0",
    "undici": "undici@6.29.1",
}
PYTHON = {
    "requests": "requests",
    "sseclient-py": "sseclient",
    "requests-sse": "requests_sse",
    "launchdarkly-eventsource": "ld_eventsource",
    "aiohttp": "aiohttp",
    "aiohttp-sse-client": "aiohttp_sse_client",
    "httpx-sse": "httpx_sse",
    "websockets": "websockets",
}
GO = ("net-http", "r3labs-sse", "coder-websocket")
GO_MODULES = ("github.com/coder/websocket@v1.8.15", "github.com/r3labs/sse/v2@v2.10.0")

SOCKETS = {"ws", "undici", "websockets", "coder-websocket"}
# Hands out the part that came of an event that was cut off, and takes its id for whole: then it comes back with a text that
# is no cursor, is told so by a `gap`, and reads its session again from where that begins. So its users see events twice.
REPEATS = {"r3labs-sse"}
# Takes an id when its line ends, and hands the event out at the line behind it: between the two one byte may be missing.
# No order of lines mends that; the wire is not cut there.
HASTY = {"fetch-event-source"}


@pytest.fixture(scope="module")
def npm(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What runs a client of npm."""
    folder = tmp_path_factory.mktemp("npm")
    node = node_with(folder, *NPM.values())
    shutil.copy(HERE / "readers.mjs", folder)
    return [node, str(folder / "readers.mjs")]


@pytest.fixture(scope="module")
def python() -> list[str]:
    """What runs a Python client."""
    return [sys.executable, str(HERE / "readers.py")]


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What runs a client of Go."""
    found = parts.program(parts.GO)
    folder = tmp_path_factory.mktemp("go")
    shutil.copy(HERE / "readers.go", folder / "main.go")
    for command in (["mod", "init", "readers"], ["get", *GO_MODULES], ["mod", "tidy"], ["build", "-o", "readers", "."]):
        try:
            done = subprocess.run(
                [found, *command],
                cwd=folder,
                env=trust.downloading(),
                capture_output=True,
                text=True,
                timeout=200,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"go {command[0]} did not end in time")
        if done.returncode:
            # Its modules come from a network, which a machine may lack.
            assert command[0] != "build", done.stderr
            pytest.skip(f"go {' '.join(command[:2])}: {done.stderr.strip()[-200:]}")
    return [str(folder / "readers")]


class Client:
    """A process that reads, and what each of its readers has said."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = [[] for _ in range(READERS)]
        self.errors = ""

    @contextlib.asynccontextmanager
    async def running(self, *command: str) -> AsyncIterator[Client]:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None and process.stderr is not None
        try:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self._listen(process.stdout))
                complaining = group.create_task(self._hear(process.stderr))
                yield self
                assert process.returncode is None, self.errors
                listening.cancel()
                complaining.cancel()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

    async def _listen(self, lines: asyncio.StreamReader) -> None:
        async for line in lines:
            reader, cursor = line.decode().split()
            self.seen[int(reader)].append(cursor)

    async def _hear(self, lines: asyncio.StreamReader) -> None:
        async for line in lines:
            self.errors = (self.errors + line.decode(errors="replace"))[-4000:]

    async def until(self, condition: Callable[[], bool], within: float = PATIENCE) -> None:
        """Waits; where that is in vain, says how far each reader has come."""
        try:
            await eventually(condition, within=within)
        except AssertionError as fault:
            raise AssertionError(f"{[len(seen) for seen in self.seen]} events; seed {SEED}; {self.errors}") from fault

    @property
    def fewest(self) -> int:
        return min(len(set(cursors)) for cursors in self.seen)

    def have(self, cursor: str) -> bool:
        return all(cursor in cursors for cursors in self.seen)


def cutting(socket: bool) -> Callable[[], Cut]:
    """Chooses bytes to cut at: a quarter before the first event, the others among the events; half look like a regular end."""
    rng = random.Random(SEED)
    head, most = (350, 4000) if socket else (2700, 7000)

    def choose() -> Cut:
        after = rng.randrange(1, head) if rng.random() < 0.25 else rng.randrange(head, most)
        return Cut(after, reset=rng.random() < 0.5)

    return choose


async def reads_it_all(
    edge: RunningEdge, entity: str, name: str, command: list[str], *changes: Callable[[], Awaitable[None]]
) -> tuple[Client, list[str], float]:
    """Lets a client read while its wire breaks, and while the changes are made, spread over that.

    Gives the client, the stream's cursors, and how late the last event came.
    """
    session = await edge.session(subjects=[f"job.{entity}.>"])
    start = (await edge.poll(session))["next"]
    cursors: list[str] = []
    client = Client()
    async with Proxy(edge.port, cut=cutting(name in SOCKETS), whole=b"\n\n" if name in HASTY else b"") as proxy:
        url = f"{proxy.url}/callbacks/sessions/{session}"
        async with client.running(*command, name, url, str(READERS), start):
            for step in range(len(changes) + 1):
                while proxy.cuts < CUTS * (step + 1) / (len(changes) + 1):
                    cursors += await edge.numbers(entity, 6, len(cursors))
                    before = proxy.cuts
                    await client.until(lambda: proxy.cuts > before or client.fewest >= len(cursors))
                if step < len(changes):
                    change = asyncio.ensure_future(changes[step]())
                    while not change.done():
                        cursors += await edge.numbers(entity, 6, len(cursors))
                    await change
            proxy.cut = None
            proxy.sever()
            # Comes after all that might yet come twice; and then one that nothing follows.
            cursors += await edge.numbers(entity, 1, len(cursors))
            await client.until(lambda: client.have(cursors[-1]))
            begun = time.monotonic()
            cursors += await edge.numbers(entity, 1, len(cursors))
            await client.until(lambda: client.have(cursors[-1]), within=20)
            late = time.monotonic() - begun
    return client, cursors, late


def check(name: str, client: Client, cursors: list[str], late: float) -> None:
    print(f"{name}: the last event was there after {late:.3f} s")
    for seen in client.seen:
        told = sorted(set(seen)) if name in REPEATS else seen
        assert told == cursors, f"seed {SEED}"


@pytest.mark.parametrize("name", NPM)
async def test_a_client_of_npm_reads_it_all(edge_factory: EdgeFactory, entity: str, npm: list[str], name: str) -> None:
    async with edge_factory(session=QUIET) as edge:
        check(name, *await reads_it_all(edge, entity, name, npm))


@pytest.mark.parametrize("name", PYTHON)
async def test_a_python_client_reads_it_all(
    edge_factory: EdgeFactory, entity: str, python: list[str], name: str
) -> None:
    if os.environ.get("CI") != "true":
        pytest.importorskip(PYTHON[name], reason=f"{name} is not installed (pip install -e '.[dev]')")
    async with edge_factory(session=QUIET) as edge:
        check(name, *await reads_it_all(edge, entity, name, python))


@pytest.mark.parametrize("name", GO)
async def test_a_client_of_go_reads_it_all(edge_factory: EdgeFactory, entity: str, go: list[str], name: str) -> None:
    async with edge_factory(session=QUIET) as edge:
        check(name, *await reads_it_all(edge, entity, name, go))
