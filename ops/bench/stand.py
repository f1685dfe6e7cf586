"""Starts a benchmark's servers: nats-server and `callboard edge` as people run them, each a process.

What is measured is in other processes than who measures: events come from `producer`, readers are in `audience`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp

from ops.environment import child_environment
from ops.launch import own_argv
from ops.process.children import end_with_parent
from router.broker import Broker
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings

RUNS = 3
TRANSPORTS = {"websocket": "ws", "sse": "sse"}
TITLES = {"websocket": "WebSocket", "sse": "SSE"}
READY_SECONDS = 20.0
# An answer of a child is one line; this is more than any of them needs.
ANSWER_SECONDS = 180.0

# Out of the way of what is measured; readers of the benchmark answer no pings.
QUIET = {"CALLBOARD_EDGE_SESSION_HEARTBEAT": "3600", "CALLBOARD_EDGE_LANES_PING": "3600"}


class BenchError(Exception):
    """a benchmark could not be run"""


@dataclass(frozen=True)
class Plan:
    """What was asked for: how long a timed run takes, and whether the large sizes are wanted. `clip` is a film to compare codecs on."""

    seconds: float = 1.5
    full: bool = False
    nchan_module: Path | None = None
    clip: Path | None = None


def cpu_seconds(pid: int) -> float:
    """CPU time of a process with all its threads: what /proc/<pid>/stat counts in hundredths, in nanoseconds."""
    # clock_getcpuclockid(3): the complement of the process id, and 2 for the scheduler's clock.
    return time.clock_gettime((~pid << 3) | 2)


def settle_on(cores: Iterable[int], *pids: int) -> None:
    """Keeps processes on some cores, so that it is not the scheduler's luck whose caches hold what."""
    cores = set(cores)
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)


def resident(pid: int) -> int:
    """Bytes of memory a process has in RAM, shared ones included."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Partner:
    """A process of the benchmark that takes an order a line and answers each with a line of JSON."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process

    async def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """Gives an order and waits for the answer. Raises BenchError."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
        async with asyncio.timeout(ANSWER_SECONDS):
            said = await self._process.stdout.readline()
        if not said:
            raise BenchError(f"the {self.name} ended while asked to {do}")
        answer: dict[str, Any] = json.loads(said)
        if "fault" in answer:
            raise BenchError(f"the {self.name}, asked to {do}: {answer['fault']}")
        return answer


@contextlib.asynccontextmanager
async def process(
    *argv: str, variables: Mapping[str, str] | None = None, piped: bool = False
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs a program; ends it with the block, and with us."""
    pipe = asyncio.subprocess.PIPE if piped else asyncio.subprocess.DEVNULL
    child = await asyncio.create_subprocess_exec(
        *argv,
        stdin=pipe,
        stdout=pipe,
        env=child_environment(variables or {}),
        preexec_fn=end_with_parent(),
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
            try:
                async with asyncio.timeout(10):
                    await child.wait()
            except TimeoutError:
                child.kill()
                await child.wait()


class CpuWatch:
    """How busy some processes are, from `start` to `read`."""

    def __init__(self, **pids: int) -> None:
        self._pids = pids
        self.start()

    def start(self) -> None:
        self._began = time.monotonic()
        self._before = {name: cpu_seconds(pid) for name, pid in self._pids.items()}

    def read(self) -> dict[str, float]:
        """CPU seconds of each."""
        return {name: cpu_seconds(pid) - self._before[name] for name, pid in self._pids.items()}

    def shares(self) -> dict[str, float]:
        """CPU seconds of each, per second."""
        passed = time.monotonic() - self._began
        return {name: spent / passed for name, spent in self.read().items()}


@dataclass
class Stand:
    """A nats-server, an edge, a producer and an audience."""

    broker: Broker
    http: aiohttp.ClientSession
    producer: Partner
    audience: Partner
    nats_url: str
    nats_pid: int
    edge_pid: int
    port: int
    progress: Path

    def watch(self) -> CpuWatch:
        return CpuWatch(edge=self.edge_pid, nats=self.nats_pid, readers=self.audience.pid, producer=self.producer.pid)

    async def session(self, subject: str, dialect: str = "callback") -> str:
        """Makes a session that sees one subject, and says where it is."""
        asked = {"subjects": [subject], "dialect": dialect}
        async with self.http.post("/callbacks/sessions", json=asked) as answer:
            return f"/callbacks/sessions/{(await answer.json())['session_id']}"

    async def known(self, path: str, name: str) -> None:
        """Returns once a list of the edge, such as `/cameras`, has an entry of that id that is not gone. Raises TimeoutError."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                async with self.http.get(path) as answer:
                    (listed,) = (await answer.json()).values()
                if any(each["id"] == name and each.get("status") != "gone" for each in listed):
                    return
                await asyncio.sleep(0.05)

    async def counter(self, name: str) -> float:
        """The sum of one of the edge's metrics over its labels."""
        async with self.http.get("/metrics") as answer:
            text = await answer.text()
        return sum(float(found) for found in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


@contextlib.asynccontextmanager
async def stand(lane: bool = True, variables: Mapping[str, str] = MappingProxyType({})) -> AsyncIterator[Stand]:
    """Starts one of its own for each benchmark: what another has left behind would hide what this one takes."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callboard-bench-")))
        nats = EmbeddedServer(EmbeddedSettings(folder, free_port()), end_with_parent())
        await nats.start()
        stack.push_async_callback(nats.stop)
        broker = await stack.enter_async_context(Broker(BrokerSettings(nats.url), "bench"))
        port = free_port()
        lanes = {"CALLBOARD_EDGE_LANE": "true" if lane else "false"}
        edge, http = await stack.enter_async_context(running_edge(nats.url, folder, port, {**lanes, **variables}))
        progress = folder / "progress"
        progress.write_bytes(bytes(8))
        producer = await stack.enter_async_context(partner("producer", nats.url, str(progress)))
        audience = await stack.enter_async_context(partner("audience", str(progress)))
        assert nats.process is not None
        yield Stand(broker, http, producer, audience, nats.url, nats.process.pid, edge.pid, port, progress)


@contextlib.asynccontextmanager
async def running_edge(
    nats_url: str, folder: Path, port: int, variables: Mapping[str, str]
) -> AsyncIterator[tuple[asyncio.subprocess.Process, aiohttp.ClientSession]]:
    """Runs an edge, and yields it once it is ready, with a client of it. Raises BenchError."""
    settings = {"CALLBOARD_NATS_URL": nats_url, "CALLBOARD_DATA_DIR": str(folder), "CALLBOARD_LOG_LEVEL": "error"}
    argv = own_argv("edge", "--port", str(port))
    async with (
        process(*argv, variables={**settings, **QUIET, **variables}) as edge,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
    ):
        await _ready(http, edge)
        yield edge, http


@contextlib.asynccontextmanager
async def partner(name: str, *arguments: str) -> AsyncIterator[Partner]:
    """Runs one of the benchmark's own processes."""
    async with process(*own_argv(*arguments, module=f"ops.bench.{name}"), piped=True) as child:
        yield Partner(name, child)


async def _ready(http: aiohttp.ClientSession, edge: asyncio.subprocess.Process) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while edge.returncode is None and time.monotonic() < deadline:
        with contextlib.suppress(aiohttp.ClientError):
            async with http.get("/readyz") as answer:
                if answer.status == 200:
                    return
        await asyncio.sleep(0.02)
    raise BenchError("the edge is not ready")
