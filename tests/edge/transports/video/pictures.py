"""A source that publishes pictures at a rate, and viewers on raw sockets that take as long for each as they are told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import websockets

from router.broker import Broker
from router.event import Event
from router.frame import pack, unpack
from router.nats.bucket import Bucket
from router.rungs import JPEG, Rung, rung_subject
from tests.edge.conftest import UNHURRIED, RunningEdge
from tests.waiting import PATIENCE, eventually, in_time

# As large as a picture of 1280 x 1024, so that the kernels' buffers hold what they hold there.
SIZE = 108_000


class PictureSource:
    """A camera as the relay sees it: its state, and pictures on the subjects of its rungs."""

    def __init__(self, broker: Broker, entity: str, size: int = SIZE) -> None:
        self.broker, self.entity, self.body = broker, entity, bytes(size)
        self.seq, self.life = 0, int(time.time() * 1000)

    async def known(self) -> PictureSource:
        await self.broker.publish(Event.new(f"camera.{self.entity}.state", {"status": "streaming", "height": 1024}))
        return self

    async def watched(self) -> None:
        """Waits until viewers are sent what comes from now on: a socket is `ready` before its process has subscribed."""
        leases = Bucket(self.broker.connection, "LEASES")
        await eventually(lambda: leases.entries(f"view.camera.{self.entity}.>"))

    def header(self, rung: Rung = JPEG, **more: Any) -> dict[str, Any]:
        return {
            "seq": self.seq, "life": self.life, "time": time.time() * 1000, "width": 1280, "height": rung.height or 1024,
            "format": rung.codec, "rung": rung.token, "fresh": True, **more,
        }  # fmt: skip

    async def send(self, rung: Rung = JPEG, size: int | None = None, **more: Any) -> None:
        body = self.body if size is None else bytes(size)
        await self.broker.frame(rung_subject(self.entity, rung), pack(self.header(rung, **more), body))

    @contextlib.asynccontextmanager
    async def streaming(self, fps: float, *rungs: Rung, key_every: int = 60) -> AsyncIterator[None]:
        """Sends each rung's pictures at a rate for as long as the block lasts."""

        async def run() -> None:
            loop, number = asyncio.get_running_loop(), 0
            begun = loop.time()
            while True:
                number += 1
                await asyncio.sleep(max(0.0, begun + number / fps - loop.time()))
                self.seq += 1
                for rung in rungs or (JPEG,):
                    packet = {} if rung.independent else {"packet": self.seq, "key": number % key_every == 1}
                    await self.send(rung, **packet)

        task = asyncio.ensure_future(run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class SocketViewer:
    """A WebSocket client that shows pictures, each in its own time, and says so where it `acknowledges`."""

    def __init__(self, connection: websockets.ClientConnection, acknowledges: bool = True) -> None:
        self.socket, self.acknowledges = connection, acknowledges
        self.told: list[dict[str, Any]] = []
        self.seen: list[dict[str, Any]] = []
        # Milliseconds from the capture until the picture had come.
        self.ages: list[float] = []

    async def next(self) -> dict[str, Any]:
        """The header of the next picture."""
        while True:
            message = await in_time(self.socket.recv())
            if isinstance(message, str):
                self.told.append(json.loads(message))
                continue
            header, _ = unpack(message)
            self.seen.append(header)
            self.ages.append(time.time() * 1000 - header["time"])
            return header

    async def show(self, header: dict[str, Any], **more: Any) -> None:
        await self.socket.send(json.dumps({"control": "shown", "seq": header["seq"], "life": header["life"], **more}))

    async def watch(self, seconds: float, each: float = 0.0) -> None:
        """Shows pictures for so long, each of which takes a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            header = await self.next()
            await asyncio.sleep(each)
            if self.acknowledges:
                await self.show(header)

    async def control(self, name: str) -> dict[str, Any]:
        """The next message of that name."""
        while True:
            if (said := next((each for each in self.told if each["control"] == name), None)) is not None:
                self.told.remove(said)
                return said
            message = await in_time(self.socket.recv())
            if isinstance(message, str):
                self.told.append(json.loads(message))


@contextlib.asynccontextmanager
async def watching(
    edge: RunningEdge, entity: str, query: str = "", acknowledges: bool = True
) -> AsyncIterator[SocketViewer]:
    """A viewer over WebSocket that reads nothing ahead, as a slow browser does not."""
    address = f"ws://127.0.0.1:{edge.port}/cameras/{entity}/ws{query}"
    async with websockets.connect(address, max_size=None, max_queue=1, compression=None, **UNHURRIED) as connection:
        try:
            yield SocketViewer(connection, acknowledges)
        finally:
            # With a full queue the client reads nothing, not even the answer to its close frame, and would wait 10 s for it.
            connection.transport.abort()


# As much as asyncio's transports read at once: more than two pictures.
READ_AHEAD = 256 * 1024


def watch_mjpeg(edge: RunningEdge, entity: str, seconds: float, each: float) -> list[float]:
    """Reads an MJPEG stream for so long, a picture at a time, each of which takes a while; returns the age of each in ms.

    For a thread. It reads ahead as most clients do, so a picture may lie in its own memory too.
    """
    ages = []
    with socket.create_connection(("127.0.0.1", edge.port), timeout=PATIENCE) as connection:
        connection.sendall(f"GET /cameras/{entity}/mjpeg HTTP/1.1\r\nHost: 127.0.0.1:{edge.port}\r\n\r\n".encode())
        stream = connection.makefile("rb", buffering=READ_AHEAD)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            while (line := stream.readline()) and not line.startswith(b"X-Timestamp:"):
                if line.startswith(b"Content-Length:"):
                    size = int(line.partition(b":")[2])
            captured = float(line.partition(b":")[2])
            while stream.readline() not in (b"\r\n", b""):
                pass
            stream.read(size)
            ages.append(time.time() * 1000 - captured)
            time.sleep(each)
    return ages


@contextlib.asynccontextmanager
async def beside(edge: RunningEdge, entity: str, query: str = "") -> AsyncIterator[SocketViewer]:
    """A viewer that shows each picture at once: what it sees late, the machine kept waiting, and every viewer with it."""
    async with watching(edge, entity, query) as viewer:
        showing = asyncio.ensure_future(viewer.watch(10 * PATIENCE))
        try:
            yield viewer
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)


def high(values: list[float], share: float = 0.99) -> float:
    """The value that so many do not exceed."""
    return sorted(values)[int(share * (len(values) - 1))]
