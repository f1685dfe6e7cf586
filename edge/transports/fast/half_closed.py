"""Answers a request whose client has ended its side of the connection behind it (`nc -N`), where uvicorn would hang up.

A stream takes the end for the client's leaving: the two look the same, and a reader that has left must not be kept until a
write to it fails. So an answer with a length is written to its end, and one without ends where the client did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HalfClosable:
    """An application that gets `http.disconnect`, where the client ended its side and the answer has no end."""

    def __init__(self, app: ASGIApp, closed: Callable[[], bool]) -> None:
        self._app = app
        self._closed = closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(receive, send, self._closed)
        await self._app(scope, exchange.receive, exchange.send)


class _Exchange:
    def __init__(self, receive: Receive, send: Send, closed: Callable[[], bool]) -> None:
        self._receive = receive
        self._send = send
        self._closed = closed
        self._whole = False  # whether the request was given to the application
        self._begun = asyncio.Event()
        self._endless = False

    async def receive(self) -> Message:
        while True:
            if self._whole and self._closed():
                await self._begun.wait()
                if self._endless:
                    return {"type": "http.disconnect"}
            message = await self._receive()
            if message["type"] != "http.request" or message.get("more_body", False):
                return message
            if not self._whole:
                self._whole = True
                return message
            # Said a second time: uvicorn was woken because the client ended its side.

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            self._endless = b"content-length" not in names and message["status"] not in (204, 304)
            self._begun.set()
        await self._send(message)
