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
from edge.disconnect import BAD_CURSOR, FORBIDDEN, LOST_STORE, NO_SESSION, SHUTDOWN, Disconnect
from edge.errors import Problem
from edge.http.body import edge_of, leaving, number
from edge.http.credentials import address_of, principal_of
from edge.http.sessions import session_of
from edge.problem import count_refusal
from edge.runtime import Edge
from edge.sessions.body import MAX_RATE, MIN_RATE
from edge.sessions.registry import Session
from edge.stats import EVERYTHING
from edge.transports import polling
from edge.transports.sse import HEADERS, SseResponse, stream_start
from edge.transports.websocket import Opening, SocketReader
from edge.types import ReadRequest
from edge.view import Pace
from router.codec import to_json
from router.cursor import Start, parse_start
from router.errors import BadInput, BrokerError


def _start(query: Mapping[str, str], session: Session) -> Start:
    """Where a reader wants to begin; without a word from it, where the session begins."""
    # `undefined` and `null` are what a page's string concatenation sends before it has a value.
    said = {name: value for name, value in query.items() if value not in ("", "undefined", "null")}
    start = parse_start(said.get("cursor"), said.get("since"), said.get("last"))
    return start or Start(cursor=session.start)


def _said(query: Mapping[str, str], name: str) -> bool:
    """Whether a query says something by a name; `undefined` and `null` are nothing."""
    return query.get(name, "") not in ("", "undefined", "null")


def _opening(query: Mapping[str, str], session: Session) -> Start | Opening:
    """The same, or that the client says it in its first message: a query may lie in somebody's logs."""
    match query.get("start"):
        case None | "":
            return _start(query, session)
        case "message":
            return lambda said: _start(said, session)
        case _:
            raise Problem("bad_parameter", "start must be message")


def _pace(query: Mapping[str, str], session: Session) -> Pace:
    """How much a reader wants to see: what it says, or what its session says."""
    conflate = query.get("conflate")
    if conflate not in (None, "", "true", "false", "1", "0"):
        raise Problem("bad_parameter", "conflate must be true or false")
    rate = query.get("max_rate")
    try:
        wanted = float(rate) if rate else session.pace.max_rate
    except ValueError:
        wanted = 0.0
    if wanted is not None and not MIN_RATE <= wanted <= MAX_RATE:
        raise Problem("bad_parameter", f"max_rate must be a number from {MIN_RATE:g} to {MAX_RATE:g}")
    return Pace(conflate in ("true", "1") if conflate else session.pace.conflate, wanted)


async def poll_session(request: Request) -> Response:
    edge = edge_of(request)
    session = await session_of(request)
    limit = number(request, "limit", polling.DEFAULT_LIMIT, 1, polling.MAX_LIMIT)
    wait = number(request, "wait", 0.0, 0.0, polling.MAX_WAIT)
    start = _start(request.query_params, session)
    stats = edge.cluster_stats.of(session.id)
    stats.served += 1
    auth = _authorize(request, session, poll=True)
    try:
        reading = _reading(session, auth)
        asked = polling.Poll(start, limit, min(wait, time_left(request)), _said(request.query_params, "cursor"))
        polled = await polling.poll(edge.hub, reading, asked, stats, edge.poll_history)
    finally:
        if auth:
            auth.leave()
    # A poll by time is a receipt too: it says what the client saw last.
    stats.acknowledged(str(start.cursor) if start.cursor else EVERYTHING if start.since else None)
    stats.handed(len(polled.records), polled.next)
    body = polling.body(edge.hub, reading, polled)
    edge.poll_receipts.polled(session.id, str(start.cursor or ""), polled, len(body))
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if len(body) >= polling.GZIP_ABOVE and polling.takes_gzip(request.headers.getlist("accept-encoding")):
        headers["Content-Encoding"] = "gzip"
        # Long ones take longer than others may wait for; zlib lets go of the interpreter meanwhile.
        body = await asyncio.to_thread(gzip.compress, body, 1, mtime=0)
    return Response(body, media_type="application/json", headers=headers)


async def stream_session(request: Request) -> Response | ASGIApp:
    edge = edge_of(request)
    if edge.draining:
        raise leaving()
    session = await session_of(request)
    start = stream_start(request, lambda: _start(request.query_params, session))
    pace = _pace(request.query_params, session)
    if request.method == "HEAD":
        return Response(headers={name.decode(): value.decode() for name, value in HEADERS})
    auth = _authorize(request, session)
    try:
        asked = _reading(session, auth)
    except Problem:
        if auth is not None:
            auth.leave()
        raise
    stats = edge.cluster_stats.of(session.id)
    answer: ASGIApp = SseResponse(edge.hub, asked, start, stats, pace)
    if edge.settings.lane:
        answer = edge.takeover.streaming(asked, start, stats, pace, answer)
    return answer if auth is None else WithCleanup(answer, auth.done)


def _authorize(connection: Request | WebSocket, session: Session, poll: bool = False) -> ConnectionAuth | None:
    """Who reads over a connection, counted; None where nobody is told apart. Raises Problem 429."""
    edge = edge_of(connection)
    return edge.connection_auths.open(principal_of(connection.scope), session, address_of(connection), poll)


def _reading(session: Session, auth: ConnectionAuth | None) -> ReadRequest:
    """What a connection reads: no more of a session than is granted to who reads. Raises Problem."""
    view = session.view if auth is None else auth.view(session)
    return ReadRequest(session.id, view, session.spec.dialect, auth)


def time_left(connection: Request | WebSocket) -> float:
    """How long the token that somebody came with is still good."""
    return max(0.0, principal_of(connection.scope).left)


class WithCleanup:
    """An answer that holds something until it is over, however that comes."""

    def __init__(self, answer: ASGIApp, over: Callable[[], None]) -> None:
        self._answer = answer
        self._over = over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        finally:
            self._over()


async def socket_session(socket: WebSocket) -> None:
    edge = edge_of(socket)
    if edge.draining:
        # Before the handshake: a proxy passes the request on to another replica, and does not fill this one as it empties.
        raise leaving()
    auth: ConnectionAuth | None = None
    refusal: Problem | BadInput | None = None
    try:
        session = await session_of(socket)
        # Too many are refused by the handshake: a socket that is accepted has cost most already.
        auth = _authorize(socket, session)
        start = _opening(socket.query_params, session)
        pace = _pace(socket.query_params, session)
        asked = _reading(session, auth)
    except Problem as problem:
        if problem.status == 429:
            raise
        refusal = problem
    except BadInput as fault:
        refusal = fault
    try:
        await socket.accept()
        if edge.draining:
            await socket.close(SHUTDOWN.code, SHUTDOWN.reason)
        elif refusal:
            close = _SOCKET_REFUSALS.get(refusal.code, BAD_CURSOR)
            detail = refusal.detail if isinstance(refusal, Problem) else str(refusal)
            await _refuse_socket(socket, close.code, refusal.code, detail)
        else:
            await _serve_socket(edge, socket, asked, start, pace)
    finally:
        if auth:
            auth.done()


_SOCKET_REFUSALS: Mapping[str, Disconnect] = {"session_not_found": NO_SESSION, "not_granted": FORBIDDEN}


async def _serve_socket(edge: Edge, socket: WebSocket, asked: ReadRequest, start: Start | Opening, pace: Pace) -> None:
    stats = edge.cluster_stats.of(asked.session_id)
    try:
        if not (edge.settings.lane and await edge.takeover.take_socket(socket.scope, asked, start, stats, pace)):
            await SocketReader(edge.hub, asked, start, stats, pace, socket).run()
    except BrokerError:
        await socket.close(LOST_STORE.code, LOST_STORE.reason)


async def _refuse_socket(socket: WebSocket, close: int, code: str, detail: str) -> None:
    """Says why in band: a browser's script sees neither status nor body of a refused handshake."""
    count_refusal(code)
    await socket.send_text(to_json({"control": "error", "code": code, "detail": detail}).decode())
    await socket.close(close, code)
