"""Middleware that counts and times the requests of a route."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge import metrics
from router import tracing

# Statuses by their first digit; a WebSocket that was accepted counts as 1xx.
KINDS = ("1xx", "2xx", "3xx", "4xx", "5xx")


class RequestMetrics:
    """Counts a route's requests, and times them until their answer begins."""

    def __init__(self, app: ASGIApp, route: str) -> None:
        self.app = app
        self._counts = {kind: metrics.requests.labels(route, kind) for kind in KINDS}
        self._seconds = metrics.request_seconds.labels(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request, and observes when its answer begins."""
        begun = time.perf_counter()
        observed = False

        def observe(kind: str) -> None:
            nonlocal observed
            if not observed:
                observed = True
                self._counts[kind].inc()
                self._seconds.observe(time.perf_counter() - begun)

        async def counted(message: Message) -> None:
            if not observed:
                if "status" in message:
                    observe(f"{message['status'] // 100}xx")
                elif message["type"] == "websocket.accept":
                    observe("1xx")
                elif message["type"] == "websocket.close":
                    observe("4xx")
            await send(message)

        session = scope.get("path_params", {}).get("session_id")
        traced = next((value for name, value in scope.get("headers", ()) if name == b"traceparent"), b"")
        with tracing.bind(session=session, trace=tracing.trace_id(traced.decode("latin-1"))):
            await self.app(scope, receive, counted)
