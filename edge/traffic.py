"""This file is where requests are counted by the route that took them, and polls by what they brought and confirmed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge import metrics
from router import tracing

if TYPE_CHECKING:
    from edge.transports.polling import Polled

# Statuses by their first digit; a WebSocket that was accepted counts as 1xx.
KINDS = ("1xx", "2xx", "3xx", "4xx", "5xx")
# Polls whose receipt is still to come, by session and cursor: 10,000 of them are some 2 MB.
MOST_AWAITED = 10_000


class Timed:
    """One route, with its requests counted and timed until their answer begins."""

    def __init__(self, app: ASGIApp, route: str) -> None:
        self.app = app
        self._counts = {kind: metrics.requests.labels(route, kind) for kind in KINDS}
        self._seconds = metrics.request_seconds.labels(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        begun = time.perf_counter()
        told = False

        def tell(kind: str) -> None:
            nonlocal told
            if not told:
                told = True
                self._counts[kind].inc()
                self._seconds.observe(time.perf_counter() - begun)

        async def counted(message: Message) -> None:
            if not told:
                if "status" in message:
                    tell(f"{message['status'] // 100}xx")
                elif message["type"] == "websocket.accept":
                    tell("1xx")
                elif message["type"] == "websocket.close":
                    tell("4xx")
            await send(message)

        session = scope.get("path_params", {}).get("session_id")
        traced = next((value for name, value in scope.get("headers", ()) if name == b"traceparent"), b"")
        with tracing.bind(session=session, trace=tracing.trace_id(traced.decode("latin-1"))):
            await self.app(scope, receive, counted)


class Receipts:
    """What polls were answered with and when it was said, until the next poll confirms it."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], float] = {}
        self._delivered = metrics.delivered.labels("polling")
        self._written = metrics.written.labels("polling")
        self._seconds = metrics.write_seconds.labels("polling")
        self._late = metrics.replay_seconds.labels("polling")
        self._acknowledged = metrics.acknowledge_seconds.labels("polling")

    def polled(self, session: str, came_with: str, polled: Polled, size: int) -> None:
        """Counts an answer to a poll; the cursor it came with confirms the answer that had it as `next`."""
        now = time.time()
        if (said := self._said.pop((session, came_with), None)) is not None:
            self._acknowledged.observe(max(0.0, now - said))
        if not polled.records:
            return
        self._delivered.inc(len(polled.records))
        self._written.inc(size)
        event = polled.records[-1].event
        if event is None:
            return
        age = max(0.0, now - event.time / 1e9)
        # A poll that waited was answered by what was just said; the others read what lay there.
        (self._seconds if polled.waited else self._late).observe(age)
        self._said[session, polled.next] = event.time / 1e9
        if len(self._said) > MOST_AWAITED:
            del self._said[next(iter(self._said))]
