"""Measures how long others wait while one principal's filters are expensive.

100 SSE sessions have a filter each that goes through a large map and asks for a field of its own. Somebody else publishes
and asks `/livez`, each 50 times a second whatever the answers do (open loop), in four phases: while nothing else happens;
beside a process that burns CPU at the priority of the filter process; and while events are stored that all of the filters
look at, 60 of 7 KiB at once, then six of 375 KiB. No filter matches, so what is measured is filtering alone. What this
process does beside its requests costs it nothing: the sessions are sockets that nobody reads, the events one write to NATS.

The second phase is the control: where processes share few cores, whatever computes delays the others. What the 99th
percentile grows by beside it is Callboard's own doing, and the note says both differences. The note also says which share of
the time the edge's main thread ran, and for which it waited for a core: that is the machine's doing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import aiohttp

from ops.bench.readers import request
from ops.bench.report import ReportRow
from ops.bench.stand import BenchError, Plan, Stand, cpu_seconds, process, stand
from router.codec import encode
from router.event import Event
from router.subject import STORED

SESSIONS = 100
# Entries of the map: some 7 and some 375 KiB of msgpack.
BURSTS = {"60 events of 7 KiB": (60, 600), "6 events of 375 KiB": (6, 29_000)}
PROBE_SECONDS = 0.02
# Each phase is so long: 250 requests of each kind. Then it is waited until every filter has seen all events.
PHASE_SECONDS = 5.0
TIMEOUT = 120.0
QUIET, BUSY = "nothing else", "beside a busy process"
BURN = "import os\nos.nice(10)\nwhile True: pass"


class Ask(Protocol):
    """Sends one request and waits for its answer."""

    def __call__(self) -> Coroutine[Any, Any, None]: ...


class Phase(NamedTuple):
    """Milliseconds that each request of each kind took, and how the edge's main thread spent the time."""

    times: dict[str, list[float]]
    ran: float
    waited: float


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """One row for each kind of request in each phase: its 99th percentile, and beside it what it grew by."""
    async with stand() as place, contextlib.AsyncExitStack() as stack:
        asks: dict[str, Ask] = {"publish": lambda: _publish(place.http), "/livez": lambda: _livez(place.http)}
        bursts = {title: _messages(*burst) for title, burst in BURSTS.items()}
        for n in range(SESSIONS):
            stack.push(await _reader(place, n))
        url = urlsplit(place.nats_url)
        nats = stack.enter_context(socket.create_connection((url.hostname, url.port)))
        nats.sendall(b'CONNECT {"verbose":false}\r\n')
        seconds = max(PHASE_SECONDS, plan.seconds)
        # The first requests of a process take longer than any other.
        await _probe(place, asks, asyncio.sleep(1.0))
        phases = {QUIET: await _probe(place, asks, asyncio.sleep(seconds))}
        async with process(sys.executable, "-c", BURN):
            phases[BUSY] = await _probe(place, asks, asyncio.sleep(seconds))
        for title, messages in bursts.items():
            phases[title] = await _probe(place, asks, _burst(nats, messages, seconds))
            await _settle(place)
        for during in phases:
            for name in asks:
                yield _row(name, during, phases)


def _row(name: str, during: str, phases: Mapping[str, Phase]) -> ReportRow:
    p99 = {title: _p99(phase.times[name]) for title, phase in phases.items()}
    phase = phases[during]
    times = phase.times[name]
    notes = [f"median {statistics.median(times):.1f} ms, worst {max(times):.0f} ms of {len(times)}"]
    if during in BURSTS:
        grown = [f"{p99[during] - p99[title]:+.1f} ms to {title!r}" for title in (QUIET, BUSY)]
        notes.insert(0, ", ".join(grown))
    notes.append(f"edge ran {phase.ran:.0%}, waited for a core {phase.waited:.0%}")
    return ReportRow(
        "filters", f"{name} of another principal, {during}, p99", "ms", [p99[during]], note="; ".join(notes)
    )


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[98] if len(times) > 1 else max(times)


def _messages(count: int, entries: int) -> bytes:
    """Events that every filter looks at, as one write to NATS; packed before anybody waits for this process."""
    data = {"n": 1, "m": {f"key{n:05}": n for n in range(entries)}}
    payloads = [encode(Event.new("job.heavy.output", data)) for _ in range(count)]
    return b"".join(b"PUB %sjob.heavy.output %d\r\n%s\r\n" % (STORED.encode(), len(each), each) for each in payloads)


async def _reader(place: Stand, n: int) -> socket.socket:
    """The socket of an SSE reader with an expensive filter of its own."""
    body = {"subjects": ["job.heavy.>"], "filter": f"data.n == -7 || data.m.all(k, size(k) > 0) && data.f{n} == 1"}
    async with place.http.post("/callbacks/sessions", json=body) as answer:
        path = f"/callbacks/sessions/{(await answer.json())['session_id']}/sse"
    reader = socket.create_connection(("127.0.0.1", place.port))
    reader.sendall(request(f"127.0.0.1:{place.port}", path, "sse"))
    if b" 200 " not in await asyncio.to_thread(reader.recv, 64):
        raise BenchError("a stream was not opened")
    return reader


async def _publish(http: aiohttp.ClientSession) -> None:
    async with http.post("/events", json={"subject": "job.light.output", "data": {"n": 1}}) as answer:
        # An edge that is held up says 503; how long it took to say so is what counts.
        await answer.read()


async def _livez(http: aiohttp.ClientSession) -> None:
    async with http.get("/livez") as answer:
        await answer.read()


async def _probe(place: Stand, asks: Mapping[str, Ask], work: Coroutine[Any, Any, None]) -> Phase:
    """Sends each request at its times, whether those before were answered or not, for as long as something else goes on."""
    times: dict[str, list[float]] = {name: [] for name in asks}
    done = asyncio.Event()

    async def once(name: str, ask: Ask) -> None:
        began = time.perf_counter()
        await ask()
        times[name].append((time.perf_counter() - began) * 1000)

    async def repeat(group: asyncio.TaskGroup) -> None:
        due = time.perf_counter()
        while not done.is_set():
            for name, ask in asks.items():
                group.create_task(once(name, ask))
            due += PROBE_SECONDS
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    began, before = time.perf_counter(), _scheduled(place.edge_pid)
    async with asyncio.TaskGroup() as group:
        group.create_task(repeat(group))
        await work
        done.set()
    passed, after = time.perf_counter() - began, _scheduled(place.edge_pid)
    return Phase(times, (after[0] - before[0]) / passed, (after[1] - before[1]) / passed)


def _scheduled(pid: int) -> tuple[float, float]:
    """Seconds that a process's main thread has run, and waited for a core."""
    ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(ran) / 1e9, int(waited) / 1e9


async def _burst(nats: socket.socket, messages: bytes, seconds: float) -> None:
    """Stores events, and waits for the end of the phase."""
    await asyncio.gather(asyncio.to_thread(nats.sendall, messages), asyncio.sleep(seconds))


async def _settle(place: Stand) -> None:
    """Waits until the edge and its filter process have nothing more to do."""
    began, busy = time.monotonic(), True
    while busy and time.monotonic() - began < TIMEOUT:
        before = _work(place.edge_pid)
        await asyncio.sleep(1.0)
        busy = _work(place.edge_pid) - before > 0.1


def _work(pid: int) -> float:
    """CPU seconds of a process and its children."""
    total = cpu_seconds(pid)
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        # One that has just ended has no clock any more.
        with contextlib.suppress(OSError):
            total += cpu_seconds(int(child))
    return total
