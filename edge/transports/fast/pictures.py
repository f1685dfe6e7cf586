"""Writes pictures over a socket that was taken over: bytes that all viewers share, without a task for each picture."""

from __future__ import annotations

import asyncio
import json
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, cast

from edge import metrics
from edge.disconnect import Disconnect
from edge.transports import frames
from edge.transports.event_stream import LAST_CHUNK
from edge.transports.frames import BadFrame, FrameParser
from edge.transports.sockets import UnreadGauge, hold_little, limit_send_buffer
from edge.transports.video.delivery import PictureDelivery, PictureSink
from edge.transports.video.frame import OPENING, Frame, chunk
from edge.transports.video.mp4_viewer import Mp4Messages

# Seconds between two pings, and how many in a row a client may leave unanswered.
PING_SECONDS, MOST_UNANSWERED = 20.0, 2
# How long a client may take to answer a close frame, and to take what was written before.
CLOSE_SECONDS = 5.0
# A client that does not read what it is told is told no more.
MOST_UNREAD = 256 * 1024


class PictureProtocol(asyncio.Protocol):
    """One connection whose socket was taken over."""

    transport = ""
    probes = False

    def __init__(self, begin: Callable[[PictureSink], PictureDelivery], ended: Callable[[], None]) -> None:
        """`begin` is called once the connection is this protocol's; `ended` when it is over."""
        self._begin, self._ended = begin, ended
        self._delivery: PictureDelivery | None = None
        self._pipe: asyncio.Transport | None = None
        self._paused = False
        self._gauge = UnreadGauge()

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of another family than asyncio's, and do the same.
        self._pipe = pipe = cast(asyncio.Transport, transport)
        hold_little(pipe)
        self._paused = pipe.get_write_buffer_size() > 0
        self._open()
        self._delivery = self._begin(self)

    def _open(self) -> None:
        """Writes what stands before everything."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._pipe = None
        self._ended()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._delivery is not None:
            self._delivery.resumed()

    def data_received(self, data: bytes) -> None:
        """Passes over what comes: the answer to this request has no end, so there is no next one."""

    # Called by the delivery.

    @property
    def writable(self) -> bool:
        return self._pipe is not None and not self._paused and not self._pipe.is_closing()

    @property
    def waiting(self) -> int:
        return self._pipe.get_write_buffer_size() if self._pipe is not None else 0

    def probe(self, number: int) -> None:
        raise NotImplementedError("there is nothing to ask with in a stream of pictures")

    @property
    def unread(self) -> int:
        return self._gauge.read(self._pipe) if self._pipe is not None else 0

    def narrow(self, size: int) -> None:
        if self._pipe is not None:
            limit_send_buffer(self._pipe, size)

    def abort(self) -> None:
        if self._pipe is not None:
            self._pipe.abort()

    @abstractmethod
    def write(self, frame: Frame, mp4: Mp4Messages | None) -> int:
        """Writes a picture; returns how many bytes it takes. Raises BadAccessUnit."""

    @abstractmethod
    def tell(self, said: Mapping[str, Any]) -> None:
        """Writes a message of text, where the transport has such."""

    @abstractmethod
    def close(self, reason: Disconnect) -> None:
        """Ends the connection behind what was written."""


class PictureStream(PictureProtocol):
    """One MJPEG stream. Its body is in chunked coding, but for HTTP/1.0: there it ends with the connection."""

    transport = "mjpeg"

    def __init__(
        self, begin: Callable[[PictureSink], PictureDelivery], ended: Callable[[], None], chunked: bool
    ) -> None:
        super().__init__(begin, ended)
        self._chunked = chunked

    def _open(self) -> None:
        assert self._pipe is not None
        self._pipe.write(chunk(OPENING) if self._chunked else OPENING)

    def write(self, frame: Frame, mp4: Mp4Messages | None) -> int:
        assert self._pipe is not None
        form = frame.chunk if self._chunked else frame.part
        self._pipe.write(form)
        return len(form)

    def tell(self, said: Mapping[str, Any]) -> None:
        """There is no place for it in a stream of pictures."""

    def close(self, reason: Disconnect) -> None:
        pipe = self._pipe
        if pipe is None or pipe.is_closing():
            return
        metrics.disconnects.labels(self.transport, reason.reason).inc()
        if self._chunked:
            pipe.write(LAST_CHUNK)
        pipe.close()


class PictureSocket(PictureProtocol):
    """One WebSocket that is sent pictures, and says what it has shown."""

    transport = "websocket"
    probes = True

    def __init__(self, begin: Callable[[PictureSink], PictureDelivery], ended: Callable[[], None]) -> None:
        super().__init__(begin, ended)
        self._parser = FrameParser()
        self._closing = False
        self._unanswered = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._timer = asyncio.get_running_loop().call_later(PING_SECONDS, self._ping)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def write(self, frame: Frame, mp4: Mp4Messages | None) -> int:
        assert self._pipe is not None
        if mp4 is None:
            message = frame.message
            self._pipe.write(message)
            return len(message)
        form = b"".join(frames.frame(frames.BINARY, each) for each in mp4.of(frame))
        if form:
            self._pipe.write(form)
        return len(form)

    def probe(self, number: int) -> None:
        if self._pipe is not None:
            self._pipe.write(frames.frame(frames.PING, number.to_bytes(8, "big")))

    def tell(self, said: Mapping[str, Any]) -> None:
        if self._pipe is not None and not self._closing and self.waiting < MOST_UNREAD:
            self._pipe.write(frames.frame(frames.TEXT, json.dumps(said).encode()))

    def close(self, reason: Disconnect) -> None:
        if self._closing or self._pipe is None:
            return
        metrics.disconnects.labels(self.transport, reason.reason).inc()
        self.tell(
            {
                "control": "bye", "reason": reason.reason, "code": reason.code, "reconnect": reason.reconnect,
                "delay_ms": int(reason.delay * 1000),
            }
        )  # fmt: skip
        self._shut(frames.close_frame(reason.code, reason.reason))

    def data_received(self, data: bytes) -> None:
        self._unanswered = 0
        try:
            for opcode, payload in self._parser.feed(data):
                if self._pipe is None or self._pipe.is_closing():
                    return
                self._take(opcode, payload)
        except BadFrame as fault:
            self._shut(frames.close_frame(fault.code, str(fault)))
            if self._pipe is not None:
                self._pipe.close()

    def _take(self, opcode: int, payload: bytes) -> None:
        assert self._pipe is not None
        if opcode == frames.CLOSE:
            code = frames.close_code(payload)
            self._shut(frames.frame(frames.CLOSE, b"" if code is None else code.to_bytes(2, "big")))
            self._pipe.close()
        elif opcode == frames.PING:
            if self.waiting < MOST_UNREAD:
                self._pipe.write(frames.frame(frames.PONG, payload))
        elif opcode == frames.PONG:
            if len(payload) == 8 and self._delivery is not None:
                self._delivery.read(int.from_bytes(payload, "big"))
        elif not self._closing and self._delivery is not None:
            answer = self._delivery.hear(payload)
            if answer is not None:
                self.tell(answer)

    def _shut(self, form: bytes) -> None:
        """Sends a close frame, once, and waits a while for the client's."""
        if self._closing or self._pipe is None or self._pipe.is_closing():
            return
        self._closing = True
        self._pipe.write(form)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.abort)

    @property
    def writable(self) -> bool:
        # Asked several times a picture.
        return not self._paused and not self._closing and super().writable

    def _ping(self) -> None:
        if self._pipe is None:
            return
        if self._unanswered >= MOST_UNANSWERED:
            metrics.disconnects.labels(self.transport, "silent").inc()
            self.abort()
            return
        self._unanswered += 1
        if self.waiting < MOST_UNREAD:
            self._pipe.write(frames.frame(frames.PING, b""))
        self._timer = asyncio.get_running_loop().call_later(PING_SECONDS, self._ping)
