"""Handlers that deliver the events of a session: polling, SSE, WebSocket."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from edge.auth.connection import ConnectionAuth
from edge.dialects.callback import CALLBACK
from edge.dialects.cloudevents import CLOUDEVENTS_SOCKET
from edge.dialects.cloudevents import SUBPROTOCOL as CLOUDEVENTS_SUBPROTOCOL
from edge.dialects.dialect import Dialect, SharedDialect, with_controls
from edge.dialects.table import SESSION_DIALECTS
from edge.disconnect import BAD_CURSOR, FORBIDDEN, LOST_STORE, NO_SESSION, SHUTDOWN, Disconnect
from edge.errors import Problem
from edge.http.bodies.events import PageAnswer
from edge.http.bodies.sessions import PaceQuery, PollQuery, SocketQuery, SseQuery, StartQuery
from edge.http.body import UNSAID, draining_problem, edge_of, read_query
from edge.http.credentials import SUBPROTOCOL, address_of, principal_of
from edge.http.openapi.operation import Answer, Media, header, operation
from edge.http.sessions import session_of
from edge.problem import count_refusal
from edge.runtime import Edge
from edge.sessions.registry import Session
from edge.stats import EVERYTHING
from edge.transports import polling
from edge.transports.control import Opening, control_error
from edge.transports.sse import SseResponse, stream_start
from edge.transports.websocket import SocketReader
from edge.types import ReadRequest
from edge.view import Pace
from router.cursor import Start, parse_start
from router.errors import BadInput, BrokerError

_OPENING = ("bad_cursor", "draining", "not_granted", "too_many")


def start_of(query: StartQuery, session: Session) -> Start:
    """Where a reader begins: where its query says, else where the session does. Raises BadCursor."""
    return parse_start(query.cursor, query.since, query.last) or session.begin


def opening_of(query: SocketQuery, session: Session) -> Start | Opening:
    """The same, or a function that reads it from the first message: queries are often written into logs."""
    if query.start == "message":
        return lambda given: start_of(StartQuery(**_places(given)), session)
    return start_of(query, session)


def _places(given: Mapping[str, str]) -> dict[str, str]:
    return {name: given[name] for name in ("cursor", "since", "last") if given.get(name, "") not in UNSAID}


def pace_of(query: PaceQuery, session: Session) -> Pace:
    """The pace that a reader's query asks for, else that of its session."""
    conflate = session.pace.conflate if query.conflate is None else query.conflate
    return Pace(conflate, session.pace.max_rate if query.max_rate is None else query.max_rate)


@operation(
    "Read by polling; with `wait`, by long polling",
    Answer(200, "Events after the cursor, oldest first", PageAnswer),
    query=PollQuery,
    problems=("bad_cursor", "not_granted", "too_many"),
)
async def poll_session(request: Request) -> Response:
    edge = edge_of(request)
    session = await session_of(request)
    query = read_query(request, PollQuery)
    start = start_of(query, session)
    stats = edge.cluster_stats.of(session.id)
    stats.served += 1
    auth = authorize(request, session, poll=True)
    try:
        reading = reading_of(session, auth)
        wait, pace = min(query.wait, time_left(request)), pace_of(query, session)
        asked = polling.Poll(start, query.limit, wait, query.cursor is not None, pace)
        polled = await polling.poll(edge.hub, reading, asked, stats, edge.poll_history)
    finally:
        if auth:
            auth.leave()
    # A poll by time acknowledges as well: it names the last event that the client saw.
    if start.snapshot:
        # Its pages have no cursors that sort with others; they count as delivered when they are answered.
        stats.offered(len(polled.records))
        stats.written(len(polled.records))
    else:
        stats.acknowledged(str(start.cursor) if start.cursor else EVERYTHING if start.since else None)
        stats.handed(len(polled.records), polled.next)
        stats.left_out(polled.superseded)
    return await page_answer(request, reading, polled, query.cursor or str(start.cursor or ""))


async def page_answer(request: Request, reading: ReadRequest, polled: polling.Polled, came_with: str) -> Response:
    """Answers a poll that came with a cursor by what it has read."""
    edge = edge_of(request)
    body = polling.body(edge.hub, reading, polled)
    edge.poll_receipts.polled(reading.session_id, came_with, polled, len(body))
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if len(body) >= polling.GZIP_ABOVE and polling.takes_gzip(request.headers.getlist("accept-encoding")):
        headers["Content-Encoding"] = "gzip"
        # A long body blocks the event loop for too long; zlib releases the GIL.
        body = await asyncio.to_thread(gzip.compress, body, 1, mtime=0)
    return Response(body, media_type="application/json", headers=headers)


@operation(
    "Read as server-sent events",
    Answer(
        200,
        "Application events without `event:`; `ready`, `gap`, `slowed`, `bye` are named; `id:` is the cursor. A client that "
        "accepts text/event-stream by name gets 429 and 5xx as a stream of one `bye` with `retry:`",
        Media("text/event-stream"),
    ),
    query=SseQuery,
    problems=_OPENING,
    headers=(
        header(
            "Last-Event-ID",
            "The `id:` of the last event read. Takes precedence over the query. A text that is no cursor is answered by `gap`, "
            "and reading begins where it would without it.",
        ),
    ),
)
async def stream_session(request: Request) -> Response | ASGIApp:
    edge = edge_of(request)
    if edge.draining:
        raise draining_problem()
    session = await session_of(request)
    query = read_query(request, SseQuery)
    start = stream_start(request, lambda: start_of(query, session))
    pace = pace_of(query, session)
    if request.method == "HEAD":
        return Response(headers={name.decode(): value.decode() for name, value in CALLBACK.headers})
    auth = authorize(request, session)
    try:
        asked = reading_of(session, auth)
    except Problem:
        if auth is not None:
            auth.leave()
        raise
    return stream_answer(edge, asked, start, pace, auth)


def stream_answer(
    edge: Edge, asked: ReadRequest, start: Start, pace: Pace, auth: ConnectionAuth | None, *, lane: bool = True
) -> ASGIApp:
    """Answers a request for server-sent events; its socket is taken over where that can be, and `lane` allows it."""
    stats = edge.cluster_stats.of(asked.session_id)
    answer: ASGIApp = SseResponse(edge.hub, asked, start, stats, pace)
    if lane and edge.settings.lane:
        answer = edge.takeover.streaming(asked, start, stats, pace, answer)
    return answer if auth is None else WithCleanup(answer, auth.done)


def authorize(connection: Request | WebSocket, session: Session, poll: bool = False) -> ConnectionAuth | None:
    """Authorizes and counts a connection; None where no keys are configured. Raises Problem 429."""
    edge = edge_of(connection)
    return edge.connection_auths.open(principal_of(connection.scope), session, address_of(connection), poll)


# What a WebSocket's subprotocols say of its dialect; None leaves it to the session.
SUBPROTOCOLS: Mapping[str, SharedDialect | None] = {SUBPROTOCOL: None, CLOUDEVENTS_SUBPROTOCOL: CLOUDEVENTS_SOCKET}


def reading_of(
    session: Session, auth: ConnectionAuth | None, controls: bool = False, dialect: SharedDialect | None = None
) -> ReadRequest:
    """What a connection reads: as much of the session as is granted to its principal. Raises Problem."""
    view = session.view if auth is None else auth.view(session)
    return ReadRequest(session.id, view, dialect_of(session, dialect, controls), auth)


def dialect_of(session: Session, chosen: SharedDialect | None = None, controls: bool = False) -> SharedDialect:
    """The dialect that a connection chose, else that of its session; with all `controls` where it asked for them."""
    dialect = chosen or SESSION_DIALECTS.get(session.spec.dialect, CALLBACK)
    return with_controls(dialect) if controls else dialect


def time_left(connection: Request | WebSocket) -> float:
    """Seconds for which the token of a request is still valid."""
    return max(0.0, principal_of(connection.scope).left)


class WithCleanup:
    """An answer that runs a cleanup once it ends, for whatever reason."""

    def __init__(self, answer: ASGIApp, cleanup: Callable[[], None]) -> None:
        self._answer = answer
        self._cleanup = cleanup

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        finally:
            self._cleanup()


@operation("Read over WebSocket", query=SocketQuery, problems=("draining", "too_many"), websocket=True)
async def socket_session(socket: WebSocket) -> None:
    edge = edge_of(socket)
    if edge.draining:
        # Before the handshake: a proxy then sends the request to another replica.
        raise draining_problem()
    auth: ConnectionAuth | None = None
    refusal: Problem | BadInput | None = None
    # The first that its client prefers.
    chosen = next((name for name in socket.scope.get("subprotocols", ()) if name in SUBPROTOCOLS), None)
    dialect = SUBPROTOCOLS.get(chosen) if chosen else None
    try:
        session = await session_of(socket)
        # One connection too many is refused by the handshake: accepting a socket is most of its cost.
        auth = authorize(socket, session)
        query = read_query(socket, SocketQuery)
        start = opening_of(query, session)
        pace = pace_of(query, session)
        asked = reading_of(session, auth, query.controls == "all", dialect)
    except Problem as problem:
        if problem.status == 429:
            raise
        refusal = problem
    except BadInput as fault:
        refusal = fault
    try:
        await socket.accept(chosen)
        if edge.draining:
            await socket.close(SHUTDOWN.code, SHUTDOWN.reason)
        elif refusal:
            close = _SOCKET_REFUSALS.get(refusal.code, BAD_CURSOR)
            detail = refusal.detail if isinstance(refusal, Problem) else str(refusal)
            await refuse_socket(socket, close.code, refusal.code, detail, dialect or CALLBACK)
        else:
            await serve_socket(edge, socket, asked, start, pace)
    finally:
        if auth:
            auth.done()


_SOCKET_REFUSALS: Mapping[str, Disconnect] = {"session_not_found": NO_SESSION, "not_granted": FORBIDDEN}


async def serve_socket(edge: Edge, socket: WebSocket, asked: ReadRequest, start: Start | Opening, pace: Pace) -> None:
    """Serves a WebSocket that was accepted; it is taken over where that can be."""
    stats = edge.cluster_stats.of(asked.session_id)
    try:
        if not (edge.settings.lane and await edge.takeover.take_socket(socket.scope, asked, start, stats, pace)):
            await SocketReader(edge.hub, asked, start, stats, pace, socket).run()
    except BrokerError:
        await socket.close(LOST_STORE.code, LOST_STORE.reason)


async def refuse_socket(socket: WebSocket, close: int, code: str, detail: str, dialect: Dialect = CALLBACK) -> None:
    """Sends the reason as a message: a browser's script sees neither status nor body of a refused handshake."""
    count_refusal(code)
    await socket.send_text(dialect.answers(control_error(code, detail)).decode())
    await socket.close(close, code)
