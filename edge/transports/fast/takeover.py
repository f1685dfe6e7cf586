"""Takes connections over from uvicorn after their handshake, and ends them when the process does."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from edge.dialects import DIALECTS
from edge.disconnect import SHUTDOWN
from edge.hub.hub import Hub
from edge.settings import LaneSettings
from edge.stats import Stats
from edge.transports import sse
from edge.transports.encoders import DeflatedWire, FrameWire
from edge.transports.fast.connection import LaneReader
from edge.transports.fast.sse import StreamLane
from edge.transports.fast.sweeper import Sweeper
from edge.transports.fast.upgrade import EXTENSION, SocketHandover, StreamHandover
from edge.transports.fast.websocket import SocketLane
from edge.transports.websocket import Opening
from edge.types import ReadRequest
from edge.view import Pace
from router.cursor import Start

FRAMES = {name: FrameWire(name, dialect) for name, dialect in DIALECTS.items()}
DEFLATED = {name: DeflatedWire(name, dialect) for name, dialect in DIALECTS.items()}


class Lanes:
    """Takes connections over, and ends them when their process does."""

    def __init__(self, hub: Hub, settings: LaneSettings | None = None) -> None:
        self.hub = hub
        self.sweeper = Sweeper(settings)
        self._finishing = False

    # Taking over. Each says no where the connection is to be served by ASGI; raises BrokerError.

    async def take_socket(
        self, scope: Scope, asked: ReadRequest, start: Start | Opening, stats: Stats, pace: Pace
    ) -> bool:
        """Takes over a WebSocket that has been accepted."""
        handover: SocketHandover | None = scope.get("extensions", {}).get(EXTENSION)
        if handover is None or pace.max_rate:
            return False
        wire = (DEFLATED if handover.compresses else FRAMES)[asked.dialect]
        feed = await self.hub.join(asked.view)
        lane = SocketLane(self.hub, self.sweeper, feed, asked.session_id, stats, wire, pace)
        lane.authorize(asked.authorization)
        return self._begun(lane, handover.detach(lane), start)

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
        handover: StreamHandover | None = scope.get("extensions", {}).get(EXTENSION)
        if handover is None or pace.max_rate or not handover.available(scope):
            return False
        feed = await self.hub.join(asked.view)
        wires = sse.CHUNKED if handover.chunks else sse.WIRES
        lane = StreamLane(self.hub, self.sweeper, feed, asked.session_id, stats, wires[asked.dialect], pace)
        handover.open_ended()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": sse.HEADERS})
        except BaseException:
            lane.end()
            raise
        # Not before: who is closed while the head is written would have no connection to hear of it.
        lane.authorize(asked.authorization)
        if not self._begun(lane, handover.detach(lane), start):
            # The client left between request and answer.
            await send({"type": "http.response.body", "body": b""})
        return True

    def _begun(self, lane: LaneReader, taken: bool, start: Start | Opening) -> bool:
        if not taken:
            lane.end()
        elif self._finishing:
            lane.close(SHUTDOWN)
        elif isinstance(lane, SocketLane) and callable(start):
            lane.listen_for(start)
        elif not callable(start):
            lane.begin(start)
        return taken

    async def run(self) -> None:
        """Looks after the connections until cancelled."""
        await self.sweeper.run(self.cut)

    async def finish(self) -> None:
        """Says `bye` to whoever is left, waits until all connections are closed, and cuts those that take too long."""
        self._finishing = True
        for reader in tuple(self.hub.readers):
            if isinstance(reader, LaneReader):
                reader.close(SHUTDOWN)
        try:
            async with asyncio.timeout(self.sweeper.settings.grace):
                await self.sweeper.emptied()
        except TimeoutError:
            self.cut()

    def cut(self) -> None:
        """Ends every connection at once, whatever was not sent."""
        for reader in (*self.hub.readers, *self.sweeper.owing):
            if isinstance(reader, LaneReader):
                reader.cut()
