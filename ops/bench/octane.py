"""Measures the pictures of an Octane: CPU for each, beside a client that does nothing else; rate and delay to a viewer.

The Octane is a process that announces pictures which it made beforehand (`octane_source`). The actor is measured as it runs,
with its statistics and leases; the bare client (`octane_bare`) fetches and encodes, and sends nothing to anybody. Both have
the same source, in turn. The delay is from the moment when Octane announces a picture until a WebSocket client of the edge has
it: a picture's header says when that was.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import statistics
import time
from collections.abc import AsyncIterator

import aiohttp

from ops.bench.octane_source import WRAP
from ops.bench.report import ReportRow, middle
from ops.bench.stand import RUNS, BenchError, CpuWatch, Partner, Plan, Stand, partner, process, stand
from ops.launch import own_argv
from router.cluster.leases import Leases, view_key
from router.frame import frame_subject, unpack
from router.rendition import DEFAULT

# 10 a second of 1920 x 1080: two cores hold the source and who is measured without either waiting for the other.
RATE = 10.0
FIRST_SECONDS = 30.0
# After the first picture and before each run: connections and caches of the start are not what is measured.
REST = 1.0


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Compares the CPU, then measures the delivery, then an Octane that nobody watches."""
    async with stand() as place:
        async for row in measure(place, max(4.0, plan.seconds * 2)):
            yield row


async def measure(place: Stand, seconds: float) -> AsyncIterator[ReportRow]:
    """All rows, of runs that take that long."""
    async for row in _cpu_of_pictures(place, seconds):
        yield row
    async for row in _delivery(place, seconds):
        yield row
    yield await _unwatched(place, seconds)


@contextlib.asynccontextmanager
async def source_and_actor(place: Stand, generation: str, size: tuple[int, int], rate: float, **settings: str) -> AsyncIterator[
    tuple[int, str]
]:  # fmt: skip
    """A source and an actor that watches it: the actor's process, and the source's address."""
    async with contextlib.AsyncExitStack() as stack:
        source = await stack.enter_async_context(partner("octane_source", generation, *map(str, size), str(rate)))
        address = str((await source.ask("address"))["address"])
        variables = {
            "CALLBOARD_NATS_URL": place.nats_url,
            "CALLBOARD_DATA_DIR": str(place.progress.parent),
            "CALLBOARD_LOG_LEVEL": "error",
            "CALLBOARD_OCTANE_ADDRESS": address,
            **settings,
        }
        actor = await stack.enter_async_context(process(*own_argv("actor", "octane"), variables=variables))
        yield actor.pid, address


class PictureCount:
    """Counts the different pictures of a subject as they arrive."""

    def __init__(self) -> None:
        self.count = 0
        self._last = 0
        self._arrived = asyncio.Event()

    def take(self, payload: bytes) -> None:
        number = unpack(payload)[0]["seq"]
        if number != self._last:
            self._last = number
            self.count += 1
            self._arrived.set()

    async def first(self) -> None:
        """Returns once a picture has come. Raises BenchError."""
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                await self._arrived.wait()
        except TimeoutError:
            raise BenchError("the actor shows no picture") from None
        await asyncio.sleep(REST)


@contextlib.asynccontextmanager
async def _viewer(place: Stand) -> AsyncIterator[PictureCount]:
    """Watches the beauty pass without an edge: a lease and a subscription."""
    counted, connection = PictureCount(), place.broker.connection
    subject = frame_subject("octane", "main", "beauty")
    listening = await connection.listen(subject, lambda _s, _r, payload, _h: counted.take(payload))
    lease = asyncio.create_task(
        Leases(connection).hold(view_key("octane", "main", "bench", "beauty", DEFAULT.token), 6), name="lease"
    )
    try:
        yield counted
    finally:
        lease.cancel()
        await asyncio.gather(lease, return_exceptions=True)
        await listening.stop()


async def _cpu_of_pictures(place: Stand, seconds: float) -> AsyncIterator[ReportRow]:
    ours: list[float] = []
    bare: list[float] = []
    fps = {"CALLBOARD_OCTANE_MAX_FPS": str(RATE)}
    async with (
        source_and_actor(place, "BETA_2", (1920, 1080), 2 * RATE, **fps) as (pid, address),
        partner("octane_bare", address) as client,
    ):
        for _ in range(RUNS):
            async with _viewer(place) as counted:
                await counted.first()
                before, watch = counted.count, CpuWatch(actor=pid)
                await asyncio.sleep(seconds)
                ours.append(_each(watch.read()["actor"], counted.count - before))
            bare.append(await _bare(client, seconds))
    yield ReportRow("octane", "1920 x 1080, CPU per picture, actor", "ms", ours)
    yield ReportRow("octane", "1920 x 1080, CPU per picture, bare grab and encode", "ms", bare)
    yield ReportRow(
        "octane", "1920 x 1080, actor over bare", "times", [each / statistics.median(bare) for each in ours]
    )


async def _bare(client: Partner, seconds: float) -> float:
    await asyncio.sleep(REST)
    watch = CpuWatch(bare=client.pid)
    pictures = (await client.ask("grab", rate=RATE, seconds=seconds))["pictures"]
    return _each(watch.read()["bare"], pictures)


def _each(cpu: float, pictures: int) -> float:
    if not pictures:
        raise BenchError("no picture came")
    return 1000 * cpu / pictures


async def _delivery(place: Stand, seconds: float) -> AsyncIterator[ReportRow]:
    rates: list[float] = []
    halves: list[float] = []
    worst: list[float] = []
    busy: list[dict[str, float]] = []
    fps = {"CALLBOARD_OCTANE_MAX_FPS": "30"}
    async with source_and_actor(place, "BETA_2", (960, 540), 60, **fps) as (pid, _):
        for _ in range(RUNS):
            watch = CpuWatch(actor=pid, edge=place.edge_pid, nats=place.nats_pid)
            delays, passed = await _delays(place, seconds)
            busy.append(watch.shares())
            rates.append(len(delays) / passed)
            halves.append(1000 * statistics.median(delays))
            worst.append(1000 * sorted(delays)[int(len(delays) * 0.99)])
    what = "960 x 540, 60 offered, max_fps 30"
    yield ReportRow("octane", f"{what}, delivered", "fps", rates, busy=middle(busy))
    yield ReportRow("octane", f"{what}, notify to client, p50", "ms", halves)
    yield ReportRow("octane", f"{what}, notify to client, p99", "ms", worst)


async def _delays(place: Stand, seconds: float) -> tuple[list[float], float]:
    """The delay of each picture that a client of the edge gets, and how long that took."""
    delays: list[float] = []
    seen = 0
    async with place.http.ws_connect("/octane/main/ws", max_msg_size=0) as socket:
        began = math.inf
        # At least one, however late it is on a busy machine.
        while not delays or time.monotonic() < began + seconds:
            try:
                message = await socket.receive(timeout=FIRST_SECONDS)
            except TimeoutError:
                raise BenchError("the edge shows no picture") from None
            if message.type is aiohttp.WSMsgType.TEXT:
                continue
            if message.type is not aiohttp.WSMsgType.BINARY:
                raise BenchError("the edge closed the connection")
            header, _ = unpack(message.data)
            if header["seq"] == seen:
                continue
            now, first, seen = time.monotonic(), not seen, header["seq"]
            if first:
                # Pictures are read from the first one on, so that none lies in the socket and grows late there.
                began = now + REST
            if now >= began:
                delays.append((now - header["render_time"]) % WRAP)
    return delays, time.monotonic() - began


async def _unwatched(place: Stand, seconds: float) -> ReportRow:
    shares: list[float] = []
    async with source_and_actor(place, "ALPHA_5", (1920, 1080), 60) as (pid, _):
        async with _viewer(place) as counted:
            await counted.first()
        # The last lease is released, and the callback with it.
        await asyncio.sleep(2 * REST)
        for _ in range(RUNS):
            watch = CpuWatch(actor=pid)
            await asyncio.sleep(seconds)
            shares.append(100 * watch.shares()["actor"])
    return ReportRow("octane", "1920 x 1080 at 60 by Alpha 5, nobody watches, actor", "% of core", shares)
