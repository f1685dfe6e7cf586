"""The asyncio protocol of one connection to a receiver: it feeds received bytes to the parser of the awaited answer."""

from __future__ import annotations

import asyncio
import time
from typing import cast

from edge.webhooks.client.answer import BadAnswer, ResponseReader


class Wire(asyncio.Protocol):
    """One connection, with at most one request under way."""

    # What aiohttp's connector asks of a protocol: these connections never return to its own pool.
    closed = None
    should_close = True

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        # Whether bytes came without a request: they would be taken for the next answer.
        self.unasked = False
        # When the first byte of the answer came, on the monotonic clock; 0 before.
        self.heard = 0.0
        self._answer: ResponseReader | None = None
        self._done: asyncio.Future[None] | None = None

    def is_connected(self) -> bool:
        """Whether the connection is open."""
        return self.transport is not None and not self.transport.is_closing()

    def close(self) -> None:
        """Closes the connection at once: a graceful close waits until the receiver has read what it was sent."""
        if self.transport is not None:
            self.transport.abort()
            self.transport = None

    abort = close

    def begin(self, answer: ResponseReader) -> asyncio.Future[None]:
        """Starts to wait for an answer.

        The future is done when no more of it is needed; it raises BadAnswer, or an OSError where the connection ended
        before a status line had come.
        """
        self.heard = 0.0
        self._answer = answer
        self._done = asyncio.get_running_loop().create_future()
        return self._done

    def finish(self) -> None:
        """Stops waiting for the answer."""
        self._answer = self._done = None

    def expire(self) -> None:
        """Ends the wait at its deadline: with the answer so far where its status line has come, else with TimeoutError."""
        if self._answer is None or self._done is None or self._done.done():
            return
        if self._answer.end():
            self._done.set_result(None)
        else:
            self._done.set_exception(TimeoutError())

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        answer, done = self._answer, self._done
        if answer is None or done is None or done.done():
            self.unasked = True
            self.close()
            return
        if not self.heard:
            self.heard = time.monotonic()
        try:
            if answer.feed(data):
                done.set_result(None)
        except BadAnswer as fault:
            done.set_exception(fault)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._answer is None or self._done is None or self._done.done():
            return
        if self._answer.end():
            self._done.set_result(None)
        else:
            self._done.set_exception(exc or ConnectionResetError("the receiver closed the connection"))
