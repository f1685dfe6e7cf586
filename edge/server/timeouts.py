"""Request timeouts: closes HTTP connections whose head or body arrives too slowly (slow loris) or whose head is too large.

uvicorn waits for both without limit, so a client could hold many connections by sending a byte now and then.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, NoReturn, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from edge.errors import Problem
from edge.problem import count_refusal, to_response
from edge.settings import LimitSettings


class HeadTooLarge(Exception):
    """the head of a request is larger than allowed"""


class TimedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a timeout for each request head and body, and a maximal head size."""

    limits: ClassVar[LimitSettings]

    # For how many seconds this connection was waited for before it was this protocol's.
    waited = 0.0
    _timeout: asyncio.TimerHandle | None = None
    _head_received = 0  # bytes since the head began
    _head_size = 0  # of these, how many are parsed
    _in_head = True
    _begun = False  # whether any byte of this head has arrived
    _in_body = False
    _too_large = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.limits.head_seconds:
            self._start_timeout(max(0.001, self.limits.head_seconds - self.waited))

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timeout()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_received += len(data)
            # The parser buffers a header line until it ends; twice the limit is more than one packet above it.
            if self._head_received > 2 * self.limits.head_bytes + 256 * 1024:
                self._too_large = True
                self.send_400_response("")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        if not self._in_head:
            self._in_head, self._head_received, self._head_size = True, 0, 0
            self._start_timeout(self.limits.head_seconds)
        self._begun = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._head_size += len(url)
        if self._head_size > self.limits.head_bytes:
            self._refuse_head()
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value) + 4
        if self._head_size > self.limits.head_bytes:
            self._refuse_head()
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._begun, self._in_body = False, False, True
        self._cancel_timeout()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        self._cancel_timeout()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body:
            # The response is sent, and the client still sends a body that nothing reads.
            self._start_timeout(self.limits.body_seconds)

    def send_400_response(self, msg: str) -> None:
        self._refuse("head_too_large" if self._too_large else "bad_request")

    def _refuse_head(self) -> NoReturn:
        self._too_large = True
        raise HeadTooLarge

    def _start_timeout(self, seconds: float) -> None:
        self._cancel_timeout()
        if seconds:
            self._timeout = self.loop.call_later(seconds, self._timed_out)

    def _cancel_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _timed_out(self) -> None:
        self._timeout = None
        if self.transport.is_closing():
            return
        if self._begun and (self.cycle is None or self.cycle.response_complete):
            self._refuse("request_timeout")
        else:
            self.transport.close()

    def _refuse(self, code: str) -> None:
        """Answers in place of the application, and closes the connection."""
        self._cancel_timeout()
        if self.transport.is_closing():
            return
        answer = to_response(Problem(code))
        count_refusal(code)
        head: list[Any] = [STATUS_LINE[answer.status_code]]
        for name, value in (*answer.raw_headers, *self.server_state.default_headers, (b"connection", b"close")):
            head += [name, b": ", value, b"\r\n"]
        self.transport.write(b"".join([*head, b"\r\n", bytes(answer.body)]))
        self.transport.close()


def with_timeouts(base: type[HttpToolsProtocol], limits: LimitSettings) -> type[TimedHttpProtocol]:
    """Adds request timeouts and the head limit to an HTTP protocol class."""
    return cast(type[TimedHttpProtocol], type(f"Timed{base.__name__}", (TimedHttpProtocol, base), {"limits": limits}))
