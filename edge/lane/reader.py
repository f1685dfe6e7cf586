"""This file is where a reader writes by itself: no task, no timer and no queue while it is live and its socket takes all.

A lane is a reader and its connection's protocol in one slotted object. What the hub offers is written at once, in bytes
that all readers of the batch share. While the socket's buffer is full the reader does what every reader does: a small
mailbox, then back to the cursor. A short-lived task replays; it ends where the lane is live.
"""

from __future__ import annotations

import asyncio
import socket
from abc import abstractmethod
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from edge import metrics
from edge.disconnect import FAILED, LOST_STORE, SILENT, SLOW, Disconnect
from edge.session import FULL, Batch, Notice, Pace, Reader, State, Wire, unharmed
from edge.stats import Stats
from router.cursor import Start
from router.errors import BrokerError

if TYPE_CHECKING:
    from edge.hub import Feed
    from edge.lane.lanes import Lanes


class Way(Protocol):
    """Where bytes go out, at once or not at all: what `socket.send` promises."""

    def send(self, data: bytes, /) -> int: ...


class Detour:
    """The way through a transport that does more than pass bytes on, as TLS does."""

    __slots__ = ("_transport",)

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def send(self, data: bytes, /) -> int:
        self._transport.write(data)
        return len(data)


def way_of(transport: asyncio.Transport) -> Way:
    """The shortest way out: the kernel's own call, which saves a tenth of what a small write costs.

    It is in order with the transport's writes for as long as the transport holds nothing back.
    """
    pipe = transport.get_extra_info("socket")
    if pipe is None or transport.get_extra_info("sslcontext") is not None:
        return Detour(transport)
    # A second object for the same descriptor, which is the transport's to close: see `connection_lost`.
    return socket.socket(fileno=pipe.fileno())


class LaneReader(Reader, asyncio.Protocol):
    """One connection that was handed over, reading one session."""

    __slots__ = ("_lanes", "_paused", "_socket", "_task", "_transport", "meter", "way", "wire")

    transport_name: ClassVar[str]

    def __init__(self, lanes: Lanes, feed: Feed, session_id: str, stats: Stats, wire: Wire, pace: Pace = FULL) -> None:
        super().__init__(lanes.hub, feed, session_id, stats, lanes.hub.settings, pace)
        self._lanes = lanes
        self.meter = lanes.meters[self.transport_name]
        self.wire = wire
        self._paused = False
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        # How this tick's bytes go out; None while there is no connection or its buffer is full.
        self.way: Way | None = None
        self._socket: Way | None = None

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of another family than asyncio's, and do the same.
        transport = cast(asyncio.Transport, transport)
        self._transport = transport
        self.way = self._socket = way_of(transport)
        self._hub.readers.add(self)
        self._lanes.opened(self)
        self._count(1)
        # 0: a transport that holds anything back says so at once. What does not fit the kernel's buffer waits as
        # events that all readers share, and not as bytes of this connection's own.
        transport.set_write_buffer_limits(high=0)
        if transport.get_write_buffer_size() and not self._paused:
            self.pause_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.end()
        if isinstance(self._socket, socket.socket):
            self._socket.detach()
        self._transport = self.way = self._socket = None
        self._lanes.lost(self)

    def pause_writing(self) -> None:
        self._paused = True
        self.way = None
        self._lanes.expect(self, self._limits.send_timeout)

    def resume_writing(self) -> None:
        self._paused = False
        if self.state is State.CLOSED:
            return
        self._lanes.expected(self)
        self._empty_mailbox()
        if not self._paused:
            self.way = self._socket
        self._rouse()

    def remainder(self, said: bytes, sent: int) -> None:
        """Leaves to the transport what the socket has not taken; it says when it is through."""
        if self._transport is not None:
            self._transport.write(memoryview(said)[sent:])

    def _empty_mailbox(self) -> None:
        while self._mailbox and not self._paused and self._transport is not None:
            batch = self._fetch()
            self._write(batch)
            self._wrote(batch)

    @property
    def waiting(self) -> int:
        """How many bytes wait in the socket's buffer."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def cut(self) -> None:
        """Ends the connection at once, whatever was not sent."""
        self.end()
        if self._transport is not None:
            self._transport.abort()

    def overdue(self, before: int) -> int | None:
        """Told by the lanes that a deadline is over: cuts the connection, or says how much still waits to be written.

        A client that took some of it since the last look, `before`, is slow and not stalled.
        """
        if self.state is not State.CLOSED:
            if (waiting := self.waiting) < before:
                return waiting
            self._ended(SLOW)
        self.cut()
        return None

    # Called by the hub; these never wait.

    def offer(self, batch: Batch) -> None:
        """Takes a batch that could not be written at once, or only a part of it, or not yet."""
        super().offer(batch)
        self._empty_mailbox()

    def beat(self) -> None:
        """Says that the connection lives, and where it stands."""
        if self._paused or self._transport is None or self.state in (State.CONNECTING, State.CLOSED):
            return
        if self.state is State.LIVE:
            self._hub.flush()
            if self._paused or self.state is not State.LIVE:
                return
            # Nothing waits and the reader is live: all that was heard so far has been written or was not for it.
            self.position = max(self.position, self._hub.position)
        control = "heartbeat" if self.position == self.told else "position"
        self.told = self.position
        self._pulse(self._lanes.pulse(self.wire, control, self))

    def heartbeat(self, control: str) -> Notice:
        """What a heartbeat or a position says just now."""
        return self._notice(control)

    def _pulse(self, said: bytes) -> None:
        """Writes a heartbeat, and whatever the transport has to say beside it."""
        assert self._transport is not None
        self._transport.write(said)

    def close(self, reason: Disconnect) -> None:
        """Says `bye` behind what was written, and ends the connection once the client has it all."""
        if self.state is State.CLOSED:
            return
        self._bye = reason
        self._say(self._farewell(reason))
        self._ended(reason)
        self._hang_up(reason)

    def say(self, control: str, body: dict[str, Any]) -> bool:
        """Tells the client something in band, at once."""
        if self.state in (State.CONNECTING, State.CLOSED):
            return False
        self._say(Notice(control, body))
        return True

    def end(self) -> None:
        """Leaves the hub; what was not written is not counted as sent."""
        if self.state is State.CLOSED:
            return
        super().end()
        self.way = None
        if self._transport is not None:
            self._count(-1)
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        self._hub.readers.discard(self)
        self._lanes.start(self._hub.dismiss(self))

    def _ended(self, reason: Disconnect) -> None:
        metrics.disconnects.labels(self.transport_name, reason.reason).inc()
        self.end()

    def _rouse(self) -> None:
        """Catches up where that is due: in the task that does so already, or in a new one."""
        super()._rouse()
        if self.state is State.LAGGING and not self._paused and self._task is None:
            self._task = self._lanes.start(self._follow(None))

    # The short-lived task.

    def begin(self, start: Start) -> None:
        """Reads from a place on; called once, when the connection has been taken over."""
        if self.state is not State.CLOSED:
            self._greet()
            self._task = self._lanes.start(self._follow(start))

    async def _follow(self, start: Start | None) -> None:
        if not await unharmed(self._replay(start)):
            self.close(FAILED)

    async def _replay(self, start: Start | None) -> None:
        """Replays until live. A cancelled one has been ended already."""
        try:
            if start is not None:
                place = await self._hub.place(start, self.feed)
                self.position = place.after
                self.state = State.REPLAYING
                self._say(self._ready(place.gap, start))
                if place.gap:
                    self._say(self._gap(place.gap))
            while self.state is not State.LIVE:
                if self._paused:
                    await self._wait()
                    continue
                async with aclosing(self._catch_up()) as steps:
                    async for step in steps:
                        if isinstance(step, Notice):
                            self._say(step)
                        else:
                            self._write(step)
        except BrokerError:
            self.close(LOST_STORE)
        self._task = None

    def _write(self, batch: Batch) -> None:
        assert self._transport is not None
        said = batch.made(self.wire)
        self._transport.write(said)
        self.meter.wrote(batch, len(said))

    def _say(self, notice: Notice) -> None:
        if self._transport is not None:
            self._transport.write(self.wire.notice(notice))

    # What each transport does in its own way.

    @abstractmethod
    def _count(self, change: int) -> None:
        """Counts the connection in, or out."""

    @abstractmethod
    def _hang_up(self, reason: Disconnect) -> None:
        """Ends the connection behind what was written."""

    def _greet(self) -> None:
        """Writes what comes before everything."""

    def _silent(self) -> None:
        """Ends a connection whose client has not answered."""
        self.close(SILENT)
