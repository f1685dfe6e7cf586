"""Carries one request and its answer between uvicorn and the application, in fewer steps and writes than uvicorn takes.

- An answer with a length is sent with one write. uvicorn writes the head and the body apart, uvloop sends each at once, and a
  client that reads the head alone has been woken for nothing.
- A body that has come whole with its head can be taken without waiting (`whole_body`).
- A client that has ended its side of the connection behind its request (`nc -N`) is answered, where uvicorn would hang up. A
  stream takes the end for the client's leaving: the two look the same, and a reader that has left must not be kept until a write
  to it fails. So an answer with a length is written to its end, and one without ends where the client did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, cast

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

_LENGTH, _CONNECTION = b"content-length", b"connection"
_NO_BODY = (204, 304)


class RequestExchange:
    """`receive` and `send` of one request, over uvicorn's cycle of it."""

    __slots__ = ("_begun", "_closed", "_cycle", "_endless", "_head", "_whole")

    def __init__(self, cycle: RequestResponseCycle, closed: Callable[[], bool]) -> None:
        """`closed()` says whether the client has ended its side of the connection."""
        self._cycle = cycle
        self._closed = closed
        self._whole = False  # whether the request was given to the application
        self._begun: asyncio.Event | None = None  # made where somebody waits for the answer's beginning
        self._endless: bool | None = None  # of the answer; None until it begins
        self._head: Message | None = None  # of an answer with a length, until its body comes

    def whole_body(self) -> bytes | None:
        """Takes the request's body where all of it is here, as `receive` would; None where it must be waited for."""
        cycle = self._cycle
        if self._whole or cycle.more_body or cycle.disconnected or cycle.response_complete:
            return None
        self._whole = True
        body = bytes(cycle.body)
        cycle.body = bytearray()
        cycle.message_event.clear()
        cycle.flow.resume_reading()
        return body

    async def receive(self) -> Message:
        """The next part of the request, or that its client has left."""
        while True:
            if self._whole and self._closed():
                if self._endless is None:
                    self._begun = asyncio.Event()
                    await self._begun.wait()
                if self._endless:
                    return {"type": "http.disconnect"}
            message = cast(Message, await self._cycle.receive())
            if message["type"] != "http.request" or message.get("more_body", False):
                return message
            if not self._whole:
                self._whole = True
                return message
            # Said a second time: uvicorn was woken because the client ended its side.

    async def send(self, message: Message) -> None:
        """Sends a part of the answer; the head of one with a length goes with the first part of its body."""
        if self._endless is None and message["type"] == "http.response.start":
            has_length = _LENGTH in [name for name, _ in message.get("headers", ())]
            self._endless = not has_length and message["status"] not in _NO_BODY
            if self._begun is not None:
                self._begun.set()
            if has_length:
                self._head = message
                return
        head, self._head = self._head, None
        if head is not None:
            if not message.get("more_body", False) and _is_answered(self._cycle, head, message.get("body", b"")):
                return
            await self._send(head)
        await self._send(message)

    async def _send(self, message: Any) -> None:
        await self._cycle.send(message)


def _is_answered(cycle: RequestResponseCycle, head: Message, body: bytes) -> bool:
    """Sends a whole answer with one write, as uvicorn's `send` does with two; says no where it has to be sent by that."""
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused or cycle.access_log:
        return False
    if cycle.scope["method"] == "HEAD" or head["status"] in _NO_BODY:
        return False
    parts = [STATUS_LINE[head["status"]], default_lines(cycle.default_headers)]
    for name, value in head["headers"]:
        if name == _CONNECTION or HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
            return False
        if name == _LENGTH and int(value) != len(body):
            return False
        parts += name, b": ", value, b"\r\n"
    parts += b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", body
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join(parts))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


class _DefaultLines:
    """The headers of every answer as they are written; uvicorn makes another list of them each second, with the date."""

    headers: ClassVar[list[tuple[bytes, bytes]]] = []
    lines: ClassVar[bytes] = b""


def default_lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    """The headers of every answer as lines of a head."""
    if headers is not _DefaultLines.headers:
        _DefaultLines.headers = headers
        _DefaultLines.lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    return _DefaultLines.lines
