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
from edge.transports.fast.plain_request import PlainAnswer, PlainRequest, lines_of_answer, read_request, refusal_of

log = logging.getLogger(__name__)


class DirectHandler(Protocol):
    """Answers plain requests."""

    def take(self, asked: PlainRequest, peer: str) -> Coroutine[Any, Any, PlainAnswer] | None:
        """What answers a request of a peer's address; None where the application is to answer."""


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
        if self._is_between_requests() and (asked := read_request(data, self.most_head)) is not None:
            answer = self.direct.take(asked, self.client[0] if self.client else "")
            if answer is not None:
                self._begin_answer(answer)
                return
        super().data_received(data)

    def _is_between_requests(self) -> bool:
        is_idle = self.cycle is None or self.cycle.response_complete
        return is_idle and not self._begun and not self._in_body and not self.pipeline

    def _begin_answer(self, answer: Coroutine[Any, Any, PlainAnswer]) -> None:
        self._cancel_timeout()
        # The next head is timed from its first byte on.
        self._in_head = False
        self._is_answering = True
        self._task = self.loop.create_task(self._answer(answer))
        self.tasks.add(self._task)

    async def _answer(self, coming: Coroutine[Any, Any, PlainAnswer]) -> None:
        # The one of this answer: the next request may have begun before this ends.
        task = self._task
        try:
            await self._send_answer(coming)
        finally:
            # Not by a callback of the task, which would be one more turn of the loop.
            self.tasks.discard(task)

    async def _send_answer(self, coming: Coroutine[Any, Any, PlainAnswer]) -> None:
        try:
            answer = await coming
        except Exception:
            log.exception("a request could not be answered; its client gets status 500")
            answer, self._ends = refusal_of(Problem("internal")), True
        transport = self.transport
        if transport.is_closing():
            return
        transport.write(lines_of_answer(answer, default_lines(self.server_state.default_headers), not self._ends))
        self.server_state.total_requests += 1
        if self.flow.write_paused:
            await self.flow.drain()
        self._is_answering = False
        if self._ends:
            transport.close()
            return
        self._answered = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._keep_alive(self.timeout_keep_alive)
        if self._late:
            late, self._late = self._late, b""
            transport.resume_reading()
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
