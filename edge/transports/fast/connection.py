"""Reads a session over a socket that was taken over: no task, no timer and no queue while it is live and its socket takes all.

A fast reader is a reader and its connection's protocol in one slotted object. What the hub offers is written at once, in bytes
that all readers of the batch share. Backpressure: while the socket's buffer is full the reader does what every reader does,
with a small mailbox and then back to the cursor. A short-lived task replays; it ends when the reader is live.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from abc import abstractmethod
from contextlib import aclosing
from typing import Any, ClassVar, cast

from edge import metrics
from edge.disconnect import COMPLETED, FAILED, LOST_STORE, ROTATED, SILENT, SLOW, Disconnect
from edge.hub.feed import Feed
from edge.hub.group import WriteGroup
from edge.hub.hub import Hub
from edge.hub.reader import Reader, run_logged
from edge.stats import Stats
from edge.transports.fast.sweeper import Sweeper
from edge.types import Batch, Encoder, Notice, State
from edge.view import FULL, Pace
from router import tracing
from router.cursor import Start
from router.errors import BrokerError
from router.position import Position

log = logging.getLogger(__name__)

# Linux: tcp(7). Elsewhere only pings find out.
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)


def socket_of(transport: asyncio.Transport) -> socket.socket | None:
    """The socket below a transport: the kernel's own call saves a tenth of what a small write costs.

    It is in order with the transport's writes for as long as the transport has nothing buffered. None for a transport that
    does more than pass bytes on, as TLS does.
    """
    pipe = transport.get_extra_info("socket")
    if pipe is None or transport.get_extra_info("sslcontext") is not None:
        return None
    # A second object for the same descriptor, which is the transport's to close: see `connection_lost`.
    # What kind of socket it is, is said: Python would else ask the kernel three times.
    return socket.socket(pipe.family, pipe.type, pipe.proto, fileno=pipe.fileno())


def end_unacknowledged(pipe: socket.socket, seconds: float) -> None:
    """Has the kernel end a connection whose other end has acknowledged nothing for so long, or taken nothing, where it can."""
    if _USER_TIMEOUT is not None and pipe.family in (socket.AF_INET, socket.AF_INET6):
        pipe.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, int(seconds * 1000))


class FastReader(Reader, asyncio.Protocol):
    """One connection that was taken over and reads one session."""

    __slots__ = (
        "_own_position", "_paused", "_sweeper", "_task", "_timer", "_transport", "differs_at", "encoder", "meter", "socket", "told",
    )  # fmt: skip

    transport_name: ClassVar[str]

    def __init__(
        self, hub: Hub, sweeper: Sweeper, feed: Feed, session_id: str, stats: Stats, encoder: Encoder, pace: Pace = FULL
    ) -> None:
        super().__init__(hub, feed, session_id, stats, hub.settings, pace)
        self.differs_at = self.rotates
        self._sweeper = sweeper
        self.meter = sweeper.meters[self.transport_name]
        self.encoder = encoder
        self._paused = False
        self._task: asyncio.Task[None] | None = None
        # Set while a paced reader waits for its next write.
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        # Where its write group writes.
        self.socket: socket.socket | None = None

    @property
    def position(self) -> Position:
        """Up to where all has been written, or was not for this reader."""
        return self._own_position if self.group is None else self.group.position

    @position.setter
    def position(self, position: Position) -> None:
        # Of a group: what holds for one that has nothing left to write holds for all.
        if self.group is None:
            self._own_position = position
        else:
            self.group.position = position

    @property
    def reported(self) -> Position:
        """The position whose cursor the client was sent last."""
        return self.told if self.group is None else self.told.joined(self.group.reported)

    @reported.setter
    def reported(self, position: Position) -> None:
        self.told = position

    # In a write group and out of it.

    def _join_group(self) -> None:
        """Shares writes with others, if it has had all that was handed out and its socket takes more."""
        if (
            self.group is None
            and self.state is State.LIVE
            and self.socket is not None
            and not (self._paused or self.feed.pending or self._pace.max_rate)
            # A client that comes from a process that is ahead of this one waits until this one has come so far.
            and self._hub.position.reaches(self.position)
            and self.encoder.shares(self.position)
            and (group := self.feed.live.group(self.encoder, self.meter)) is not None
        ):
            self.feed.live.discard(self)
            group.join(self)
            self.group = group
            self._hub.apart.discard(self)
            self._hub.heartbeats.join(self)
            self.encoder.read_along(group.encoder, self.leave_group)

    def leave_group(self) -> None:
        """Is handed batches by itself from here on."""
        if self.group is not None:
            self._leave(self.group)
            self.feed.live.add(self)

    def _leave(self, group: WriteGroup) -> None:
        self._hub.heartbeats.separate(self)
        position, reported = self.position, self.reported
        self.group = None
        self._hub.apart.add(self)
        self.position, self.reported = position, reported
        self.encoder.follow(group.encoder)
        group.leave(self)

    def _leave_live(self) -> None:
        super()._leave_live()
        if self.group is not None:
            self._leave(self.group)

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of another family than asyncio's, and do the same.
        transport = cast(asyncio.Transport, transport)
        self._transport = transport
        if self.socket is None:
            self.socket = socket_of(transport)
        if self.socket is not None:
            end_unacknowledged(self.socket, self._sweeper.settings.unacknowledged)
        self._hub.enter(self, self.encoder.dialect.tells_period)
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
        self.leave_group()
        self._sweeper.set_deadline(self, self._limits.send_timeout)

    def resume_writing(self) -> None:
        self._paused = False
        if self.state is State.CLOSED:
            return
        self._sweeper.lift_deadline(self)
        self._empty_mailbox()
        self._join_group()
        self._wake()

    def remainder(self, form: bytes, sent: int) -> None:
        """Leaves to the transport what the socket has not taken; the transport resumes this reader when it is through."""
        if self._transport is not None:
            self._transport.write(memoryview(form)[sent:] if sent else form)

    def _empty_mailbox(self) -> None:
        while self._mailbox and not self._paused and self._transport is not None:
            if self._pace.max_rate and (early := self._not_before - time.monotonic()) > 0:
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(early, self._on_time)
                return
            batch = self._fetch(self._mailbox)
            self._write(batch)
            self._wrote(batch)

    def _on_time(self) -> None:
        """Writes what has come since the last write of a paced reader."""
        self._timer = None
        self._empty_mailbox()

    @property
    def descriptor(self) -> int:
        """That of its socket; -1 where there is none to write to."""
        return -1 if self.socket is None else self.socket.fileno()

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
        """Called by the sweeper when a deadline is over: cuts the connection, or says how much still waits to be written.

        A client that took some of it since the last look, `before`, is a slow consumer, and not stalled.
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
        self._join_group()

    def beat(self) -> None:
        """Writes a heartbeat, or a position where the client's cursor has moved; the hub has handed out what it received."""
        if self.rotates < time.monotonic():
            self.close(ROTATED)
            return
        if self.group is None and (
            self._paused or self._transport is None or self.state in (State.CONNECTING, State.CLOSED)
        ):
            return
        if self.state is State.LIVE and not self._mailbox:
            # Nothing waits and the reader is live: all that was received so far has been written or was not for it.
            self.position = self.position.joined(self._hub.position)
        position = self.position
        control = "heartbeat" if position == self.reported else "position"
        self.told = position
        self._write_heartbeat(self.encoded_heartbeat(control, position))

    def encoded_heartbeat(self, control: str, position: Position) -> bytes:
        """A heartbeat or a position, as it and all others of its write group get it."""
        return self._sweeper.heartbeat(self._current_encoder, control, position, self)

    def heartbeat(self, control: str) -> Notice:
        """The notice of a heartbeat or a position, as of now."""
        return self._notice(control)

    def _write_heartbeat(self, form: bytes) -> None:
        """Writes a heartbeat, and whatever a transport sends beside it."""
        self._write_now(form)

    def _write_now(self, form: bytes) -> None:
        """Writes to the socket itself, where nothing waits: that of a write group. Else the transport does."""
        if self.group is None or self.socket is None:
            assert self._transport is not None
            self._transport.write(form)
            return
        try:
            sent = self.socket.send(form)
        except OSError:
            # Its buffer is full, or the connection is gone: the transport finds out which.
            sent = 0
        if sent != len(form):
            self.remainder(form, sent)

    def close(self, reason: Disconnect) -> None:
        """Sends `bye` behind what was written, and ends the connection once the client has it all."""
        if self.state is State.CLOSED:
            return
        self._bye = reason
        self._send(self._farewell(reason))
        self._ended(reason)
        self._end_connection(reason)

    def notify(self, control: str, body: dict[str, Any]) -> bool:
        """Sends the client a notice, at once; not before `ready`, and then it says no."""
        if self.state in (State.CONNECTING, State.CLOSED):
            return False
        self._send(Notice(control, body))
        return True

    def end(self) -> None:
        """Leaves the hub; what was not written is not counted as sent."""
        if self.state is State.CLOSED:
            return
        super().end()
        if self._transport is not None:
            self._count(-1)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        self._hub.exit(self)
        if self._hub.leave_now(self.feed):
            self._sweeper.start(self._hub.drop(self.feed))

    def _ended(self, reason: Disconnect) -> None:
        metrics.disconnects.labels(self.transport_name, reason.reason).inc()
        self.end()

    def _wake(self) -> None:
        """Catches up where that is due: in the task that does so already, or in a new one."""
        super()._wake()
        if self.state is State.LAGGING and not self._paused and self._task is None:
            self._task = self._sweeper.start(self._follow(None))

    # The short-lived task.

    def begin(self, start: Start, head: bytes = b"") -> None:
        """Reads from a place on; called once, when the connection has been taken over. `head` is written before everything.

        Where nothing has to be waited for, `ready` and all that its client lacks go out with the head, at once and without a task.
        """
        if self.state is State.CLOSED or self._transport is None:
            return
        try:
            left = None if self._begin_now(start, head) else start
        except Exception:
            about = {"session": self.session_id}
            log.exception("a reader failed; its connection is closed and its client may come back", extra=about)
            self.close(FAILED)
            return
        if self.state not in (State.LIVE, State.CLOSED) and self._task is None:
            with tracing.bind(session=self.session_id):
                self._task = self._sweeper.start(self._follow(left))

    def _begin_now(self, start: Start, head: bytes) -> bool:
        """Writes what comes first; says whether `ready` is among it."""
        assert self._transport is not None
        forms = [head + self._preamble()]
        place = None if self._paused else self._hub.recovery.place_now(start)
        if place is not None:
            self.position, self.epoch = place.after, self._hub.epoch
            self._connected(None, start)
            about = (self.encoder, self.session_id, self.position, self.epoch, start.cursor is None, self._period)
            forms.append(self._sweeper.ready(about, lambda: self.encoder.notice(self._ready(None, start))))
        self._transport.writelines([form for form in forms if form])
        if place is None:
            return False
        self._begun()
        self._go_live()
        return True

    def _go_live(self) -> None:
        """Goes live, where all that comes next for it was received last."""
        recovery = self._hub.recovery
        if self._view != self.feed.view or recovery.moved(self.position, self.epoch) is not None:
            return
        remembered = recovery.remembered(self.feed, self.position)
        for notice in (self._join_live(remembered) if remembered is not None else None) or ():
            self._send(notice)
        self._join_group()

    async def _follow(self, start: Start | None) -> None:
        if not await run_logged(self._replay(start)):
            self.close(FAILED)

    async def _replay(self, start: Start | None) -> None:
        """Replays until live. A cancelled one has been ended already."""
        try:
            if start is not None:
                for notice in await self._begin(start):
                    self._send(notice)
                self._begun()
            while self.state not in (State.LIVE, State.CLOSED):
                if self._paused:
                    await self._wait()
                    continue
                async with aclosing(self._catch_up()) as steps:
                    async for step in steps:
                        if isinstance(step, Notice):
                            self._send(step)
                        else:
                            self._write(step)
        except BrokerError:
            self.close(LOST_STORE)
        self._task = None
        self._join_group()

    def _wrote(self, batch: Batch) -> None:
        super()._wrote(batch)
        if self.encoder.over:
            self.close(COMPLETED)

    def _write(self, batch: Batch) -> None:
        assert self._transport is not None
        form = self.encoder.encode(batch)
        if form:
            self._transport.write(form)
        self.meter.wrote(batch, len(form))

    @property
    def _current_encoder(self) -> Encoder:
        """That of its write group, where it is in one: its own does not follow what the group is written."""
        return self.encoder if self.group is None else self.group.encoder

    def _send(self, notice: Notice) -> None:
        form = self._current_encoder.notice(notice)
        if self._transport is not None and form:
            self._transport.write(form)

    # What each transport does in its own way.

    @abstractmethod
    def _count(self, change: int) -> None:
        """Counts the connection in, or out."""

    @abstractmethod
    def _end_connection(self, reason: Disconnect) -> None:
        """Ends the connection behind what was written."""

    def _preamble(self) -> bytes:
        """What comes before everything."""
        return b""

    def _begun(self) -> None:
        """Called once the first notices are written."""

    def _close_silent(self) -> None:
        """Ends a connection whose client has not answered."""
        self.close(SILENT)
