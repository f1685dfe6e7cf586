"""This file is where the handed-over connections of one process are looked after: their tasks, deadlines and their end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from starlette.types import Scope, Send

from edge.dialects import DIALECTS
from edge.disconnect import SHUTDOWN
from edge.hub import Hub
from edge.lane.handover import EXTENSION, SocketHandover, StreamHandover
from edge.lane.meter import Meter
from edge.lane.reader import LaneReader
from edge.lane.socket import SocketLane
from edge.lane.stream import StreamLane
from edge.settings import LaneSettings
from edge.stats import Stats
from edge.transports import sse
from edge.transports.websocket import Opening
from edge.transports.wires import DeflatedWire, FrameWire
from edge.types import Pace, ReadRequest, Wire
from router.cursor import Start

FRAMES = {name: FrameWire(name, dialect) for name, dialect in DIALECTS.items()}
DEFLATED = {name: DeflatedWire(name, dialect) for name, dialect in DIALECTS.items()}

# How often deadlines are looked at; they are seconds long.
LOOK_SECONDS = 0.5


class Lanes:
    """All lanes of one process. No lane has a task or a timer of its own while all is well."""

    def __init__(self, hub: Hub, settings: LaneSettings | None = None) -> None:
        self.hub = hub
        self.settings = settings or LaneSettings()
        self.meters = {name: Meter(name) for name in ("websocket", "sse")}
        # Counts the pings that are due: a lane that sees it changed sends one with its next heartbeat.
        self.round = 0
        self._finishing = False
        self._open = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._group: asyncio.TaskGroup | None = None
        # The few lanes that owe something: by when, and how much was waiting to be written at the last look.
        self._owing: dict[LaneReader, tuple[float, float, int]] = {}
        self._pulse: tuple[tuple[Wire, str, int, int], bytes] | None = None

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
        lane = SocketLane(self, feed, asked.session_id, stats, wire, pace)
        lane.authorize(asked.authorization)
        return self._begun(lane, handover.detach(lane), start)

    async def take_stream(
        self, scope: Scope, send: Send, asked: ReadRequest, start: Start, stats: Stats, pace: Pace
    ) -> bool:
        """Takes over a request for server-sent events: its head is written by ASGI, with what middleware adds to it."""
        handover: StreamHandover | None = scope.get("extensions", {}).get(EXTENSION)
        if handover is None or pace.max_rate or not handover.available(scope):
            return False
        feed = await self.hub.join(asked.view)
        wires = sse.CHUNKED if handover.chunks else sse.WIRES
        lane = StreamLane(self, feed, asked.session_id, stats, wires[asked.dialect], pace)
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

    # Looking after them.

    async def run(self) -> None:
        """Looks after the lanes until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                while True:
                    await asyncio.sleep(LOOK_SECONDS)
                    self._look()
            finally:
                self._group = None
                self.cut()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Runs something short for a lane, as a child of this; not any more once this has ended."""
        if self._group is None:
            work.close()
            return None
        return self._group.create_task(work)

    def opened(self, _lane: LaneReader) -> None:
        self._open += 1
        self._empty.clear()

    def lost(self, lane: LaneReader) -> None:
        self._owing.pop(lane, None)
        self._open -= 1
        if self._open == 0:
            self._empty.set()

    def expect(self, lane: LaneReader, seconds: float) -> None:
        """Sets a lane's deadline: its socket drains, or closes, by then."""
        self._owing[lane] = (time.monotonic() + seconds, seconds, lane.waiting)

    def expected(self, lane: LaneReader) -> None:
        self._owing.pop(lane, None)

    def _look(self) -> None:
        now = time.monotonic()
        self.round = int(now / self.settings.ping)
        for lane, (deadline, seconds, before) in list(self._owing.items()):
            if now >= deadline:
                del self._owing[lane]
                waiting = lane.overdue(before)
                if waiting is not None:
                    self._owing[lane] = (now + seconds, seconds, waiting)

    def pulse(self, wire: Wire, control: str, lane: LaneReader) -> bytes:
        """A heartbeat in a wire's form: readers that are beaten together and stand at one place share its bytes."""
        # 10 ms: as old as the time in it may be.
        key = (wire, control, lane.position, int(time.monotonic() * 100))
        if self._pulse is not None and self._pulse[0] == key:
            return self._pulse[1]
        said: bytes = wire.notice(lane.heartbeat(control))
        self._pulse = (key, said)
        return said

    async def finish(self) -> None:
        """Says `bye` to whoever is left, waits until all connections are closed, and cuts those that take too long."""
        self._finishing = True
        for reader in tuple(self.hub.readers):
            if isinstance(reader, LaneReader):
                reader.close(SHUTDOWN)
        try:
            async with asyncio.timeout(self.settings.grace):
                await self._empty.wait()
        except TimeoutError:
            self.cut()

    def cut(self) -> None:
        """Ends every connection at once, whatever was not sent."""
        for reader in (*self.hub.readers, *self._owing):
            if isinstance(reader, LaneReader):
                reader.cut()
