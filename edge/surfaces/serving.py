"""Serves a stream of the table by the readers of the hub, as a session without an entry in KV."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.dialects.dialect import Dialect, FoldedDialect
from edge.dialects.folding import Folding
from edge.errors import Problem
from edge.http.body import draining_problem, edge_of, read_query
from edge.http.credentials import address_of, principal_of
from edge.http.streams import stream_answer
from edge.sessions.registry import Session
from edge.sessions.spec import UNSTORED, SessionSpec
from edge.surfaces.surface import Reading, StreamSurface
from edge.types import ReadRequest
from router.errors import RouterError

log = logging.getLogger(__name__)


def session_of_surface(name: str, reading: Reading) -> Session:
    """The session that a reading is: it has no entry, and its id is the surface's."""
    spec = SessionSpec(
        id=UNSTORED + name,
        delivery_method="sse",
        created=0,
        start="",
        subjects=list(reading.subjects),
        events=list(reading.types) or None,
    )
    return Session(spec, 0)


async def serve(surface: StreamSurface, request: Request) -> Response | ASGIApp:
    """Answers a request for a stream of the table. Raises Problem or BrokerError."""
    edge = edge_of(request)
    if edge.draining:
        raise draining_problem()
    read_query(request, surface.query)
    dialect: Dialect = surface.dialect
    if request.method == "HEAD":
        return Response(headers={name.decode(): value.decode() for name, value in dialect.headers})
    reading = await surface.find(request)
    if isinstance(reading, Response):
        return reading
    if reading.headers:
        dialect = replace(dialect, headers=(*dialect.headers, *reading.headers))
    session = session_of_surface(surface.name, reading)
    auth = edge.connection_auths.open(principal_of(request.scope), session, address_of(request))
    try:
        view = session.view if auth is None else auth.view(session)
        folding = (
            Folding(surface.dialect, reading.parameters, reading.after, reading.ending, reading.had)
            if isinstance(surface.dialect, FoldedDialect)
            else None
        )
    except Problem:
        if auth is not None:
            auth.leave()
        raise
    asked = ReadRequest(session.id, view, dialect, auth, folding)
    # Whether the client or the server ended it can be told where plain ASGI serves it.
    answer = stream_answer(edge, asked, reading.start, surface.pace, auth, lane=reading.abandoned is None)
    return answer if reading.abandoned is None else Abandonable(answer, folding, reading.abandoned)


class Abandonable:
    """An answer whose client may leave before the end: then something is done about it."""

    def __init__(self, answer: ASGIApp, folding: Folding | None, abandoned: Callable[[], Awaitable[object]]) -> None:
        self._answer = answer
        self._folding = folding
        self._abandoned = abandoned

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ended = left = False

        async def receiving() -> Message:
            nonlocal left
            message = await receive()
            left = left or (message["type"] == "http.disconnect" and not ended)
            return message

        async def sending(message: Message) -> None:
            nonlocal ended
            ended = ended or (message["type"] == "http.response.body" and not message.get("more_body", False))
            await send(message)

        await self._answer(scope, receiving, sending)
        if left and not (self._folding is not None and self._folding.over):
            try:
                await self._abandoned()
            except (Problem, RouterError) as fault:
                log.info("what a client left could not be stopped, and goes on", extra={"fault": str(fault)})
