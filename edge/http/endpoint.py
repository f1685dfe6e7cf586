"""Serves the requests of one route: authenticates, calls the handler, sends its answer, and measures.

What else would be five applications around a handler, each with a `send` of its own, is one; it is on the way of every event
that comes by HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge import metrics
from edge.auth.authenticator import Access, Authenticator
from edge.errors import Problem
from edge.http.body import JsonAnswer, http_problem
from edge.http.head import header_of
from edge.http.middleware import admitted
from edge.problem import Refusal
from edge.transports.refusal import refuse
from router import tracing
from router.errors import RouterError

Handler = Callable[[Request], Awaitable[ASGIApp]]

# Statuses by their first digit.
_KINDS = ("1xx", "2xx", "3xx", "4xx", "5xx")


class HttpEndpoint:
    """The application of a route whose handler is a function."""

    def __init__(self, handler: Handler, route: str, access: Access, authenticator: Authenticator) -> None:
        self._handler = handler
        self._access = access
        self._authenticator = authenticator
        self._counts = [metrics.requests.labels(route, kind) for kind in _KINDS]
        self._seconds = metrics.request_seconds.labels(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request. Its log lines carry its session and its trace."""
        begun = time.perf_counter()
        session = scope["path_params"].get("session_id")
        trace = tracing.trace_id(header_of(scope, b"traceparent"))
        if session is None and trace is None:
            await self._serve(scope, receive, send, begun)
            return
        with tracing.bind(session=session, trace=trace):
            await self._serve(scope, receive, send, begun)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, begun: float) -> None:
        beginning = _Beginning(self, begun)
        request = Request(scope, receive, send)
        try:
            send = await admitted(scope, send, self._authenticator, self._access)
            answer = await self._handler(request)
            await beginning.send(answer, scope, receive, send)
        except Exception as fault:
            # Where the answer has begun, the server ends the connection.
            if beginning.is_over:
                raise
            await beginning.send(await answer_to(request, fault), scope, receive, send)
            if not isinstance(fault, EXPECTED):
                raise

    def observe(self, status: int, begun: float) -> None:
        """Counts a request by its answer's status, and times it until its answer begins."""
        self._counts[status // 100 - 1].add(1)
        self._seconds.observe_many(time.perf_counter() - begun, 1)


# Answers that have one status, and send that at once.
_AT_ONCE = (JsonAnswer, Response, Refusal)


class _Beginning:
    """Whether the answer to a request has begun; it is measured then."""

    __slots__ = ("_begun", "_endpoint", "_send", "is_over")

    def __init__(self, endpoint: HttpEndpoint, begun: float) -> None:
        self._endpoint = endpoint
        self._begun = begun
        self.is_over = False

    async def send(self, answer: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends an answer."""
        if type(answer) in _AT_ONCE:
            assert isinstance(answer, Response)
            self._observe(answer.status_code)
            await answer(scope, receive, send)
            return
        self._send = send
        await answer(scope, receive, self._forward)

    async def _forward(self, message: Message) -> None:
        if not self.is_over and "status" in message:
            self._observe(message["status"])
        await self._send(message)

    def _observe(self, status: int) -> None:
        self.is_over = True
        self._endpoint.observe(status, self._begun)


# What refuses a request; anything else is a fault of ours, which the server logs.
EXPECTED = (Problem, RouterError, HTTPException)


async def answer_to(request: Request, fault: Exception) -> Response:
    """The answer to a request that raised something."""
    return await (http_problem if isinstance(fault, HTTPException) else refuse)(request, fault)


def with_faults_answered(app: ASGIApp) -> ASGIApp:
    """Has what another application raises answered in the same way."""
    handlers = {Problem: refuse, RouterError: refuse, HTTPException: http_problem}
    return ServerErrorMiddleware(ExceptionMiddleware(app, handlers=handlers), handler=refuse)
