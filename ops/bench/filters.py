"""Measures how long others wait while one principal's filters are expensive.

100 SSE sessions have a filter each that goes through a large map and asks for a field of its own. Somebody else publishes
and asks `/livez` every ten milliseconds, first while nothing else happens, then while events are stored that all of the
filters look at: 60 of 7 KiB at once, then six of 375 KiB. No filter matches, so what is measured is filtering alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, Protocol

import aiohttp

from ops.bench.report import Row
from ops.bench.stand import Plan, Stand, stand
from router.codec import encode
from router.event import Event

SESSIONS = 100
# Entries of the map: some 7 and some 375 KiB of msgpack.
BURSTS = {"60 events of 7 KiB": (60, 600), "6 events of 375 KiB": (6, 29_000)}
PROBE_SECONDS = 0.01
# The other's waiting is measured for at least so long, and until every filter has seen all events.
ATTACK_SECONDS = 4.0
PATIENCE = 120.0


class Ask(Protocol):
    """Sends one request and waits for its answer."""

    def __call__(self) -> Coroutine[Any, Any, None]: ...


async def run(plan: Plan) -> AsyncIterator[Row]:
    """One row for each kind of request, before and during each burst: its 99th percentile, with the worst beside it."""
    async with stand() as place, contextlib.AsyncExitStack() as stack:
        asks = {"publish": lambda: _publish(place.http), "/livez": lambda: _livez(place.http)}
        for n in range(SESSIONS):
            await stack.enter_async_context(_reader(place, n))
        await asyncio.sleep(1.0)
        quiet = await _probe(asks, asyncio.sleep(max(2.0, plan.seconds)))
        for name, times in quiet.items():
            yield _row(name, "nothing else", times)
        for title, (count, entries) in BURSTS.items():
            watch = place.watch()
            found = await _probe(asks, _burst(place, count, entries))
            for name, times in found.items():
                row = _row(name, title, times)
                yield Row(row.part, row.what, row.unit, row.runs, busy=watch.shares(), note=row.note)


def _row(name: str, during: str, times: list[float]) -> Row:
    p99 = statistics.quantiles(times, n=100, method="inclusive")[98] if len(times) > 1 else max(times)
    note = f"median {statistics.median(times):.1f} ms, worst {max(times):.0f} ms of {len(times)}"
    return Row("filters", f"{name} of another principal, {during}, p99", "ms", [p99], note=note)


@contextlib.asynccontextmanager
async def _reader(place: Stand, n: int) -> AsyncIterator[None]:
    """An SSE reader with an expensive filter of its own."""
    body = {"subjects": ["job.heavy.>"], "filter": f"data.n == -7 || data.m.all(k, size(k) > 0) && data.f{n} == 1"}
    async with place.http.post("/callbacks/sessions", json=body) as answer:
        path = f"/callbacks/sessions/{(await answer.json())['session_id']}/sse"
    async with aiohttp.ClientSession(place.http._base_url, read_bufsize=2**16) as http, http.get(path) as stream:
        reading = asyncio.ensure_future(stream.read())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def _publish(http: aiohttp.ClientSession) -> None:
    async with http.post("/events", json={"subject": "job.light.output", "data": {"n": 1}}) as answer:
        # An edge that is held up says 503; how long it took to say so is what counts.
        await answer.read()


async def _livez(http: aiohttp.ClientSession) -> None:
    async with http.get("/livez") as answer:
        await answer.read()


async def _probe(asks: Mapping[str, Ask], work: Coroutine[Any, Any, None]) -> dict[str, list[float]]:
    """Milliseconds that each request took, again and again, for as long as something else goes on."""
    times: dict[str, list[float]] = {name: [] for name in asks}
    done = asyncio.Event()

    async def repeat(name: str, ask: Ask) -> None:
        while not done.is_set():
            began = time.perf_counter()
            await ask()
            times[name].append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(PROBE_SECONDS)

    async with asyncio.TaskGroup() as group:
        for name, ask in asks.items():
            group.create_task(repeat(name, ask))
        await work
        done.set()
    return times


async def _burst(place: Stand, count: int, entries: int) -> None:
    """Stores events that every filter looks at, and waits until the edge has nothing more to do with them."""
    data = {"n": 1, "m": {f"key{n:05}": n for n in range(entries)}}
    events = [Event.new("job.heavy.output", data) for _ in range(count)]
    # Packed elsewhere: that would keep the probes of this process waiting.
    payloads = await asyncio.to_thread(lambda: [encode(event) for event in events])
    await asyncio.gather(*(place.broker.put(event, each) for event, each in zip(events, payloads, strict=True)))
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        watch = place.watch()
        await asyncio.sleep(ATTACK_SECONDS)
        # The probes alone take less than this.
        if watch.shares()["edge"] < 0.35:
            return
