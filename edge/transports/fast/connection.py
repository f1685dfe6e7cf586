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
from typing import Any, ClassVar, cast

from edge import metrics
from edge.disconnect import FAILED, LOST_STORE, SILENT, SLOW, Disconnect
from edge.hub.group import Row
from edge.hub.hub import Feed, Hub
from edge.hub.reader import Reader, unharmed
from edge.stats import Stats
from edge.transports.fast.sweeper import Sweeper
from edge.types import Batch, Notice, State, Wire
from edge.view import FULL, Pace
from router.cursor import Start
from router.errors import BrokerError


def shortcut(transport: asyncio.Transport) -> socket.socket | None:
    """The way past a transport to its socket: the kernel's own call saves a tenth of what a small write costs.

    It is in order with the transport's writes for as long as the transport holds nothing back. None for a transport that
    does more than pass bytes on, as TLS does.
    """
    pipe = transport.get_extra_info("socket")
    if pipe is None or transport.get_extra_info("sslcontext") is not None:
        return None
    # A second object for the same descriptor, which is the transport's to close: see `connection_lost`.
    return socket.socket(fileno=pipe.fileno())


class LaneReader(Reader, asyncio.Protocol):
    """One connection that was handed over, reading one session."""

    __slots__ = ("_paused", "_place", "_row", "_said", "_sweeper", "_task", "_transport", "meter", "socket", "wire")

    transport_name: ClassVar[str]

    def __init__(
        self, hub: Hub, sweeper: Sweeper, feed: Feed, session_id: str, stats: Stats, wire: Wire, pace: Pace = FULL
    ) -> None:
        # Where it stands abreast with others; None for who is handed batches by itself.
        self._row: Row | None = None
        super().__init__(hub, feed, session_id, stats, hub.settings, pace)
        self._sweeper = sweeper
        self.meter = sweeper.meters[self.transport_name]
        self.wire = wire
        self._paused = False
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        # Where a row writes.
        self.socket: socket.socket | None = None

    @property
    def position(self) -> int:
        """The sequence up to which all has been written, or was not for this reader."""
        return self._place if self._row is None else self._row.position

    @position.setter
    def position(self, sequence: int) -> None:
        # Of a row: what holds for one that owes nothing holds for all.
        if self._row is None:
            self._place = sequence
        else:
            self._row.position = sequence

    @property
    def told(self) -> int:
        """The sequence of the cursor that the client was told last."""
        return self._said if self._row is None else max(self._said, self._row.told)

    @told.setter
    def told(self, sequence: int) -> None:
        self._said = sequence

    # In a row and out of it.

    def _step_in(self) -> None:
        """Stands abreast with the others, if it has had all that was handed out and its socket takes more."""
        if (
            self._row is None
            and self.state is State.LIVE
            and self.socket is not None
            and not (self._paused or self.feed.pending)
            # A client that comes from a process that is ahead of this one waits until this one has come so far.
            and self.position <= self._hub.position
        ):
            self.feed.live.pop(self, None)
            row = self.feed.row(self.wire, self.meter)
            row.enter(self)
            self._row = row

    def step_out(self) -> None:
        """Is handed batches by itself from here on."""
        if self._row is not None:
            self._leave_row(self._row)
            self.feed.live[self] = None

    def _leave_row(self, row: Row) -> None:
        position, told = self.position, self.told
        self._row = None
        self.position, self.told = position, told
        row.leave(self)

    def _step_off(self) -> None:
        super()._step_off()
        if self._row is not None:
            self._leave_row(self._row)

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of another family than asyncio's, and do the same.
        transport = cast(asyncio.Transport, transport)
        self._transport = transport
        self.socket = shortcut(transport)
        self._hub.readers.add(self)
        self._sweeper.opened()
        self._count(1)
        # 0: a transport that holds anything back says so at once. What does not fit the kernel's buffer waits as
        # events that all readers share, and not as bytes of this connection's own.
        transport.set_write_buffer_limits(high=0)
        if transport.get_write_buffer_size() and not self._paused:
            self.pause_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.end()
        if self.socket is not None:
            self.socket.detach()
        self._transport = self.socket = None
        self._sweeper.lost(self)

    def pause_writing(self) -> None:
        self._paused = True
        self.step_out()
        self._sweeper.expect(self, self._limits.send_timeout)

    def resume_writing(self) -> None:
        self._paused = False
        if self.state is State.CLOSED:
            return
        self._sweeper.expected(self)
        self._empty_mailbox()
        self._step_in()
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
        """Told by the sweeper that a deadline is over: cuts the connection, or says how much still waits to be written.

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
        self._step_in()

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
        self._pulse(self._sweeper.pulse(self.wire, control, self))

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
        if self._transport is not None:
            self._count(-1)
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        self._hub.readers.discard(self)
        self._sweeper.start(self._hub.leave(self.feed))

    def _ended(self, reason: Disconnect) -> None:
        metrics.disconnects.labels(self.transport_name, reason.reason).inc()
        self.end()

    def _rouse(self) -> None:
        """Catches up where that is due: in the task that does so already, or in a new one."""
        super()._rouse()
        if self.state is State.LAGGING and not self._paused and self._task is None:
            self._task = self._sweeper.start(self._follow(None))

    # The short-lived task.

    def begin(self, start: Start) -> None:
        """Reads from a place on; called once, when the connection has been taken over."""
        if self.state is not State.CLOSED:
            self._greet()
            self._task = self._sweeper.start(self._follow(start))

    async def _follow(self, start: Start | None) -> None:
        if not await unharmed(self._replay(start)):
            self.close(FAILED)

    async def _replay(self, start: Start | None) -> None:
        """Replays until live. A cancelled one has been ended already."""
        try:
            if start is not None:
                place = await self._hub.place(start, self.feed)
                self.position, self.epoch = place.after, self._hub.epoch
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
        self._step_in()

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
