"""Extends uvicorn's protocols so that a socket can be taken over after the handshake, and a connection cut at once.

A request whose connection can be taken over carries its protocol in `scope["extensions"]`, and one that can be cut at once a
function that does so. Everything before (routing, headers, errors, refusals) is ordinary ASGI; where the extension is missing,
so is everything after.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol, cast

import httptools
from uvicorn._types import ASGI3Application, ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake, NegotiationError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.http11 import Request, Response
from websockets.typing import ExtensionParameter

from edge.errors import Problem
from edge.problem import count_refusal, to_response
from edge.transports.abort import ABORT
from edge.transports.fast.exchange import RequestExchange
from edge.transports.flow import BODY, DRAINED, HOLD, LIMIT, PLAINLY, UNREAD
from edge.transports.frames import DEFLATE_WINDOW
from edge.transports.sockets import UnreadGauge, hold_little, limit_send_buffer

EXTENSION = "callboard.takeover"
# The one version of the WebSocket protocol that RFC 6455 has.
VERSION = "13"


class Compression(ServerPerMessageDeflateFactory):
    """Agrees to messages that are compressed each by itself: bytes that depend on a connection's earlier messages cannot be shared."""

    def __init__(self) -> None:
        super().__init__(True, True, compress_settings={"level": 1})

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        """Agrees, except with clients that want a smaller window than the one that all share. Raises NegotiationError."""
        agreed, extension = super().process_request_params(params, accepted_extensions)
        if extension.local_max_window_bits < DEFLATE_WINDOW:
            raise NegotiationError("the window is too small")
        return agreed, extension


COMPRESSION = Compression()


class SseHandover(Protocol):
    """What a request's scope offers where its socket may be taken over."""

    @property
    def chunks(self) -> bool:
        """Whether the body is in chunked coding; an HTTP/1.0 client knows none."""

    def available(self, scope: Mapping[str, Any]) -> bool:
        """Says whether the connection can be handed over behind this answer."""

    def open_ended(self, keeps: bool = False) -> None:
        """Makes the answer one without a length that ends with the connection; called before its head is written.

        With `keeps` the head has a `connection` header of its own.
        """

    def detach(self, reader: asyncio.Protocol) -> bool:
        """Gives the connection to another protocol, once the answer's head is written; says no where it is gone."""

    def returns(self) -> Callable[[asyncio.Transport], None] | None:
        """What takes the connection back behind the answer, for the client's next request; None where its head said otherwise."""


class WebSocketHandover(Protocol):
    """What a WebSocket's scope offers."""

    @property
    def compresses(self) -> bool:
        """Whether the client takes compressed messages, and may send them."""

    def detach(self, reader: asyncio.Protocol) -> bool:
        """Gives the connection to another protocol, once it is accepted; says no where that cannot be."""


class _Gone(asyncio.Transport):
    """What uvicorn holds in the place of a transport that it no longer has: closed for all it can tell."""

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


_GONE = _Gone()


class PlainHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, whose connection the application can cut: ASGI only knows how to wait for its client.

    A client that ends its side behind a whole request is answered all the same (`RequestExchange`).
    """

    _half_closed = False

    def eof_received(self) -> bool | None:  # type: ignore[override]
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            return None
        self._half_closed = True
        cycle.keep_alive = False
        cycle.message_event.set()
        return True  # the transport stays open for the answer, and closes behind it

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        async def answered(scope: Any, _receive: Any, _send: Any) -> None:
            exchange = RequestExchange(cycle, self._is_half_closed)
            scope["extensions"][BODY] = exchange.whole_body
            await app(scope, exchange.receive, exchange.send)  # type: ignore[arg-type]
            if self._half_closed and cycle.response_started and not cycle.response_complete:
                # A stream that ended because its client did; uvicorn would take it for a fault.
                cycle.disconnected = True
                self.transport.close()

        super()._start_asgi_task(cycle, answered)

    def _is_half_closed(self) -> bool:
        return self._half_closed

    def on_headers_complete(self) -> None:
        self.scope["extensions"] = self._offers()
        super().on_headers_complete()

    def _offers(self) -> dict[str, Any]:
        return {
            ABORT: self._abort,
            DRAINED: self.flow.drain,
            HOLD: partial(hold_little, self.transport),
            LIMIT: partial(limit_send_buffer, self.transport),
            UNREAD: partial(UnreadGauge().read, self.transport),
        }

    def _abort(self) -> None:
        self.transport.abort()


class PlainWebSocketProtocol(WebSocketsSansIOProtocol):
    """The same for a WebSocket, whose handshake is refused without repeating what the client sent."""

    def handle_connect(self, event: Request) -> None:
        try:
            self.conn.process_request(event)
        except InvalidHandshake:
            self._refuse(event)
            return
        super().handle_connect(event)
        if not self.handshake_complete:
            self.scope["extensions"] = {**(self.scope["extensions"] or {}), **self._offers()}

    def _refuse(self, event: Request) -> None:
        """Answers a handshake that is not as RFC 6455 wants it, and closes the connection."""
        known = event.headers.get_all("Sec-WebSocket-Version") == [VERSION]
        problem = Problem(
            "bad_request" if known else "websocket_version", "" if known else f"this is version {VERSION}"
        )
        answer = to_response(problem)
        count_refusal(problem.code)
        raw = [*answer.raw_headers, *self.default_headers, (b"connection", b"close")]
        head = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw]
        if not known:
            head.append(("Sec-WebSocket-Version", VERSION))
        status = HTTPStatus(answer.status_code)
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        self.conn.send_response(Response(status.value, status.phrase, Headers(head), bytes(answer.body)))
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

    def _offers(self) -> dict[str, Any]:
        return {
            ABORT: self._abort,
            PLAINLY: self._send_plainly,
            DRAINED: self.writable.wait,
            HOLD: partial(hold_little, self.transport),
            LIMIT: partial(limit_send_buffer, self.transport),
            UNREAD: partial(UnreadGauge().read, self.transport),
        }

    def _abort(self) -> None:
        self.transport.abort()

    def _send_plainly(self) -> None:
        """Takes back what was agreed of compression; the answer to the handshake is not sent yet."""
        self.conn.extensions = []
        self.response.headers.pop("Sec-WebSocket-Extensions", None)


class TakeoverHttpProtocol(PlainHttpProtocol):
    """uvicorn's HTTP protocol, whose connection may be taken over behind the head of an answer."""

    _received = b""

    def data_received(self, data: bytes) -> None:
        self._received = data
        super().data_received(data)
        self._received = b""

    def handle_websocket_upgrade(self) -> None:
        # uvicorn forgets what a client sent in one packet with its handshake; the parser says where that begins.
        upgrade = sys.exc_info()[1]
        assert isinstance(upgrade, httptools.HttpParserUpgrade)
        rest = self._received[upgrade.args[0] :]
        super().handle_websocket_upgrade()
        if rest:
            # The transport has the WebSocket's protocol now; uvloop's and asyncio's both say which.
            cast(asyncio.Protocol, self.transport.get_protocol()).data_received(rest)

    def _offers(self) -> dict[str, Any]:
        return {**super()._offers(), EXTENSION: self}

    @property
    def chunks(self) -> bool:
        """Whether the body is in chunked coding; an HTTP/1.0 client knows none."""
        return bool(self.scope["http_version"] != "1.0")

    def available(self, scope: Mapping[str, Any]) -> bool:
        """Says whether the connection can be handed over behind this answer; no where another request waits behind it."""
        cycle = self.cycle
        if cycle is None or cycle.scope.get("extensions") is not scope.get("extensions") or self._half_closed:
            return False
        return not (cycle.more_body or cycle.response_started or self.pipeline or self.transport.is_closing())

    def open_ended(self, keeps: bool = False) -> None:
        """Makes the answer one that ends with the connection; called before its head is written."""
        # uvicorn then adds `connection: close`, and by itself `transfer-encoding: chunked`.
        self.cycle.keep_alive = keeps and self.cycle.keep_alive
        if not self.chunks:
            self.cycle.chunked_encoding = False

    def detach(self, reader: asyncio.Protocol) -> bool:
        """Gives the connection to `reader`; uvicorn knows of it no more."""
        cycle, transport = self.cycle, self.transport
        if transport.is_closing() or self._half_closed:
            return False
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        self.server_state.total_requests += 1
        self.transport = cycle.transport = _GONE
        cycle.response_complete = True
        cycle.scope["extensions"] = {}
        _hand_over(transport, reader)
        return True

    def returns(self) -> Callable[[asyncio.Transport], None] | None:
        """What takes the connection back, as a new one: a client that was told that it is kept sends its next request on it."""
        if not (self.cycle.keep_alive and self.chunks):
            return None

        # It is kept for as long as the stream goes on, and this protocol, with its request, is not.
        anew = partial(type(self), self.config, self.server_state, self.app_state, self.loop)
        return partial(_take_back, anew)


def _take_back(anew: Callable[[], asyncio.Protocol], transport: asyncio.Transport) -> None:
    transport.set_write_buffer_limits()
    _hand_over(transport, anew())


class TakeoverWebSocketProtocol(PlainWebSocketProtocol):
    """uvicorn's WebSocket protocol, whose connection may be taken over once it is accepted.

    From the handshake on nothing is read until the application asks for a message or takes the connection over: so there is nothing
    half parsed to take along.
    """

    _held = False
    _early = b""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.conn.available_extensions = [COMPRESSION]

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.handshake_complete:
            self._held = True
            self.transport.pause_reading()

    def _offers(self) -> dict[str, Any]:
        return {**super()._offers(), EXTENSION: self}

    def data_received(self, data: bytes) -> None:
        if self._held:
            # What was under way when reading was paused: one packet at most.
            self._early += data
        else:
            super().data_received(data)

    async def receive(self) -> ASGIReceiveEvent:
        if self._held and self.queue.empty():
            self._release()
        return await super().receive()

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if self._held and message["type"] == "websocket.close":
            self._release()

    @property
    def compresses(self) -> bool:
        """Whether the client takes compressed messages, and may send them."""
        return bool(self.conn.extensions)

    def _release(self) -> None:
        self._held = False
        early, self._early = self._early, b""
        if not self.transport.is_closing():
            self.transport.resume_reading()
            if early:
                super().data_received(early)

    def detach(self, reader: asyncio.Protocol) -> bool:
        """Gives the connection to `reader`; uvicorn knows of it no more."""
        transport = self.transport
        if not self._held or not self.handshake_complete or self.close_sent or self.disconnected:
            return False
        if transport.is_closing():
            return False
        self.stop_keepalive()
        self.connections.discard(self)
        self.scope["extensions"] = {}
        self.transport = _GONE
        self.disconnected = True
        early, self._early = self._early, b""
        _hand_over(transport, reader)
        transport.resume_reading()
        if early:
            reader.data_received(early)
        return True


def _hand_over(transport: asyncio.Transport, reader: asyncio.Protocol) -> None:
    transport.set_protocol(reader)
    reader.connection_made(transport)
