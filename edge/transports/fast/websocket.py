"""Speaks the WebSocket protocol over a socket that was taken over: messages, pings and the closing handshake."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

from edge import metrics
from edge.disconnect import BAD_CURSOR, SILENT, Disconnect
from edge.hub.feed import Feed
from edge.hub.hub import Hub
from edge.stats import Stats
from edge.transports import frames
from edge.transports.control import OPENING_TIMEOUT, Opening, answer, read_opening
from edge.transports.encoders import DeflatedFrameEncoder
from edge.transports.fast.connection import FastReader
from edge.transports.fast.sweeper import Sweeper
from edge.transports.folding_encoders import DeflatedFoldingFrameEncoder
from edge.transports.frames import BadFrame, FrameParser
from edge.types import Encoder, Hear, State
from edge.view import FULL, Pace
from router.cursor import Start
from router.position import Position

_DEFLATED = (DeflatedFrameEncoder, DeflatedFoldingFrameEncoder)
_PING = frames.frame(frames.PING, b"")
# Which nobody asked for, and no client answers (RFC 6455, section 5.5.3).
_PONG = frames.frame(frames.PONG, b"")
# How a client answers a ping, before the four bytes of its mask: most of what clients say.
_ANSWER_HEAD, _ANSWER_SIZE = b"\x8a\x80", 6
_OPEN, _CLOSING, _IGNORING = range(3)
# A client that has left this many pings in a row unanswered has gone.
MAX_UNANSWERED = 2
# More than a client subscribes to at once.
MAX_EARLY = 256


class FastWebSocket(FastReader):
    """One WebSocket that reads one session, and answers what its client says."""

    __slots__ = ("_closing", "_early", "_opening", "_parser", "_ping_due", "_unanswered", "hear")

    transport_name = "websocket"

    def __init__(
        self, hub: Hub, sweeper: Sweeper, feed: Feed, session_id: str, stats: Stats, encoder: Encoder, pace: Pace = FULL
    ) -> None:
        super().__init__(hub, sweeper, feed, session_id, stats, encoder, pace)
        self._closing = _OPEN
        # Only while something is half received: clients say little.
        self._parser: FrameParser | None = None
        self._ping_due = math.inf
        self._unanswered = 0
        self._opening: Opening | None = None
        # Answers what the client says, where that are not our own controls.
        self.hear: Hear | None = None
        # What was said before the first notice waits for it, so that the answers come behind.
        self._early: list[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._plan_ping()

    def listen_for(self, opening: Opening) -> None:
        """Begins where the client says, once it has."""
        self._opening = opening
        self._sweeper.set_deadline(self, OPENING_TIMEOUT)

    def overdue(self, before: int) -> int | None:
        """Called by the sweeper when a deadline is over."""
        if self._opening is None:
            return super().overdue(before)
        self._opening = None
        self.close(SILENT)
        return None

    def _open(self, payload: bytes, opening: Opening) -> None:
        """Begins where a message says, or answers what else it says before that."""
        assert self._transport is not None
        found = read_opening(payload, opening, self.encoder.dialect)
        if isinstance(found, Start):
            self._opening = None
            self._sweeper.lift_deadline(self)
            self.begin(found)
            return
        self._transport.write(frames.frame(frames.TEXT, self.encoder.dialect.answers(found)))
        if found["control"] == "error":
            self._opening = None
            self._ended(BAD_CURSOR)
            self._shut(BAD_CURSOR.code, BAD_CURSOR.reason)

    def _count(self, change: int) -> None:
        self.stats.websockets += change
        self.stats.served += change > 0
        metrics.readers.labels("websocket").inc(change)

    def data_received(self, data: bytes) -> None:
        self._unanswered = 0
        if self._closing == _IGNORING:
            return
        if self._parser is None and len(data) == _ANSWER_SIZE and data[:2] == _ANSWER_HEAD:
            return
        parser = self._parser or FrameParser(isinstance(self.encoder, _DEFLATED))
        try:
            for opcode, payload in parser.feed(data):
                if not self._take(opcode, payload):
                    self._parser = None
                    return
        except BadFrame as fault:
            self._parser = None
            self._fail(fault)
            return
        self._parser = None if parser.idle else parser

    def _take(self, opcode: int, payload: bytes) -> bool:
        """Answers one message or control frame; says whether what comes behind it is of interest."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if opcode == frames.CLOSE:
            code = frames.close_code(payload)
            if self._closing:
                transport.close()
            else:
                self._shut(code)
                transport.close()
            return False
        if self._closing:
            return True
        if opcode == frames.PING:
            transport.write(frames.frame(frames.PONG, payload))
        elif opcode != frames.PONG and self._opening is not None:
            self._open(payload, self._opening)
        elif opcode != frames.PONG and self.hear is not None and self.state is State.CONNECTING:
            self._early = [*(self._early or ()), payload]
            if len(self._early) > MAX_EARLY:
                self._fail(BadFrame(1008, "said too much before it began"))
                return False
        elif opcode != frames.PONG:
            said = self._answers(payload)
            transport.write(b"".join([frames.frame(frames.TEXT, text) for text in said]))
        return True

    def _answers(self, payload: bytes) -> Sequence[bytes]:
        if self.hear is None:
            dialect = self.encoder.dialect
            return (dialect.answers(answer(payload, self, dialect)),)
        said = self.hear(payload, self)
        # What was said may have changed this conversation, and no other.
        self._join_group()
        return said

    def _begun(self) -> None:
        early, self._early = self._early, None
        for payload in early or ():
            if self._transport is not None:
                said = self._answers(payload)
                self._transport.write(b"".join([frames.frame(frames.TEXT, text) for text in said]))

    def pause_writing(self) -> None:
        super().pause_writing()
        # A client that does not read is not answered either: otherwise its pings would fill our memory.
        if self._transport is not None and self.state is not State.CLOSED:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        super().resume_writing()

    def encoded_heartbeat(self, control: str, position: Position) -> bytes:
        """A client that is told nothing of silence gets a pong frame: proxies count the time since the last byte."""
        return super().encoded_heartbeat(control, position) or _PONG

    def _write_heartbeat(self, form: bytes) -> None:
        if time.monotonic() < self._ping_due:
            self._write_now(form)
            return
        if self._unanswered >= MAX_UNANSWERED:
            self._close_silent()
            return
        self._plan_ping()
        self._unanswered += 1
        self._write_now(_PING if form is _PONG else form + _PING)

    def _plan_ping(self) -> None:
        """Has a ping sent with its first heartbeat after the time at which those that are due with it are pinged next."""
        beats = self._hub.heartbeats
        self._ping_due = self._sweeper.next_ping(beats.phase(self.beats), beats.period(self.beats) > beats.shortest)
        self.differs_at = min(self.rotates, self._ping_due)

    def _end_connection(self, reason: Disconnect) -> None:
        self._shut(reason.code, reason.reason)

    def _shut(self, code: int | None, reason: str = "") -> None:
        """Sends a close frame, once, and waits a while for the client's."""
        transport = self._transport
        if self._closing or transport is None or transport.is_closing():
            return
        self._closing = _CLOSING
        transport.write(frames.frame(frames.CLOSE, b"") if code is None else frames.close_frame(code, reason))
        self.end()
        if self._paused:
            # The client's own close frame lies behind what it has not read.
            transport.resume_reading()
        self._sweeper.set_deadline(self, self._sweeper.settings.close_patience)

    def _fail(self, fault: BadFrame) -> None:
        """Closes the connection of a client that broke the protocol, with the reason; what it still sends is ignored."""
        self._shut(fault.code, fault.reason)
        self._closing = _IGNORING
        transport = self._transport
        if transport is not None and not transport.is_closing() and transport.can_write_eof():
            # Not closed yet: to close what still has bytes to read is to reset it, and the reason would be lost.
            transport.write_eof()
