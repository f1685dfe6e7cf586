"""Measures fan-out: one event to 300 clients, as deliveries per CPU-second of the server.

The clients live in another process and only count bytes. Beside our two paths run what one writes first with Starlette and
uvicorn (`peers/starlette_loop.py`; told what to say by a call, it hears no broker, and that flatters it), nchan where it is
installed, and what bounds them all, a program that does nothing but send (`peers/bare_sends.py`). They follow one another
in turn, and a ratio is the median of the ratios of neighbours. Where there are cores enough, whoever writes has one together
with the clients, who read when it has done so, and brokers and the benchmark have another: or it would be luck in whose
caches the sockets are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from ops.bench import nchan
from ops.bench.report import ReportRow
from ops.bench.stand import TITLES, TRANSPORTS, BenchError, Plan, Stand, cpu_seconds, process, settle_on, stand
from ops.launch import own_argv
from router.event import Event

CLIENTS = 300
RUNS = 7
# So many runs with the same connections.
KEPT = 3
BURSTS = (1, 10)
TEXT = "x" * 100
PAYLOAD = {"text": "x" * 89}  # 100 bytes of JSON
# Enough CPU time to measure, little enough to wait for: so many deliveries a run for those who take long, and the lane.
DELIVERIES = {1: 30_000, 10: 90_000}
LANE_DELIVERIES = {1: 60_000, 10: 450_000}
PEER, NCHAN, BARE = "starlette loop", "nchan", "bare sends"
LANE, PLAIN = "callboard", "callboard without lanes"


class CountingProcess:
    """A process that answers each line with numbers."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.pid = child.pid
        self._child = child

    async def line(self) -> list[str]:
        """Reads one line. Raises BenchError where the process has ended."""
        assert self._child.stdout is not None
        answer = (await self._child.stdout.readline()).decode().split()
        if not answer:
            raise BenchError("a process of the benchmark ended")
        return answer

    async def ask(self, line: str) -> list[float]:
        assert self._child.stdin is not None
        self._child.stdin.write(f"{line}\n".encode())
        return [float(word) for word in await self.line()]


@contextlib.asynccontextmanager
async def counting_readers() -> AsyncIterator[CountingProcess]:
    """Runs the clients."""
    async with process(*own_argv(module="ops.bench.readers"), piped=True) as child:
        yield CountingProcess(child)


@dataclass(frozen=True)
class Server:
    """One that is measured: its process, where its streams are, and how it is told to say something so many times."""

    name: str
    pid: int
    port: int
    paths: dict[str, str]
    say: Callable[[str, int], Awaitable[None]]
    # What it hears from; not counted.
    broker_pid: int | None = None


class FanoutStand:
    """The servers and the readers of one benchmark."""

    def __init__(self, readers: CountingProcess, servers: list[Server]) -> None:
        self.servers = servers
        self._readers = readers
        self._size: dict[tuple[str, str], float] = {}

    async def open(self, transport: str) -> None:
        """Connects the clients of a transport, and learns how many bytes one event is to all of them."""
        for server in self.servers:
            group, path = _group(server, transport), server.paths[transport]
            (before,) = await self._readers.ask(f"open {group} 127.0.0.1 {server.port} {path} {transport} {CLIENTS}")
            for _ in range(10):
                await server.say(transport, 1)
            (after,) = await self._readers.ask(f"count {group}")
            size = self._size[server.name, transport] = (after - before) / 10
            if size < CLIENTS * len(TEXT):
                raise BenchError(f"{server.name}: {CLIENTS} {transport} clients got {size:.0f} bytes of one event")

    async def close(self, transport: str) -> None:
        """Lets them go."""
        for server in self.servers:
            await self._readers.ask(f"close {_group(server, transport)}")

    async def measure(self, server: Server, transport: str, burst: int) -> float:
        """Deliveries per CPU-second of the server: each burst is said when the one before it has arrived."""
        group = _group(server, transport)
        size = self._size[server.name, transport] * burst
        deliveries = (LANE_DELIVERIES if server.name == LANE else DELIVERIES)[burst]
        rounds = deliveries // burst // CLIENTS
        (count,) = await self._readers.ask(f"count {group}")
        began = cpu_seconds(server.pid)
        for _ in range(rounds):
            await server.say(transport, burst)
            # Not the last byte: how events share HTTP's chunks changes their size a little.
            wanted = count + 0.97 * size
            (count,) = await self._readers.ask(f"wait {group} {int(wanted)} 5")
            if count < wanted:
                raise BenchError(f"{server.name}: {wanted - count:.0f} bytes of {transport} never arrived")
        return rounds * burst * CLIENTS / (cpu_seconds(server.pid) - began)


def _group(server: Server, transport: str) -> str:
    return f"{server.name}/{transport}".replace(" ", "-")


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Measures all servers in turn, transport by transport, one event a tick and bursts."""
    async with contextlib.AsyncExitStack() as stack:
        servers = [await _peer(stack, PEER, "starlette_loop.py"), await _peer(stack, BARE, "bare_sends.py")]
        where = nchan.found(plan)
        if isinstance(where, str):
            yield ReportRow("fanout", "fan-out beside nchan", note=where)
        else:
            servers.append(await _nchan(stack, *where))
        servers.append(await _edge(stack, LANE))
        servers.append(await _edge(stack, PLAIN))
        readers = await stack.enter_async_context(counting_readers())
        _settle(stack, readers, servers)
        contest = FanoutStand(readers, servers)
        for transport in TRANSPORTS:
            for burst in BURSTS:
                runs: dict[str, list[float]] = {server.name: [] for server in servers}
                for run in range(RUNS):
                    # Anew now and then: the clients answer no pings, so nobody would keep them for long.
                    if run % KEPT == 0:
                        await contest.open(transport)
                    for server in servers:
                        runs[server.name].append(await contest.measure(server, transport, burst))
                    if run % KEPT == KEPT - 1 or run == RUNS - 1:
                        await contest.close(transport)
                for name, figures in runs.items():
                    yield _row(transport, burst, name, figures, runs)


def _settle(stack: contextlib.AsyncExitStack, readers: CountingProcess, servers: list[Server]) -> None:
    first, *others = sorted(os.sched_getaffinity(0))
    if others:
        settle_on({first}, readers.pid, *(server.pid for server in servers))
        settle_on(others, os.getpid(), *(server.broker_pid for server in servers if server.broker_pid is not None))
        stack.callback(settle_on, {first, *others}, os.getpid())


def _row(transport: str, burst: int, name: str, figures: list[float], runs: dict[str, list[float]]) -> ReportRow:
    ratios = [
        f"{statistics.median(mine / theirs for mine, theirs in zip(figures, runs[peer], strict=True)):.2f}x {peer}"
        for peer in (PEER, NCHAN, BARE)
        if name in (LANE, PLAIN) and peer in runs
    ]
    said = "one per tick" if burst == 1 else f"bursts of {burst}"
    title = f"fan-out to {CLIENTS}, {TITLES[transport]}, {said}: {name}"
    return ReportRow("fanout", title, "a CPU-s", figures, note=", ".join(ratios))


async def _peer(stack: contextlib.AsyncExitStack, name: str, program: str) -> Server:
    script = Path(__file__).parent / "peers" / program
    peer = CountingProcess(await stack.enter_async_context(process(sys.executable, str(script), piped=True)))
    port = int((await peer.line())[1])

    async def say(transport: str, burst: int) -> None:
        await peer.ask(f"say {transport} 1 {burst}")

    return Server(name, peer.pid, port, {"websocket": "/ws", "sse": "/sse"}, say)


async def _nchan(stack: contextlib.AsyncExitStack, binary: str, module: Path) -> Server:
    server = await stack.enter_async_context(nchan.nginx(binary, module))

    async def say(transport: str, burst: int) -> None:
        for _ in range(burst):
            await server.say(transport, TEXT)

    return Server(NCHAN, server.pid, server.port, {each: f"/{each}" for each in TRANSPORTS}, say)


async def _edge(stack: contextlib.AsyncExitStack, name: str) -> Server:
    place: Stand = await stack.enter_async_context(stand(lane=name == LANE))
    subjects = {transport: f"job.fanout-{transport}.said" for transport in TRANSPORTS}
    paths = {each: f"{await place.session(subjects[each])}/{end}" for each, end in TRANSPORTS.items()}

    async def say(transport: str, burst: int) -> None:
        events = [Event.new(subjects[transport], PAYLOAD, source="bench") for _ in range(burst)]
        await asyncio.gather(*(place.broker.publish(event) for event in events))

    return Server(name, place.edge_pid, place.port, paths, say, place.nats_pid)
