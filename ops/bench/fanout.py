"""This file is where fan-out is measured: one event to 300 clients, as deliveries per CPU-second of the server.

The clients live in another process and only count bytes. Beside our two paths runs what one writes first with Starlette
and uvicorn (`peers/starlette_loop.py`), which is told what to say by a call and hears no broker: its figures flatter it.
All figures are medians of runs that follow one another in turn. `python -m ops.bench.fanout`.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from router.broker import Broker
from router.connection import BrokerSettings
from router.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.event import Event

CLIENTS = 300
RUNS = 5
TRANSPORTS = ("websocket", "sse")
BURSTS = (1, 10)
# How many times something is said in one run: enough CPU time to measure, little enough to wait for.
ROUNDS = {("starlette loop", 1): 60, ("starlette loop", 10): 12, ("plain", 1): 40, ("plain", 10): 20}
LANE_ROUNDS = 120
PAYLOAD = {"text": "x" * 89}  # 100 bytes of JSON


class Child:
    """A process that answers each line with a line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> list[str]:
        assert self._process.stdout is not None
        answer = (await self._process.stdout.readline()).decode().split()
        if not answer:
            raise RuntimeError("a process of the benchmark ended")
        return answer

    async def ask(self, line: str) -> list[float]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        return [float(word) for word in await self.line()]


@contextlib.asynccontextmanager
async def child(*command: str) -> AsyncIterator[Child]:
    """Runs Python with these arguments; the end of its input ends it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Child(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@dataclass
class Server:
    """One way to serve, and where it is."""

    name: str
    child: Child
    port: int
    paths: dict[str, str]
    subjects: dict[str, str]


async def _peer(stack: contextlib.AsyncExitStack) -> Server:
    script = Path(__file__).parent / "peers" / "starlette_loop.py"
    process = await stack.enter_async_context(child(str(script)))
    port = int((await process.line())[1])
    return Server("starlette loop", process, port, {"websocket": "/ws", "sse": "/sse"}, {})


async def _edge(stack: contextlib.AsyncExitStack, nats: str, way: str) -> Server:
    process = await stack.enter_async_context(child("-m", "ops.bench.serving", nats, way))
    port = int((await process.line())[1])
    server = Server(way, process, port, {}, {})
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        for transport in TRANSPORTS:
            server.subjects[transport] = f"job.fanout-{way}-{transport}.said"
            body = {"delivery_method": transport, "subjects": [server.subjects[transport]]}
            async with http.post("/callbacks/sessions", json=body) as answer:
                session = (await answer.json())["session_id"]
            server.paths[transport] = f"/callbacks/sessions/{session}/{'ws' if transport == 'websocket' else 'sse'}"
    return server


def _name(server: Server, transport: str) -> str:
    return f"{server.name}/{transport}".replace(" ", "-")


class Fanout:
    """The servers, the readers and the broker of one benchmark."""

    def __init__(self, broker: Broker, readers: Child, servers: list[Server]) -> None:
        self._broker = broker
        self._readers = readers
        self._servers = servers
        self._size: dict[tuple[str, str], float] = {}

    async def open(self, transport: str) -> None:
        """Connects the clients of a transport, and learns how many bytes one event is to all of them."""
        for server in self._servers:
            name, path = _name(server, transport), server.paths[transport]
            (before,) = await self._readers.ask(f"open {name} 127.0.0.1 {server.port} {path} {transport} {CLIENTS}")
            for _ in range(10):
                await self._say(server, transport, 1)
            (after,) = await self._readers.ask(f"count {name}")
            self._size[server.name, transport] = (after - before) / 10

    async def close(self, transport: str) -> None:
        """Lets them go: they answer no pings, so nobody would keep them for long."""
        for server in self._servers:
            await self._readers.ask(f"close {_name(server, transport)}")

    async def _say(self, server: Server, transport: str, burst: int) -> None:
        if not server.subjects:
            await server.child.ask(f"say {transport} 1 {burst}")
            return
        events = [Event.new(server.subjects[transport], PAYLOAD, source="bench") for _ in range(burst)]
        await asyncio.gather(*(self._broker.publish(event) for event in events))

    async def measure(self, server: Server, transport: str, burst: int) -> float:
        """Deliveries per CPU-second of the server: each event is said when the one before it has arrived."""
        name = _name(server, transport)
        size = self._size[server.name, transport] * burst
        rounds = ROUNDS.get((server.name, burst), LANE_ROUNDS)
        (count,) = await self._readers.ask(f"count {name}")
        began = (await server.child.ask("cpu"))[0]
        for _ in range(rounds):
            await self._say(server, transport, burst)
            # Not the last byte: how events share HTTP's chunks changes their size a little.
            wanted = count + 0.97 * size
            (count,) = await self._readers.ask(f"wait {name} {int(wanted)} 5")
            if count < wanted:
                raise RuntimeError(f"{server.name}: {wanted - count:.0f} bytes of {transport} never arrived")
        ended = (await server.child.ask("cpu"))[0]
        return rounds * burst * CLIENTS / (ended - began)

    async def table(self) -> dict[tuple[str, int, str], float]:
        """Medians by transport, burst and server."""
        found: dict[tuple[str, int, str], float] = {}
        for transport in TRANSPORTS:
            for burst in BURSTS:
                runs: dict[str, list[float]] = {server.name: [] for server in self._servers}
                await self.open(transport)
                for _ in range(RUNS):
                    for server in self._servers:
                        runs[server.name].append(await self.measure(server, transport, burst))
                await self.close(transport)
                for name, figures in runs.items():
                    found[transport, burst, name] = statistics.median(figures)
        return found


async def run() -> dict[tuple[str, int, str], float]:
    """Starts everything, measures, and takes it down again."""
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        nats = EmbeddedServer(EmbeddedSettings(Path(folder), free_port()))
        await nats.start()
        stack.push_async_callback(nats.stop)
        servers = [await _peer(stack), *[await _edge(stack, nats.url, way) for way in ("plain", "lane")]]
        broker = await stack.enter_async_context(Broker(BrokerSettings(nats.url), "bench"))
        readers = await stack.enter_async_context(child("-m", "ops.bench.readers"))
        fanout = Fanout(broker, readers, servers)
        return await fanout.table()


def show(found: dict[tuple[str, int, str], float]) -> None:
    """Prints one table."""
    names = list(dict.fromkeys(name for _, _, name in found))
    print(f"deliveries per server CPU-second, {CLIENTS} clients, 100-byte payloads, medians of {RUNS} runs in turn")
    print(f"{'':24}" + "".join(f"{name:>18}" for name in names))
    for transport in TRANSPORTS:
        for burst in BURSTS:
            title = f"{transport}, {'one per tick' if burst == 1 else f'bursts of {burst}'}"
            base = found[transport, burst, names[0]]
            cells = (found[transport, burst, name] for name in names)
            print(f"{title:24}" + "".join(f"{f'{each:,.0f} ({each / base:.1f}x)':>18}" for each in cells))


if __name__ == "__main__":
    show(asyncio.run(run()))
