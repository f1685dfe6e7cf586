"""Chaos: sockets, edge replicas and the nats-server die at random while readers of every kind read on.

Each reader keeps what it got and the cursor it got it with, and after each loss comes back at that cursor, on whichever
replica and transport comes up. In the end its record must equal the stream's: in order, nothing lost, nothing twice.

The short run is part of the suite. The long one: `CALLBOARD_TEST_CHAOS_SECONDS=180 python -m pytest -s tests/chaos`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket as sockets
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest

from ops.launch import own_argv
from router.broker import Broker
from router.cursor import Cursor
from router.errors import BrokerError
from router.event import Event
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from tests.waiting import PATIENCE, eventually, in_time

SECONDS = float(os.environ.get("CALLBOARD_TEST_CHAOS_SECONDS", "8"))
LONG = SECONDS > 60
# The short run makes the same plan each time, the long one a new one.
SEED = int(os.environ.get("CALLBOARD_TEST_CHAOS_SEED", "0")) or (random.SystemRandom().randrange(2**32) if LONG else 1)
RATE = 200  # events a second
READERS = 12
# What a client that lost its connection may meet.
LOST = (aiohttp.ClientError, OSError, TimeoutError, EOFError)


class Replica:
    """One edge as a process of its own, started again whenever it is killed."""

    def __init__(self, nats: str, folder: Path, **variables: str) -> None:
        """Variables are given without their prefix: DEDUP_WINDOW=…"""
        self.port = free_port()
        self._variables = {f"CALLBOARD_{name}": value for name, value in variables.items()}
        self._nats = nats
        self._folder = folder
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        own = {"CALLBOARD_NATS_URL": self._nats, "CALLBOARD_DATA_DIR": str(self._folder), **self._variables}
        with (self._folder / f"edge-{self.port}.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *own_argv("edge", "--port", str(self.port)),
                env={**os.environ, **own},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def kill(self) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Reader:
    """A client that wants every event, whatever happens to its connections."""

    def __init__(self, number: int, rng: random.Random, replicas: list[Replica], session: str, start: str) -> None:
        self.rng = rng
        self.kind = ("websocket", "sse", "polling")[number % 3]
        self.mixed = number >= READERS // 2  # half of them change their transport at every reconnect
        self.slow = number % 4 == 3
        self.seen: list[int] = []
        self.places: list[int] = []  # of what was seen, in the stream
        self.stalls = 0
        self.rewinds = 0
        self.cursor = start
        self.connects: Counter[str] = Counter()
        self._replicas = replicas
        self._session = session
        self.cut = asyncio.Event()  # set by the chaos: drop the connection now

    async def run(self, http: aiohttp.ClientSession) -> None:
        while True:
            base = f"{self.rng.choice(self._replicas).base}/callbacks/sessions/{self._session}"
            if self.mixed:
                self.kind = self.rng.choice(("websocket", "sse", "polling"))
            self.cut.clear()
            try:
                async with asyncio.timeout(PATIENCE):
                    await getattr(self, f"_{self.kind}")(http, base)
            except LOST:
                pass
            self.connects[self.kind] += 1
            await asyncio.sleep(self.rng.uniform(0.01, 0.2))

    async def _websocket(self, http: aiohttp.ClientSession, base: str) -> None:
        async with http.ws_connect(f"{base}/ws?cursor={self.cursor}", max_msg_size=0) as socket:
            before: int | None = None
            while not self.cut.is_set():
                message = await socket.receive(timeout=15)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return
                before = self._take(msgspec.json.decode(message.data), before)
                await self._dawdle()
            # A cut is no close handshake: the socket is gone.
            if (pipe := socket.get_extra_info("socket")) is not None and pipe.fileno() >= 0:
                # uvloop's own object can do nothing; one of ours for the same connection can.
                with sockets.socket(fileno=os.dup(pipe.fileno())) as raw:
                    raw.shutdown(sockets.SHUT_RDWR)

    async def _sse(self, http: aiohttp.ClientSession, base: str) -> None:
        headers = {"Last-Event-ID": self.cursor}
        async with http.get(f"{base}/sse", headers=headers) as answer:
            before: int | None = None
            name = "message"
            while not self.cut.is_set() and (line := await in_time(answer.content.readline(), PATIENCE / 2)):
                if line.startswith(b"event: "):
                    name = line[7:].strip().decode()
                elif line.startswith(b"data: "):
                    said = msgspec.json.decode(line[6:])
                    before = self._take(said if name == "message" else {"control": name, **said}, before)
                    name = "message"
                    await self._dawdle()
            answer.close()

    async def _polling(self, http: aiohttp.ClientSession, base: str) -> None:
        before: int | None = None
        while not self.cut.is_set():
            async with http.get(f"{base}/events?cursor={self.cursor}&limit=200&wait=2") as answer:
                if answer.status != 200:
                    return
                page = await answer.json()
                assert "gap" not in page, page
                for event in page["events"]:
                    before = self._take(event, before)
                self.cursor = page["next"]
            await self._dawdle()

    def _take(self, said: dict, before: int | None) -> int | None:
        if "control" in said:
            assert said["control"] != "gap", said
            if said["control"] == "bye" and said["reason"] == "events_missed":
                self._go_back(said["cursor"])
            return before
        number = said["data"]["n"]
        assert before is None or number > before, f"{number} after {before} on one connection"
        self.seen.append(number)
        self.cursor = said["cursor"]
        self.places.append(Cursor.parse(self.cursor).sequence)
        return number

    def _go_back(self, cursor: str) -> None:
        """What came after a place will come again, with what was missed in between."""
        self.rewinds += 1
        self.cursor = cursor
        keep = bisect_right(self.places, Cursor.parse(cursor).sequence)
        del self.seen[keep:], self.places[keep:]

    async def _dawdle(self) -> None:
        """A slow reader takes its time, and now and then so much that its socket fills up."""
        if not self.slow:
            return
        if self.rng.random() < 0.01:
            await asyncio.sleep(self.rng.uniform(0.05, 0.5))
        if self.rng.random() < 0.0005:
            self.stalls += 1
            await asyncio.sleep(self.rng.uniform(2.0, min(12.0, SECONDS / 2)))


@contextlib.asynccontextmanager
async def _system(tmp_path: Path) -> AsyncIterator[tuple[EmbeddedServer, list[Replica]]]:
    server = EmbeddedServer(EmbeddedSettings(tmp_path / "data", free_port()))
    await server.start()
    replicas = [Replica(server.url, tmp_path / "data") for _ in range(2)]
    try:
        for replica in replicas:
            await replica.start()
        async with aiohttp.ClientSession() as http:
            for replica in replicas:
                await eventually(lambda: _ready(http, replica))
        yield server, replicas
    finally:
        for replica in replicas:
            await replica.kill()
        await server.stop()


def _narrow(address: aiohttp.typedefs.AddrInfoType) -> sockets.socket:
    """A socket that holds little, so that who does not read is felt soon."""
    family, kind, protocol, *_ = address
    made = sockets.socket(family, kind, protocol)
    made.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 32 * 1024)
    return made


async def _ready(http: aiohttp.ClientSession, replica: Replica) -> bool:
    try:
        async with http.get(f"{replica.base}/readyz") as answer:
            return answer.status == 200
    except LOST:
        return False


@pytest.mark.timeout(SECONDS * 3 + 900)
@pytest.mark.slow
async def test_every_reader_s_record_equals_the_stream_s_whatever_dies(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    faults: Counter[str] = Counter()
    async with _system(tmp_path) as (server, replicas), Broker(BrokerSettings(server.url), "chaos") as broker:
        connector = aiohttp.TCPConnector(limit=0, socket_factory=_narrow)
        async with aiohttp.ClientSession(connector=connector) as http:
            async with http.post(
                f"{replicas[0].base}/callbacks/sessions", json={"subjects": ["job.chaos.>"], "events": ["output"]}
            ) as answer:
                made = await answer.json()
            readers = [
                Reader(n, random.Random(f"{SEED}-{n}"), replicas, made["session_id"], made["cursor"])
                for n in range(READERS)
            ]
            reading = [asyncio.ensure_future(reader.run(http)) for reader in readers]
            stop = asyncio.Event()
            publishing = asyncio.ensure_future(_publish(broker, stop))
            spills = 0
            try:
                await _torment(rng, SECONDS, server, replicas, readers, faults)
                stop.set()
                count = await publishing
                for reader in readers:
                    reader.slow = False  # to catch up, now that nothing dies any more
                stream = await eventually(lambda: _oracle(broker))
                assert sorted(stream) == list(range(count)), "the publisher's own events"
                for reader, task in zip(readers, reading, strict=True):
                    with contextlib.suppress(AssertionError):
                        await eventually(lambda: task.done() or len(reader.seen) >= len(stream))
                    if task.done():
                        task.result()
                for reader in readers:
                    assert reader.seen == stream, _difference(reader, stream)
                # It may have been killed last of all.
                await eventually(lambda: _ready(http, replicas[0]))
                async with http.get(f"{replicas[0].base}/callbacks/sessions/{made['session_id']}/stats") as answer:
                    spills = (await answer.json())["spills"]
            finally:
                for task in (*reading, publishing):
                    task.cancel()
                await asyncio.gather(*reading, publishing, return_exceptions=True)
    connects = sum((reader.connects for reader in readers), Counter())
    print(
        f"\nchaos: seed {SEED}, {sum(faults.values())} faults {dict(faults)}, {len(stream)} events, "
        f"{len(stream) * len(readers)} deliveries to {len(readers)} readers, reconnects {dict(connects)}, "
        f"stalls {sum(reader.stalls for reader in readers)}, sent back {sum(reader.rewinds for reader in readers)}, "
        f"spills by the replicas that were alive last {spills}"
    )


async def _publish(broker: Broker, stop: asyncio.Event) -> int:
    """Publishes numbered events, about RATE a second, each acknowledged before the next batch; survives the server."""
    number = 0
    due = time.monotonic()
    while not stop.is_set():
        batch = [
            Event.new(f"job.chaos.t{n % 7}", {"n": n, "x": "x" * (4000 if n % 4 == 0 else 0)}, type="output")
            for n in range(number, number + RATE // 20)
        ]
        for event in batch:
            while True:
                try:
                    await broker.publish(event)
                    break
                except BrokerError:
                    await asyncio.sleep(0.1)
        number += len(batch)
        due += 0.05
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        due = max(due, time.monotonic() - 1)
    return number


async def _torment(
    rng: random.Random,
    seconds: float,
    server: EmbeddedServer,
    replicas: list[Replica],
    readers: list[Reader],
    faults: Counter[str],
) -> None:
    end = time.monotonic() + seconds
    next_edge, next_nats = time.monotonic() + 1.5, time.monotonic() + 3.0
    while time.monotonic() < end:
        await asyncio.sleep(rng.uniform(0.1, 0.4))
        rng.choice(readers).cut.set()
        faults["socket"] += 1
        if time.monotonic() > next_edge:
            replica = rng.choice(replicas)
            await replica.kill()
            await replica.start()
            faults["edge"] += 1
            next_edge = time.monotonic() + rng.uniform(2.0, 5.0)
        if time.monotonic() > next_nats:
            assert server.process is not None
            server.process.kill()
            await server.process.wait()
            await asyncio.sleep(rng.uniform(0.0, 0.5))
            await server.start()
            faults["nats"] += 1
            next_nats = time.monotonic() + rng.uniform(6.0, 15.0)


async def _oracle(broker: Broker) -> list[int]:
    """The stream itself, read to its end."""
    found: list[int] = []
    after, more = 0, True
    while more:
        page = await broker.read("job.chaos.>", after, 1000)
        found += [record.event.data["n"] for record in page.records if record.event]
        after, more = (page.records[-1].sequence, page.more) if page.records else (after, False)
    return found


def _difference(reader: Reader, stream: list[int]) -> str:
    have, want = Counter(reader.seen), Counter(stream)
    lost, twice = sorted((want - have).elements())[:10], sorted((have - want).elements())[:10]
    return f"seed {SEED}, {reader.kind} mixed={reader.mixed} slow={reader.slow}: lost {lost}, twice {twice}"
