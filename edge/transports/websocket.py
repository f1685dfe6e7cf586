"""Serves a session over a WebSocket through plain ASGI, where the socket cannot be taken over."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from edge import metrics
from edge.disconnect import BAD_CURSOR, BAD_FRAME, COMPLETED, SILENT, Disconnect
from edge.hub.hub import Hub
from edge.hub.meter import Meter
from edge.hub.reader import Reader, open_reader
from edge.stats import Stats
from edge.transports.abort import abort
from edge.transports.control import OPENING_TIMEOUT, Opening, answer, read_opening
from edge.transports.encoders import text_encoder
from edge.transports.flow import drained
from edge.types import Notice, ReadRequest
from edge.view import Pace
from router.cursor import Start

# 64 kB: what a client has to say is a control object.
MAX_MESSAGE = 64 * 1024


class _Reader(Reader):
    __slots__ = ()

    transport_name = "websocket"


class SocketReader:
    """One WebSocket that reads one session, and answers what its client says."""

    def __init__(
        self, hub: Hub, asked: ReadRequest, start: Start | Opening, stats: Stats, pace: Pace, socket: WebSocket
    ) -> None:
        self._hub = hub
        self._asked = asked
        self._start = start
        self._stats = stats
        self._pace = pace
        self._socket = socket
        # Answers and events are written by two tasks; each message goes out whole.
        self._writing = asyncio.Lock()
        # Set once the first notice is sent: what is said to a conversation of its own is answered behind it.
        self._begun = asyncio.Event()

    async def run(self) -> None:
        """Serves the socket until either side ends it."""
        start = await self._opened(self._start) if callable(self._start) else self._start
        if start is None:
            return
        gauge = metrics.readers.labels("websocket")
        view, session_id = self._asked.view, self._asked.session_id
        async with open_reader(self._hub, view, session_id, self._stats, self._pace, kind=_Reader) as reader:
            reader.authorize(self._asked.authorization)
            self._stats.websockets += 1
            self._stats.served += 1
            gauge.inc()
            listening = asyncio.ensure_future(self._listen(reader))
            pumping = asyncio.ensure_future(self._pump(reader, start))
            try:
                await asyncio.wait((listening, pumping), return_when=asyncio.FIRST_COMPLETED)
                if not pumping.done() and listening.exception() is None and (broken := listening.result()) is not None:
                    # The client broke the protocol: say bye, then close.
                    reader.close(broken)
                    await asyncio.wait((pumping,), timeout=self._hub.settings.send_timeout)
                for task in (listening, pumping):
                    if task.done() and not task.cancelled() and (failure := task.exception()) is not None:
                        if isinstance(failure, TimeoutError):
                            abort(self._socket.scope, "websocket")
                        elif not isinstance(failure, (WebSocketDisconnect, OSError)):
                            raise failure
            finally:
                for task in (listening, pumping):
                    task.cancel()
                await asyncio.gather(listening, pumping, return_exceptions=True)
                self._stats.websockets -= 1
                gauge.dec()

    async def send_whole(self, message: str | bytes) -> None:
        """Sends a message that is no event, and waits until its client has taken nearly all of it: events wait behind it.

        Raises WebSocketDisconnect or OSError where the client has gone.
        """
        kind = "text" if isinstance(message, str) else "bytes"
        async with self._writing:
            await self._socket.send({"type": "websocket.send", kind: message})
            await drained(self._socket.scope)

    async def _opened(self, opening: Opening) -> Start | None:
        """Waits for the client to say where it begins; None where it has not, and was sent an error."""
        try:
            async with asyncio.timeout(OPENING_TIMEOUT):
                while True:
                    message = await self._socket.receive()
                    if message["type"] == "websocket.disconnect":
                        return None
                    found = read_opening(
                        message.get("text") or message.get("bytes") or b"", opening, self._asked.dialect
                    )
                    if isinstance(found, Start):
                        return found
                    await self._socket.send_text(self._asked.dialect.answers(found).decode())
                    if found["control"] == "error":
                        await self._close(BAD_CURSOR)
                        return None
        except TimeoutError:
            await self._close(SILENT)
            return None

    async def _pump(self, reader: Reader, start: Start) -> None:
        encoder = text_encoder(self._asked)
        timeout = self._hub.settings.send_timeout
        meter = Meter("websocket")
        send = self._socket.send
        async with aclosing(reader.read(start)) as steps:
            async for step in steps:
                async with self._writing, asyncio.timeout(timeout):
                    texts = encoder.notice(step) if isinstance(step, Notice) else encoder.encode(step)
                    for text in texts:
                        await send({"type": "websocket.send", "text": text})
                self._begun.set()
                if not isinstance(step, Notice):
                    meter.wrote(step, sum(map(len, texts)))
                    if encoder.over:
                        reader.close(COMPLETED)
                elif step.control == "bye":
                    await self._close(Disconnect(step.body["code"], step.body["reason"]))
                    return

    async def _listen(self, reader: Reader) -> Disconnect | None:
        """Reads what the client says; returns why it must be cut off, or None where it left."""
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return None
            raw: str | bytes = message.get("text") or message.get("bytes") or b""
            if len(raw) > MAX_MESSAGE:
                return BAD_FRAME
            hear = self._asked.hear
            if hear is not None:
                await self._begun.wait()
            dialect = self._asked.dialect
            said = (dialect.answers(answer(raw, reader, dialect)),) if hear is None else hear(raw, reader)
            async with self._writing:
                for reply in said:
                    await self._socket.send({"type": "websocket.send", "text": reply.decode()})

    async def _close(self, reason: Disconnect) -> None:
        metrics.disconnects.labels("websocket", reason.reason).inc()
        if self._socket.application_state is not WebSocketState.DISCONNECTED:
            await self._socket.close(reason.code, reason.reason)
