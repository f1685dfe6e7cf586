"""Takes sockets over from uvicorn after their handshake (the fast path), and ends them when the process does."""

from __future__ import annotations

import asyncio
import socket
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from edge.disconnect import SHUTDOWN
from edge.hub.feed import Feed
from edge.hub.hub import Hub
from edge.settings import FastPathSettings
from edge.stats import Stats
from edge.transports.control import Opening
from edge.transports.encoders import bind, frame_encoder, sse_encoder
from edge.transports.fast.connection import FastReader
from edge.transports.fast.sse import FastSse
from edge.transports.fast.sweeper import Sweeper
from edge.transports.fast.upgrade import EXTENSION, SseHandover, WebSocketHandover
from edge.transports.fast.websocket import FastWebSocket
from edge.types import ReadRequest
from edge.view import Pace
from router.cursor import Start

# Where a protocol wants this header, another one beside it would contradict it.
KEEPS = (b"connection", b"keep-alive")


class TakenConnection(NamedTuple):
    """A connection whose request was read, and is answered by `head`; `pipe` is `socket_of` its transport.

    `compresses` says of a WebSocket whether its messages are compressed; None for server-sent events.
    """

    transport: asyncio.Transport
    pipe: socket.socket
    head: bytes = b""
    compresses: bool | None = None


class Takeover:
    """Takes connections over, and ends them when their process does."""

    def __init__(self, hub: Hub, settings: FastPathSettings | None = None) -> None:
        self.hub = hub
        self.sweeper = Sweeper(settings)
        self._finishing = False

    # Taking over. Each says no where the connection is to be served by ASGI; raises BrokerError.

    async def take_socket(
        self, scope: Scope, asked: ReadRequest, start: Start | Opening, stats: Stats, pace: Pace
    ) -> bool:
        """Takes over a WebSocket that has been accepted."""
        handover: WebSocketHandover | None = scope.get("extensions", {}).get(EXTENSION)
        if handover is None:
            return False
        encoder = frame_encoder(asked, handover.compresses)
        feed = await self.hub.join(asked.view)
        reader = FastWebSocket(self.hub, self.sweeper, feed, asked.session_id, stats, encoder, pace)
        reader.hear = asked.hear
        reader.authorize(asked.authorization)
        return self._begun(reader, handover.detach(reader), start)

    def streaming(self, asked: ReadRequest, start: Start, stats: Stats, pace: Pace, otherwise: ASGIApp) -> ASGIApp:
        """Answers a request for server-sent events over its socket where that can be taken over, else as `otherwise` does."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if not await self.take_stream(scope, send, asked, start, stats, pace):
                await otherwise(scope, receive, send)

        return answer

    async def take_stream(
        self, scope: Scope, send: Send, asked: ReadRequest, start: Start, stats: Stats, pace: Pace
    ) -> bool:
        """Takes over a request for server-sent events: its head is written by ASGI, with what middleware adds to it."""
        handover: SseHandover | None = scope.get("extensions", {}).get(EXTENSION)
        if handover is None or not handover.available(scope):
            return False
        feed = await self.hub.join(asked.view)
        encoder = sse_encoder(asked, handover.chunks)
        reader = FastSse(self.hub, self.sweeper, feed, asked.session_id, stats, encoder, pace)
        bind(encoder, reader)
        handover.open_ended(keeps=KEEPS in asked.dialect.headers)
        reader.give_back = handover.returns()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": asked.dialect.headers})
        except BaseException:
            reader.end()
            raise
        # Not before: a reader that is closed while the head is written would have no connection to send `bye` on.
        reader.authorize(asked.authorization)
        if not self._begun(reader, handover.detach(reader), start):
            # The client left between request and answer.
            await send({"type": "http.response.body", "body": b""})
        return True

    def open(
        self, taken: TakenConnection, asked: ReadRequest, feed: Feed, start: Start | Opening, stats: Stats, pace: Pace
    ) -> None:
        """Gives a connection on which nothing was answered yet to a reader, for which `feed` was joined."""
        reader: FastReader
        given = (self.hub, self.sweeper, feed, asked.session_id, stats)
        if taken.compresses is None:
            encoder = sse_encoder(asked, chunked=True)
            reader = FastSse(*given, encoder, pace)
            bind(encoder, reader)
        else:
            reader = socket_reader = FastWebSocket(*given, frame_encoder(asked, taken.compresses), pace)
            socket_reader.hear = asked.hear
        reader.socket = taken.pipe
        reader.authorize(asked.authorization)
        taken.transport.set_protocol(reader)
        reader.connection_made(taken.transport)
        if callable(start):
            taken.transport.write(taken.head)
            socket_reader.listen_for(start)
        else:
            reader.begin(start, taken.head)

    def _begun(self, reader: FastReader, taken: bool, start: Start | Opening) -> bool:
        if not taken:
            reader.end()
        elif self._finishing:
            reader.close(SHUTDOWN)
        elif isinstance(reader, FastWebSocket) and callable(start):
            reader.listen_for(start)
        elif not callable(start):
            reader.begin(start)
        return taken

    async def run(self) -> None:
        """Enforces the deadlines of the connections until cancelled."""
        await self.sweeper.run(self.cut)

    async def finish(self) -> None:
        """Sends `bye` to the readers that are left, waits until all connections are closed, and cuts those that take too long."""
        self._finishing = True
        for reader in tuple(self.hub.readers):
            if isinstance(reader, FastReader):
                reader.close(SHUTDOWN)
        try:
            async with asyncio.timeout(self.sweeper.settings.grace):
                await self.sweeper.emptied()
        except TimeoutError:
            self.cut()

    def cut(self) -> None:
        """Ends every connection at once, whatever was not sent."""
        for reader in (*self.hub.readers, *self.sweeper.with_deadline):
            if isinstance(reader, FastReader):
                reader.cut()
