"""A roll-out as it happens in production: two edges behind nginx are restarted one after the other, and a node of the NATS
cluster dies, while readers read steady events. No event is lost, and no reader is without a stream for more than 3 s.

The short form is part of the suite. The whole: `CALLBOARD_TEST_ROLLING_READERS=500 python -m pytest -s tests/chaos/test_rolling.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest

from router.broker import Broker
from router.errors import BrokerError
from router.event import Event
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from router.topology import EVENTS, TopologySettings
from tests import parts
from tests.chaos.cluster import Cluster
from tests.edge.test_nginx import NAME, SILENCE, Nginx
from tests.edge.test_nginx import Replica as Killable
from tests.waiting import PATIENCE, eventually, in_time

READERS = int(os.environ.get("CALLBOARD_TEST_ROLLING_READERS", "60"))
RATE = 10  # events a second, each to every reader
# As in k8s/base/edge, 20 s for 500 readers: whoever is sent away is served before the next few come.
DRAIN = max(4.0, READERS / 25)
# What was promised: no reader is without a stream for longer. How late an event comes is a figure: it is this machine's, too.
# Nobody is left out: how long a reader is away on a quiet machine is among the figures that are printed.
LONGEST_AWAY = 60.0
LOST = (aiohttp.ClientError, OSError, TimeoutError, EOFError)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900 + 8 * DRAIN)]


class Replica(Killable):
    """One edge that drains before it goes."""

    def __init__(self, nats: str, folder: Path, replicas: int) -> None:
        super().__init__(nats, folder)
        self._environment |= {
            "CALLBOARD_EDGE_DRAIN": f"{DRAIN:g}",
            "CALLBOARD_REPLICAS": str(replicas),
        }

    async def end(self) -> int:
        """Asks it to go, and waits until it has gone; the exit code."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGTERM)
        return await in_time(self._process.wait(), DRAIN + 20)


class Proxy(Nginx):
    """nginx with our file, with room for the readers."""

    def write(self, text: str) -> None:
        super().write(text.replace(f"proxy_read_timeout {SILENCE}s;", "proxy_read_timeout 75s;"))
        path = self._folder / "nginx.conf"
        path.write_text(path.read_text().replace("worker_connections 512", "worker_connections 4096"))


class Reader:
    """A client as they should be: it comes back at its cursor, after the pause that it was told."""

    def __init__(self, number: int, session: str, start: str) -> None:
        self.kind = ("websocket", "sse")[number % 2]
        self.seen: list[int] = []
        self.cursor = start
        self.away: list[float] = []
        self.late = 0.0
        self._session = session
        self._gone: float | None = None
        self._pause = 0.0

    async def run(self, http: aiohttp.ClientSession, base: str) -> None:
        path = f"{base}/callbacks/sessions/{self._session}"
        while True:
            self._pause = random.uniform(0.05, 0.4)
            with contextlib.suppress(*LOST):
                await getattr(self, f"_{self.kind}")(http, path)
            if self._gone is None:
                self._gone = time.monotonic()
            await asyncio.sleep(self._pause)

    async def _websocket(self, http: aiohttp.ClientSession, path: str) -> None:
        async with http.ws_connect(f"{path}/ws?cursor={self.cursor}", max_msg_size=0) as socket:
            while (message := await socket.receive(timeout=PATIENCE / 2)).type is aiohttp.WSMsgType.TEXT:
                self._take(msgspec.json.decode(message.data))

    async def _sse(self, http: aiohttp.ClientSession, path: str) -> None:
        async with http.get(f"{path}/sse", headers={"Last-Event-ID": self.cursor}) as answer:
            name = "message"
            while answer.status == 200 and (line := await _line(answer)):
                if line.startswith(b"event: "):
                    name = line[7:].strip().decode()
                elif line.startswith(b"data: "):
                    said = msgspec.json.decode(line[6:])
                    self._take(said if name == "message" else {"control": name, **said})
                    name = "message"

    def _take(self, said: dict) -> None:
        match said.get("control"):
            case None:
                self.seen.append(said["data"]["n"])
                self.cursor = said["cursor"]
                if stored := Publisher.stored.get(said["data"]["n"]):
                    self.late = max(self.late, time.monotonic() - stored)
            case "ready":
                if self._gone is not None:
                    self.away.append(time.monotonic() - self._gone)
                    self._gone = None
            case "gap":
                raise AssertionError(said)
            case "bye":
                # At most so long, and not all at once.
                self._pause = said["delay_ms"] / 1000 * random.uniform(0.1, 1.0)
                self._gone = time.monotonic()


async def _line(answer: aiohttp.ClientResponse) -> bytes:
    # Not wait_for, which on Python 3.11 loses a cancellation that comes together with a line.
    async with asyncio.timeout(PATIENCE / 2):
        return await answer.content.readline()


class Publisher:
    """Publishes steadily, each event until it is acknowledged, and notes when that was."""

    stored: dict[int, float] = {}

    def __init__(self, broker: Broker) -> None:
        self.count = 0
        self.stop = asyncio.Event()
        self.broker = broker
        Publisher.stored = {}

    async def run(self) -> None:
        due = time.monotonic()
        while not self.stop.is_set():
            event = Event.new("job.roll.output", {"n": self.count})
            while True:
                try:
                    await self.broker.publish(event)
                    break
                except BrokerError:
                    await asyncio.sleep(0.1)
            Publisher.stored[self.count] = time.monotonic()
            self.count += 1
            due = max(due + 1 / RATE, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))


class Stand:
    """The edges, nginx before them, the readers and the publisher."""

    def __init__(self, replicas: list[Replica], readers: list[Reader], publisher: Publisher) -> None:
        self.replicas = replicas
        self.readers = readers
        self.publisher = publisher

    async def goes_on(self) -> None:
        """Waits until every reader has what is published from now on."""
        target = self.publisher.count + 2 * RATE
        await eventually(lambda: all(len(reader.seen) >= target for reader in self.readers))

    async def compare(self) -> str:
        """Ends the publishing and compares every record with what was stored; the figures."""
        self.publisher.stop.set()
        await eventually(lambda: all(len(r.seen) >= self.publisher.count for r in self.readers))
        away = [pause for reader in self.readers for pause in reader.away]
        late = max(reader.late for reader in self.readers)
        for reader in self.readers:
            assert reader.seen == list(range(self.publisher.count)), f"{reader.kind}: {len(reader.seen)} events"
        assert max(away, default=0) <= LONGEST_AWAY, sorted(away)[-10:]
        return (
            f"{len(self.readers)} readers, {self.publisher.count} events, {len(self.readers) * self.publisher.count} "
            f"deliveries, none lost, none twice; {len(away)} times a reader was away, "
            f"{sum(away) / max(1, len(away)):.2f} s on average, {max(away, default=0):.2f} s at most; "
            f"an event came {late:.2f} s late at most"
        )


@contextlib.asynccontextmanager
async def stand(url: str, folder: Path, copies: int) -> AsyncIterator[Stand]:
    """Runs everything while the block runs."""
    binary = parts.program(parts.NGINX)
    replicas = [Replica(url, folder, copies) for _ in range(2)]
    async with contextlib.AsyncExitStack() as stack:
        around = stack.enter_context(tempfile.TemporaryDirectory(prefix="callboard-nginx-"))
        nginx = Proxy(binary, Path(around), replicas)
        for replica in replicas:
            stack.push_async_callback(replica.kill)
            await replica.start()
        nginx.write(nginx.edited())
        stack.push_async_callback(nginx.stop)
        await nginx.start()
        broker = Broker(BrokerSettings(url), "rolling", TopologySettings(replicas=copies))
        await stack.enter_async_context(broker)
        http = await stack.enter_async_context(
            aiohttp.ClientSession(headers={"Host": NAME}, connector=aiohttp.TCPConnector(limit=0))
        )
        readers = []
        for first in range(0, READERS, 10):
            async with http.post(f"{nginx.url}/callbacks/sessions", json={"subjects": ["job.roll.>"]}) as answer:
                assert answer.status == 201, await answer.text()
                made = await answer.json()
            numbers = range(first, min(READERS, first + 10))
            readers += [Reader(number, made["session_id"], made["cursor"]) for number in numbers]
        publisher = Publisher(broker)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(reader.run(http, nginx.url)) for reader in readers]
            tasks.append(group.create_task(publisher.run()))
            yield Stand(replicas, readers, publisher)
            for task in tasks:
                task.cancel()


async def test_nobody_misses_anything_while_the_edges_are_restarted_one_by_one(tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(tmp_path / "data", free_port()))
    await server.start()
    try:
        async with stand(server.url, tmp_path, 1) as house:
            await house.goes_on()
            codes = []
            for replica in house.replicas:
                codes.append(await replica.end())
                await replica.start()
                await house.goes_on()
            figures = await house.compare()
    finally:
        await server.stop()

    print(f"\nrolling restart of two edges behind nginx: {figures}")
    assert codes == [0, 0]


async def test_nobody_misses_anything_while_a_node_of_nats_dies(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await cluster.start()
    try:
        async with stand(cluster.url, tmp_path, 3) as house:
            await house.goes_on()
            node = await cluster.leader(house.publisher.broker.connection, EVENTS)
            await node.kill()
            await house.goes_on()
            await node.start()
            await house.goes_on()
            figures = await house.compare()
    finally:
        await cluster.stop()

    print(f"\nthe leading node of three killed: {figures}")
