"""Serves a stream of the table by the readers of the hub, as a session without an entry in KV."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from edge.dialects.dialect import FoldedDialect
from edge.dialects.folding import Folding
from edge.errors import Problem
from edge.http.body import draining_problem, edge_of, read_query
from edge.http.credentials import address_of, principal_of
from edge.http.streams import stream_answer
from edge.sessions.registry import Session
from edge.sessions.spec import UNSTORED, SessionSpec
from edge.surfaces.surface import Reading, StreamSurface
from edge.types import ReadRequest


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
    dialect = surface.dialect
    if request.method == "HEAD":
        return Response(headers={name.decode(): value.decode() for name, value in dialect.headers})
    reading = await surface.find(request)
    if isinstance(reading, Response):
        return reading
    session = session_of_surface(surface.name, reading)
    auth = edge.connection_auths.open(principal_of(request.scope), session, address_of(request))
    try:
        view = session.view if auth is None else auth.view(session)
        folding = (
            Folding(dialect, reading.parameters, reading.after, reading.ending)
            if isinstance(dialect, FoldedDialect)
            else None
        )
    except Problem:
        if auth is not None:
            auth.leave()
        raise
    asked = ReadRequest(session.id, view, dialect, auth, folding)
    return stream_answer(edge, asked, reading.start, surface.pace, auth)
