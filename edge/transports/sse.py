"""This file is where a session is read as server-sent events."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from edge import metrics
from edge.dialects import DIALECTS
from edge.disconnect import cut
from edge.hub import Hub
from edge.lane.meter import Meter
from edge.registry import Session
from edge.session import Notice, Pace, Reader
from edge.stats import Stats
from edge.transports.wires import SseWire
from router.cursor import Start

if TYPE_CHECKING:
    from edge.lane.lanes import Lanes

# 2 kB of comment: some proxies and old browsers show nothing before their buffer has that much.
PADDING = b":" + b" " * 2048 + b"\n"

WIRES = {name: SseWire(name, dialect) for name, dialect in DIALECTS.items()}

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class _StreamReader(Reader):
    __slots__ = ()

    transport_name = "sse"


class SseResponse:
    """An ASGI response that streams one reader until the client leaves or the server says `bye`."""

    def __init__(
        self, hub: Hub, session: Session, start: Start, stats: Stats, pace: Pace, lanes: Lanes | None = None
    ) -> None:
        self._hub = hub
        self._session = session
        self._start = start
        self._stats = stats
        self._pace = pace
        self._lanes = lanes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._lanes and await self._lanes.take_stream(
            scope, send, self._session, self._start, self._stats, self._pace
        ):
            return
        wire = WIRES[self._session.spec.dialect]
        gauge = metrics.readers.labels("sse")
        view, session_id = self._session.view, self._session.id
        async with self._hub.reader(view, session_id, self._stats, self._pace, _StreamReader) as reader:
            reader.wear(self._session.badge)
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await send({"type": "http.response.body", "body": PADDING + b"\n", "more_body": True})
            self._stats.sses += 1
            self._stats.served += 1
            gauge.inc()
            gone = asyncio.ensure_future(_until_gone(receive))
            pump = asyncio.ensure_future(self._pump(reader, wire, send))
            try:
                await asyncio.wait((gone, pump), return_when=asyncio.FIRST_COMPLETED)
                if pump.done():
                    pump.result()
            except TimeoutError:
                cut(scope, "sse")
            finally:
                for task in (gone, pump):
                    task.cancel()
                await asyncio.gather(gone, pump, return_exceptions=True)
                self._stats.sses -= 1
                gauge.dec()

    async def _pump(self, reader: Reader, wire: SseWire, send: Send) -> None:
        timeout = self._hub.settings.send_timeout
        meter = Meter("sse")
        async with aclosing(reader.read(self._start)) as steps:
            async for step in steps:
                body = wire.notice(step) if isinstance(step, Notice) else step.made(wire)
                async with asyncio.timeout(timeout):
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                if not isinstance(step, Notice):
                    meter.wrote(step, len(body))
                elif step.control == "bye":
                    metrics.disconnects.labels("sse", step.body["reason"]).inc()
                    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def last_event_id(request: Request) -> str | None:
    """The cursor a reconnecting client sends: the header wins over the query."""
    return request.headers.get("last-event-id") or request.query_params.get("last_event_id") or None
