"""Serves a session as server-sent events through plain ASGI, where the socket cannot be taken over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from edge import metrics
from edge.disconnect import COMPLETED
from edge.hub.hub import Hub
from edge.hub.meter import Meter
from edge.hub.reader import Reader, open_reader
from edge.stats import Stats
from edge.transports.abort import abort, cut
from edge.transports.encoders import bind, sse_encoder
from edge.types import Encoder, Notice, ReadRequest
from edge.view import Pace
from router.cursor import Start, parse_start
from router.errors import BadCursor


class _StreamReader(Reader):
    __slots__ = ()

    transport_name = "sse"


class _CutOffError(Exception):
    """The stream ends before what it is about, and its client must not take that for the end."""


class SseResponse:
    """An ASGI response that streams one reader until the client leaves or the server says `bye`."""

    def __init__(self, hub: Hub, asked: ReadRequest, start: Start, stats: Stats, pace: Pace) -> None:
        self._hub = hub
        self._asked = asked
        self._start = start
        self._stats = stats
        self._pace = pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        encoder = sse_encoder(self._asked)
        gauge = metrics.readers.labels("sse")
        view, session_id = self._asked.view, self._asked.session_id
        async with open_reader(self._hub, view, session_id, self._stats, self._pace, kind=_StreamReader) as reader:
            bind(encoder, reader)
            reader.authorize(self._asked.authorization)
            await send({"type": "http.response.start", "status": 200, "headers": self._asked.dialect.headers})
            await send({"type": "http.response.body", "body": encoder.opening, "more_body": True})
            self._stats.sses += 1
            self._stats.served += 1
            gauge.inc()
            gone = asyncio.ensure_future(_until_gone(receive))
            pump = asyncio.ensure_future(self._pump(reader, encoder, send))
            try:
                await asyncio.wait((gone, pump), return_when=asyncio.FIRST_COMPLETED)
                if pump.done():
                    pump.result()
            except TimeoutError:
                abort(scope, "sse")
            except _CutOffError:
                cut(scope)
            finally:
                for task in (gone, pump):
                    task.cancel()
                await asyncio.gather(gone, pump, return_exceptions=True)
                self._stats.sses -= 1
                gauge.dec()

    async def _pump(self, reader: Reader, encoder: Encoder, send: Send) -> None:
        timeout = self._hub.settings.send_timeout
        meter = Meter("sse")
        async with aclosing(reader.read(self._start)) as steps:
            async for step in steps:
                body = encoder.notice(step) if isinstance(step, Notice) else encoder.encode(step)
                async with asyncio.timeout(timeout):
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                if not isinstance(step, Notice):
                    meter.wrote(step, len(body))
                    if encoder.over:
                        reader.close(COMPLETED)
                elif step.control == "bye":
                    metrics.disconnects.labels("sse", step.body["reason"]).inc()
                    if encoder.dialect.cuts and step.body["reason"] != COMPLETED.reason:
                        raise _CutOffError
                    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def stream_start(request: Request, otherwise: Callable[[], Start]) -> Start:
    """Where a stream begins: behind the last event id that its client has, else where its address or its session says.

    A text that is no cursor of ours, such as `0` or an id of another server, begins there too, and gets a `gap`:
    a browser repeats its id at each reconnection, and 400 would end it for good. Raises BadCursor for the address's own
    `cursor`, `since` and `last`.
    """
    found = last_event_id(request)
    if found is None:
        return otherwise()
    try:
        return parse_start(found) or otherwise()
    except BadCursor:
        return replace(otherwise(), foreign=True)


def last_event_id(request: Request) -> str | None:
    """The last event id that a client sends as it reconnects; None where it has none.

    The header wins. Polyfills that may set no header send `lastEventId` in the query, in one spelling or another, behind
    what the address had already.
    """
    return request.headers.get("last-event-id") or last_event_id_in(request.query_params)


def last_event_id_in(query: QueryParams) -> str | None:
    """The last event id in a query."""
    named = [value for name, value in query.multi_items() if _plain(name) == "lasteventid" and value]
    return named[-1] if named else None


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()
