"""This file is where the edge loses patience with a connection: a head that does not end, a body that dribbles.

uvicorn waits for both without end. Who opens many connections and says a byte now and then would hold them all.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from edge.errors import Problem
from edge.problem import count_refusal, to_response
from edge.settings import LimitSettings


class TooLarge(Exception):
    """the head of a request is larger than it may be"""


def with_timeouts(base: type[HttpToolsProtocol], limits: LimitSettings) -> type[HttpToolsProtocol]:
    """Makes an HTTP protocol that gives up on who takes too long, or says too much before it says what it wants."""

    class TimedProtocol(base):  # type: ignore[misc, valid-type]
        """An HTTP protocol with deadlines."""

        _deadline: asyncio.TimerHandle | None = None
        _heard = 0  # bytes since a head began
        _head_size = 0  # of those, what is parsed
        _in_head = True
        _begun = False  # whether of this head anything has come
        _in_body = False
        _too_large = False

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self._wait(limits.head_seconds)

        def connection_lost(self, exc: Exception | None) -> None:
            self._wait(0)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._in_head:
                self._heard += len(data)
                # The parser keeps a header that has not ended; twice the limit is more than one packet behind it.
                if self._heard > 2 * limits.head_bytes + 256 * 1024:
                    self._too_large = True
                    self.send_400_response("")
                    return
            super().data_received(data)

        def on_message_begin(self) -> None:
            if not self._in_head:
                self._in_head, self._heard, self._head_size = True, 0, 0
                self._wait(limits.head_seconds)
            self._begun = True
            super().on_message_begin()

        def on_url(self, url: bytes) -> None:
            self._count(len(url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._count(len(name) + len(value) + 4)
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._in_head, self._begun, self._in_body = False, False, True
            self._wait(0)
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._in_body = False
            self._wait(0)
            super().on_message_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self._in_body:
                # It is answered, and still sends what nobody reads.
                self._wait(limits.body_seconds)

        def send_400_response(self, msg: str) -> None:
            self._refuse("head_too_large" if self._too_large else "bad_request")

        def _count(self, size: int) -> None:
            self._head_size += size
            if self._head_size > limits.head_bytes:
                self._too_large = True
                raise TooLarge

        def _wait(self, seconds: float) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
            if seconds:
                self._deadline = self.loop.call_later(seconds, self._late)

        def _late(self) -> None:
            self._deadline = None
            if self.transport.is_closing():
                return
            if self._begun and (self.cycle is None or self.cycle.response_complete):
                self._refuse("request_timeout")
            else:
                self.transport.close()

        def _refuse(self, code: str) -> None:
            """Answers from outside the application, and hangs up."""
            self._wait(0)
            if self.transport.is_closing():
                return
            answer = to_response(Problem(code))
            count_refusal(code)
            head: list[Any] = [STATUS_LINE[answer.status_code]]
            for name, value in (*answer.raw_headers, *self.server_state.default_headers, (b"connection", b"close")):
                head += [name, b": ", value, b"\r\n"]
            self.transport.write(b"".join([*head, b"\r\n", bytes(answer.body)]))
            self.transport.close()

    return TimedProtocol
