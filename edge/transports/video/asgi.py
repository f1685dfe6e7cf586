"""Writes pictures by plain ASGI, where a socket cannot be taken over: the same deliveries, with a task for each connection."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from edge import metrics
from edge.disconnect import Disconnect
from edge.transports.abort import cut
from edge.transports.flow import drained, hold_little, limit, unread
from edge.transports.video.delivery import PictureDelivery
from edge.transports.video.frame import OPENING, Frame
from edge.transports.video.mp4_viewer import Mp4Messages

# Messages of text that wait for a client that does not read; of more the oldest is dropped.
MOST_TOLD = 32


class AsgiSink(ABC):
    """One connection as ASGI has it."""

    transport = ""
    probes = False

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._picture: list[bytes] | None = None
        self._told: deque[Mapping[str, Any]] = deque(maxlen=MOST_TOLD)
        self._closing: Disconnect | None = None
        self._aborted = self._writing = False
        self._wake = asyncio.Event()

    async def run(self, begin: Callable[[AsgiSink], PictureDelivery]) -> None:
        """Serves the connection until either side ends it."""
        hold_little(self._scope)
        delivery = begin(self)
        tasks = {asyncio.ensure_future(self._read(delivery)), asyncio.ensure_future(self._write(delivery))}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, delivery: PictureDelivery) -> None:
        while not self._aborted:
            await self._wake.wait()
            self._wake.clear()
            while self._told:
                await self._say(self._told.popleft())
            if (picture := self._picture) is not None:
                self._picture, self._writing = None, True
                for each in picture:
                    await self._send(self._message(each))
                await drained(self._scope)
                self._writing = False
                delivery.resumed()
            if self._closing is not None:
                await self._finish(self._closing)
                return

    # Called by the delivery.

    @property
    def writable(self) -> bool:
        return self._picture is None and not self._writing and self._closing is None

    @property
    def waiting(self) -> int:
        return 0

    def write(self, frame: Frame, mp4: Mp4Messages | None) -> int:
        made = self._form(frame) if mp4 is None else list(mp4.of(frame))
        if made:
            self._picture = made
            self._wake.set()
        return sum(map(len, made))

    def tell(self, said: Mapping[str, Any]) -> None:
        self._told.append(said)
        self._wake.set()

    def probe(self, number: int) -> None:
        raise NotImplementedError("ASGI has no pings")

    @property
    def unread(self) -> int:
        return unread(self._scope)

    def narrow(self, size: int) -> None:
        limit(self._scope, size)

    def close(self, reason: Disconnect) -> None:
        if self._closing is None:
            metrics.disconnects.labels(self.transport, reason.reason).inc()
            self._closing = reason
            self._wake.set()

    def abort(self) -> None:
        self._aborted = True
        self._wake.set()
        cut(self._scope)

    # What each transport does in its own way.

    @abstractmethod
    def _form(self, frame: Frame) -> list[bytes]:
        """The bytes of a picture."""

    @abstractmethod
    def _message(self, form: bytes) -> Message:
        """The message that sends them."""

    @abstractmethod
    async def _say(self, said: Mapping[str, Any]) -> None:
        """Sends a message of text."""

    @abstractmethod
    async def _finish(self, reason: Disconnect) -> None:
        """Ends the connection."""

    @abstractmethod
    async def _read(self, delivery: PictureDelivery) -> None:
        """Reads until the client has left."""


class AsgiPictureSocket(AsgiSink):
    """A WebSocket that has been accepted."""

    transport = "websocket"

    def _form(self, frame: Frame) -> list[bytes]:
        return [frame.payload]

    def _message(self, form: bytes) -> Message:
        return {"type": "websocket.send", "bytes": form}

    async def _say(self, said: Mapping[str, Any]) -> None:
        await self._send({"type": "websocket.send", "text": json.dumps(said)})

    async def _finish(self, reason: Disconnect) -> None:
        bye = {"reason": reason.reason, "code": reason.code, "reconnect": reason.reconnect}
        await self._say({"control": "bye", **bye, "delay_ms": int(reason.delay * 1000)})
        await self._send({"type": "websocket.close", "code": reason.code, "reason": reason.reason})

    async def _read(self, delivery: PictureDelivery) -> None:
        while (message := await self._receive())["type"] == "websocket.receive":
            if (answer := delivery.hear(message.get("text") or message.get("bytes") or b"")) is not None:
                self.tell(answer)


class AsgiPictureStream(AsgiSink):
    """An MJPEG stream whose head has been sent."""

    transport = "mjpeg"

    def _form(self, frame: Frame) -> list[bytes]:
        return [frame.part]

    def _message(self, form: bytes) -> Message:
        return {"type": "http.response.body", "body": form, "more_body": True}

    async def _say(self, said: Mapping[str, Any]) -> None:
        """There is no place for it in a stream of pictures."""

    async def _finish(self, reason: Disconnect) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def _read(self, delivery: PictureDelivery) -> None:
        await self._send(self._message(OPENING))
        while (await self._receive())["type"] != "http.disconnect":
            pass
