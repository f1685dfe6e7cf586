"""Handles GET /events: pages of events for a client that needs no session, only what was said."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from edge.auth.principal import Principal
from edge.errors import read_as
from edge.http.bodies.events import PageAnswer
from edge.http.bodies.sessions import EventsQuery
from edge.http.body import edge_of, read_query
from edge.http.credentials import principal_of
from edge.http.openapi.operation import Answer, operation
from edge.http.streams import authorize, page_answer, reading_of, time_left
from edge.runtime import Edge
from edge.sessions.body import EventTypes, FilterText, Patterns
from edge.sessions.registry import Session
from edge.sessions.spec import UNSTORED, SessionSpec
from edge.transports import polling
from edge.types import ReadRequest
from edge.view import Pace
from router.cursor import Start, parse_start
from router.errors import BadCursor

SESSION_ID = UNSTORED + "events"


@operation(
    "Read events without a session: the past, the newest of each subject, what a client missed; with `wait`, by long polling",
    Answer(200, "Events after the place, oldest first", PageAnswer),
    query=EventsQuery,
    problems=("bad_cursor", "bad_filter", "bad_pattern", "not_granted", "too_many"),
)
async def read_events(request: Request) -> Response:
    edge = edge_of(request)
    query = read_query(request, EventsQuery)
    session = _session(query, principal_of(request.scope))
    start = parse_start(query.cursor, query.since, query.last) or Start(now=True)
    stats = edge.cluster_stats.of(session.id)
    stats.served += 1
    auth = authorize(request, session, poll=True)
    try:
        reading = reading_of(session, auth)
        begin = ""
        if query.back is not None:
            start, begin = await _back(edge, start, reading, query.back)
        pace = Pace(bool(query.conflate), query.max_rate)
        # Who has no session goes on by `next`: there is nobody whose last answers were remembered for a poll by time.
        asked = polling.Poll(start, query.limit, min(query.wait, time_left(request)), True, pace)
        polled = await polling.poll(edge.hub, reading, asked, stats, edge.poll_history)
    finally:
        if auth:
            auth.leave()
    stats.offered(len(polled.records))
    stats.written(len(polled.records))
    stats.left_out(polled.superseded)
    return await page_answer(request, reading, replace(polled, begin=begin), query.cursor or "")


async def _back(edge: Edge, start: Start, reading: ReadRequest, count: int) -> tuple[Start, str]:
    """Where a poll begins that goes back from a place, and the cursor of it. Raises BadCursor."""
    if start.snapshot:
        raise BadCursor("back goes with a place, and not with a snapshot")
    recovery = edge.hub.recovery
    found = await recovery.back(start, reading.view, count)
    return Start(cursor=recovery.place_at(found)), recovery.cursor(found)


class _View(msgspec.Struct, kw_only=True):
    """What a query names, with the bounds of a session's."""

    subjects: Patterns | None
    types: EventTypes | None
    filter: FilterText | None


def _session(query: EventsQuery, principal: Principal) -> Session:
    """The session that a query stands for, without an entry. Raises Problem, BadPattern or BadFilter."""
    named = {"subjects": _listed(query.subjects), "types": _listed(query.types), "filter": query.filter}
    view = read_as(named, _View, "bad_parameter")
    spec = SessionSpec(
        id=SESSION_ID,
        delivery_method="polling",
        created=0,
        start="",
        subjects=view.subjects,
        events=view.types,
        filter=view.filter,
        include_intermediate_results=query.include_intermediate_results,
        dialect=query.dialect,
        owner=principal.id,
    )
    return Session(spec, 0)


def _listed(text: str | None) -> list[str] | None:
    return [each for part in (text or "").split(",") if (each := part.strip())] or None
