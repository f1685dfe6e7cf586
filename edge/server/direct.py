"""Answers plain requests that publish events where they arrive: without ASGI, a route table and uvicorn's cycle of a request.

They are what every event that comes by HTTP takes. All others, and those between them on the same connection, are uvicorn's.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any, ClassVar, Protocol, cast

from edge.errors import Problem
from edge.server.timeouts import TimedHttpProtocol
from edge.transports.fast.exchange import default_lines
from edge.transports.fast.head import MAX_HEAD
from edge.transports.fast.plain_request import (
    PlainAnswer,
    PlainExchange,
    PlainRequest,
    lines_of_answer,
    read_request,
    refusal_of,
)

log = logging.getLogger(__name__)

_FAULT = "a request could not be answered; its client gets status 500"


class DirectHandler(Protocol):
    """Answers plain requests."""

    def take(self, asked: PlainRequest, peer: str, exchange: PlainExchange) -> bool:
        """Answers a request of a peer's address, now or later; says no where the application is to answer."""


class DirectHttpProtocol(TimedHttpProtocol):
    """uvicorn's HTTP protocol, with a shorter way for plain requests."""

    direct: ClassVar[DirectHandler]
    most_head: ClassVar[int]

    _is_answering = False
    _ends = False  # whether the connection ends behind the answer
    _late = b""  # what came while a request was answered
    _answered = 0.0  # when the last answer was sent

    def data_received(self, data: bytes) -> None:
        if self._is_answering:
            # One packet at most: reading is paused until the answer is sent.
            self._late += data
            self.transport.pause_reading()
            return
        if (
            self._is_between_requests()
            and (asked := read_request(data, self.most_head)) is not None
            and self._take(asked)
        ):
            return
        super().data_received(data)

    def _is_between_requests(self) -> bool:
        is_idle = self.cycle is None or self.cycle.response_complete
        return is_idle and not self._begun and not self._in_body and not self.pipeline

    def _take(self, asked: PlainRequest) -> bool:
        """Has a request answered, at once or later; says no where that is left to the application."""
        # Before it is known who answers, which may be done at once.
        self._is_answering = True
        try:
            taken = self.direct.take(asked, self.client[0] if self.client else "", self)
        except Exception:
            log.exception(_FAULT)
            self.fail()
            taken = True
        if taken:
            self._cancel_timeout()
            # The next head is timed from its first byte on.
            self._in_head = False
        else:
            self._is_answering = False
        return taken

    def await_answer(self, coming: Coroutine[Any, Any, PlainAnswer]) -> None:
        """Sends what a coroutine returns."""
        self._spawn(self._await_answer(coming))

    async def _await_answer(self, coming: Coroutine[Any, Any, PlainAnswer]) -> None:
        try:
            answer = await coming
        except Exception:
            log.exception(_FAULT)
            self.fail()
        else:
            self.answer(answer)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def fail(self) -> None:
        """Answers with status 500, and ends the connection."""
        self._ends = True
        self.answer(refusal_of(Problem("internal")))

    def answer(self, answer: PlainAnswer) -> None:
        """Sends the answer to the request that was taken last."""
        transport = self.transport
        if transport.is_closing():
            return
        transport.write(lines_of_answer(answer, default_lines(self.server_state.default_headers), not self._ends))
        self.server_state.total_requests += 1
        if self.flow.write_paused:
            self._spawn(self._go_on_once_sent())
        else:
            self._go_on()

    async def _go_on_once_sent(self) -> None:
        await self.flow.drain()
        self._go_on()

    def _go_on(self) -> None:
        """Takes the next request, or ends the connection."""
        self._is_answering = False
        if self._ends:
            self.transport.close()
            return
        self._answered = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._keep_alive(self.timeout_keep_alive)
        if self._late:
            late, self._late = self._late, b""
            self.transport.resume_reading()
            self.data_received(late)

    def _keep_alive(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Closes a connection that was not used for a while; the timer is not set anew with each answer."""
        self.timeout_keep_alive_task = None
        left = float(self.timeout_keep_alive)
        if not self._is_answering:
            left += self._answered - self.loop.time()
        if left > 0 and not self.transport.is_closing():
            self._keep_alive(left)
        else:
            super().timeout_keep_alive_handler()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        if not self._is_answering:
            return super().eof_received()
        # Its client wants the answer all the same.
        self._ends = True
        return True

    def shutdown(self) -> None:
        """Closes the connection, behind the answer where a request is being answered."""
        if self._is_answering:
            self._ends = True
        else:
            super().shutdown()


def with_direct(base: type[TimedHttpProtocol], handler: DirectHandler) -> type[TimedHttpProtocol]:
    """Adds the short way to an HTTP protocol class."""
    added = {"direct": handler, "most_head": min(MAX_HEAD, base.limits.head_bytes)}
    return cast(type[TimedHttpProtocol], type(f"Direct{base.__name__}", (DirectHttpProtocol, base), added))
