"""This file is where all routes of the HTTP surface are on one screen, and what each answers."""

from __future__ import annotations

import asyncio
import gzip
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from edge import commands, ingest, metrics, trial
from edge.dialects import DIALECTS
from edge.disconnect import BAD_CURSOR, EXPIRED, FORBIDDEN, LOST_STORE, NO_SESSION, SHUTDOWN, Disconnect
from edge.edge import Edge
from edge.errors import Problem
from edge.fields import json_object
from edge.idempotency import name_events
from edge.identity.badge import Badge, expires_at, require_subjects
from edge.identity.door import Access, Admitted, Door, path_of, principal_of
from edge.identity.grants import Grants
from edge.identity.limits import Seat
from edge.identity.principal import Principal
from edge.openapi import document
from edge.origin import Gate
from edge.problem import count_refusal, to_response
from edge.registry import (
    MAX_RATE,
    MIN_RATE,
    Session,
    SessionSpec,
    parse_change,
    parse_session,
    unknown_session,
    view_of,
)
from edge.slashes import SlashRedirect
from edge.stats import EVERYTHING, Stats, beside, describe, total
from edge.traffic import Timed
from edge.transports import polling
from edge.transports.refusal import refuse
from edge.transports.sse import HEADERS, SseResponse, stream_start
from edge.transports.websocket import Opening, SocketReader
from edge.types import Pace, ReadRequest
from edge.video import BOUNDARY, OPENING, Frame, Viewer
from edge.webhooks.checks import check_endpoint
from router import tracing
from router.codec import check_depth, encode, from_json, rfc3339, to_json
from router.cursor import Start, check_of, parse_start, token
from router.errors import BadEvent, BadInput, BrokerError, Conflict, RouterError
from router.event import Event
from router.frame import frame_subject
from router.limits import largest_event
from router.nats.stream import Ack
from router.record import Record
from router.subject import Subject, escape, unescape
from router.topology import HOOKS

# How far back `/alerts` looks: a page of alerts is for people, and older ones are in the stream.
ALERTS_LOOKED_AT = 500
CONSOLE = Path(__file__).parent / "console"
# Nothing that is not from here: no script, style or frame of others, and none in the page itself.
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; object-src 'none'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
)


class Console(StaticFiles):
    """The page's files; asked for anew each time (mostly answered by 304), so that an upgrade is seen at once."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


def create_app(edge: Edge, show_metrics: bool = True) -> Starlette:
    """Builds the application over a running edge; without metrics where another port has them."""
    app = Starlette(
        routes=[
            _admitted(route, edge.door)
            for route in routes()
            if show_metrics or getattr(route, "path", "") != "/metrics"
        ],
        middleware=[Middleware(Gate, settings=edge.settings)],
        exception_handlers={
            Problem: refuse,
            RouterError: refuse,
            HTTPException: _http_problem,
            Exception: refuse,
        },
    )
    app.state.edge = edge
    app.router.redirect_slashes = False
    app.router.default = SlashRedirect(app.router)
    return app


SESSION = "/callbacks/sessions/{session_id}"

# Whom a route is for. One that is not named here is for those who operate the system.
ACCESS: Mapping[str, Access] = {
    **dict.fromkeys(("/", "/console", "/console/", "/livez", "/readyz", "/openapi.json"), Access.OPEN),
    **dict.fromkeys(("/callbacks/sessions", SESSION, f"{SESSION}/stats", f"{SESSION}/test"), Access.TOKEN),
    **dict.fromkeys((f"{SESSION}/events", f"{SESSION}/refresh", "/me", "/tickets", "/events"), Access.TOKEN),
    "/commands/{actor}/{instance}/{command}": Access.TOKEN,
    **dict.fromkeys(("/runs", "/runs/{run}", "/alerts", "/cameras", "/octanes"), Access.TOKEN),
    **{
        f"{SESSION}/{way}": Access.TOKEN
        for way in (
            "attempts",
            "resend",
            "recover",
            "replay",
            "recoveries",
            "recoveries/{recovery}",
            "health",
            "enable",
            "disable",
            "secret/rotate",
            "verify",
        )
    },
    **dict.fromkeys((f"{SESSION}/sse", f"{SESSION}/ws"), Access.STREAM),
    **{
        f"/{domain}/{{entity}}/{way}": Access.STREAM
        for domain in ("cameras", "octane")
        for way in ("mjpeg", "snapshot", "ws")
    },
}


def _admitted(route: BaseRoute, door: Door) -> BaseRoute:
    """Puts a route behind the door."""
    assert isinstance(route, (Route, WebSocketRoute, Mount))
    route.app = Timed(Admitted(route.app, ACCESS.get(route.path, Access.OPERATOR), door), route.path)
    return route


def routes() -> list[BaseRoute]:
    session = SESSION
    return [
        Route("/", console_page),
        Route("/console", to_console_page),
        Route("/console/", to_console_page),
        Mount("/console", Console(directory=CONSOLE)),
        Route("/callbacks/sessions", list_sessions, methods=["GET"]),
        Route("/callbacks/sessions", create_session, methods=["POST"]),
        Route("/callbacks/stats", overall_stats),
        Route(session, read_session, methods=["GET"]),
        Route(session, change_session, methods=["PATCH"]),
        Route(session, delete_session, methods=["DELETE"]),
        Route(f"{session}/stats", session_stats),
        Route(f"{session}/test", test_session, methods=["POST"]),
        Route(f"{session}/refresh", refresh_session, methods=["POST"]),
        Route(f"{session}/attempts", list_attempts),
        Route(f"{session}/resend", resend_delivery, methods=["POST"]),
        Route(f"{session}/recover", recover_deliveries, methods=["POST"]),
        Route(f"{session}/replay", replay_deliveries, methods=["POST"]),
        Route(f"{session}/recoveries", list_recoveries),
        Route(f"{session}/recoveries/{{recovery}}", read_recovery, methods=["GET"]),
        Route(f"{session}/recoveries/{{recovery}}", cancel_recovery, methods=["DELETE"]),
        Route(f"{session}/health", endpoint_health),
        Route(f"{session}/enable", enable_endpoint, methods=["POST"]),
        Route(f"{session}/disable", disable_endpoint, methods=["POST"]),
        Route(f"{session}/secret/rotate", rotate_secret, methods=["POST"]),
        Route(f"{session}/verify", verify_endpoint, methods=["POST"]),
        Route(f"{session}/events", poll_session),
        Route(f"{session}/sse", stream_session),
        WebSocketRoute(f"{session}/ws", socket_session),
        Route("/me", read_me),
        Route("/tickets", give_ticket, methods=["POST"]),
        Route("/events", publish_events, methods=["POST"]),
        Route("/deadletters", list_deadletters),
        Route("/deadletters/summary", summarise_deadletters),
        Route("/deadletters/redrive", redrive_deadletters, methods=["POST"]),
        Route("/deadletters/purge", purge_deadletters, methods=["POST"]),
        Route("/deadletters/jobs", list_redrives),
        Route("/deadletters/jobs/{job}", read_redrive, methods=["GET"]),
        Route("/deadletters/jobs/{job}", cancel_redrive, methods=["DELETE"]),
        Route("/deadletters/{id}", read_deadletter, methods=["GET"]),
        Route("/deadletters/{id}", delete_deadletter, methods=["DELETE"]),
        Route("/commands/{actor}/{instance}/{command}", give_command, methods=["POST"]),
        Route("/runs", list_runs),
        Route("/runs/{run}", read_run),
        Route("/alerts", list_alerts),
        Route("/cameras", list_cameras),
        Route("/octanes", list_octanes),
        Route("/cameras/{entity}/mjpeg", camera_mjpeg),
        Route("/cameras/{entity}/snapshot", camera_snapshot),
        WebSocketRoute("/cameras/{entity}/ws", camera_socket),
        Route("/octane/{entity}/mjpeg", octane_mjpeg),
        Route("/octane/{entity}/snapshot", octane_snapshot),
        WebSocketRoute("/octane/{entity}/ws", octane_socket),
        Route("/livez", livez),
        Route("/readyz", readyz),
        Route("/metrics", prometheus),
        Route("/openapi.json", openapi),
    ]


def _edge(connection: Request | WebSocket) -> Edge:
    edge: Edge = connection.app.state.edge
    return edge


def _leaving() -> Problem:
    """What is new is refused with while this process drains; the connection is of no use for another request."""
    return Problem("draining", headers={"Retry-After": "1", "Connection": "close"})


def _json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        to_json(value), status, {"Cache-Control": "no-store", **(headers or {})}, media_type="application/json"
    )


async def _http_problem(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(fault.status_code, "bad_input")
    return to_response(Problem(code, f"{request.method} {request.url.path}", headers=fault.headers))


async def _body(request: Request) -> bytes:
    """Reads a body up to the limit; what is longer is refused before it is held."""
    most = _edge(request).settings.max_body
    seconds = _edge(request).settings.limits.body_seconds
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise Problem("body_too_large", f"at most {most} bytes")
                parts.append(part)
    except TimeoutError:
        raise Problem("request_timeout", f"at most {seconds:g} s", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        # Nobody is there to read this.
        raise Problem("bad_request", "the body broke off") from None
    return b"".join(parts)


async def _json_body(request: Request) -> Any:
    body = await _body(request)
    if not body.strip():
        return {}
    try:
        found = from_json(body)
    except BadEvent as fault:
        raise Problem("bad_json", str(fault)) from None
    try:
        check_depth(found, _edge(request).settings.limits.depth)
    except BadEvent:
        raise Problem("bad_body", f"nested deeper than {_edge(request).settings.limits.depth} levels") from None
    return found


# Sessions


async def create_session(request: Request) -> Response:
    edge = _edge(request)
    principal = principal_of(request.scope)
    retries = edge.settings.webhooks.default_attempts
    spec, start = parse_session(await _json_body(request), frozenset(DIALECTS), retries)
    spec = _owned(spec, principal)
    view = view_of(spec)
    require_subjects(principal, spec)
    edge.door.limits.create(edge.door.address(request.scope), principal, edge.registry.owned(principal.id))
    # Before anything is read: the streams that have no leader for a write answer no read either.
    edge.store.require(edge.registry.bucket.stream)
    if spec.webhook:
        await check_endpoint(spec.webhook, edge.guard)
    # A session begins where it was made, so that nothing said between its creation and its first reader is lost.
    place = await edge.hub.begin(start or Start(now=True), view)
    spec = msgspec.structs.replace(spec, start=edge.hub.cursor(place.after))
    session, asked = await edge.hooks.settled(await edge.registry.create(spec, view))
    shown = {**session.describe(), **asked}
    if spec.webhook:
        # The one time that the secret is shown: who made the session needs it to verify.
        shown["webhook_secret"] = spec.webhook.secret
    return _json(shown, 201, {"Location": f"/callbacks/sessions/{spec.id}"})


def _owned(spec: SessionSpec, principal: Principal) -> SessionSpec:
    """A session with its owner, and with what that may read now: it is served so much after the token has ended, too."""
    granted = principal.grants.read_or_all
    return msgspec.structs.replace(
        spec, owner=principal.id, granted=None if granted is None or principal.id is None else list(granted)
    )


async def list_sessions(request: Request) -> Response:
    edge = _edge(request)
    principal = principal_of(request.scope)
    mine = (session for session in edge.registry.sessions.values() if principal.owns(session.spec.owner))
    found = sorted(mine, key=lambda session: session.spec.created)
    limit = _number(request, "limit", 100, 1, 1000)
    offset = _number(request, "offset", 0, 0, 10**9)
    page = found[offset : offset + limit]
    return _json({"sessions": [session.describe() for session in page], "total": len(found)})


async def read_session(request: Request) -> Response:
    return _json((await _session(request)).describe())


async def change_session(request: Request) -> Response:
    edge = _edge(request)
    session = await _session(request)
    principal = principal_of(request.scope)
    spec = parse_change(await _json_body(request), session.spec, edge.settings.webhooks.default_attempts)
    own = principal.id is not None and principal.id == spec.owner
    if own:
        spec = _owned(spec, principal)
    view = view_of(spec)
    require_subjects(principal, spec)
    if not own and spec.granted is not None:
        # Who operates the system may change a session, but not so that its owner sees what is not granted to it.
        require_subjects(Principal(spec.owner, Grants(tuple(spec.granted))), spec)
    if spec.webhook:
        await check_endpoint(spec.webhook, edge.guard)
    try:
        changed = await edge.registry.update(session, spec, view)
    except Conflict:
        raise Problem("session_changed", "read it again and repeat the change") from None
    changed, asked = await edge.hooks.settled(changed, session)
    return _json({**changed.describe(), **asked})


async def delete_session(request: Request) -> Response:
    await _edge(request).registry.delete((await _session(request)).id)
    return Response(status_code=204)


async def session_stats(request: Request) -> Response:
    edge = _edge(request)
    session = await _session(request)
    return _json(describe(session.id, await _stats(edge, session)))


async def _stats(edge: Edge, session: Session) -> Stats:
    gathered = await edge.census.gather(session.id)
    read = gathered.get(session.id, Stats())
    if session.spec.delivery_method != "webhook":
        return read
    # Its events are counted by who posts them; whoever else reads along changes nothing of that.
    return beside(await edge.webhooks.figures.session(session.id), read)


async def overall_stats(request: Request) -> Response:
    edge = _edge(request)
    gathered = await edge.census.gather()
    posted, read = await edge.webhooks.figures.total(), []
    for session_id, stats in gathered.items():
        known = edge.registry.sessions.get(session_id)
        webhook = known is not None and known.spec.delivery_method == "webhook"
        read.append(beside(Stats(), stats) if webhook else stats)
    whole = describe("all", total([posted, *read]))
    del whole["session_id"]
    methods = dict.fromkeys(("websocket", "sse", "polling", "webhook"), 0)
    for session in edge.registry.sessions.values():
        methods[session.spec.delivery_method] += 1
    return _json(
        {
            "active_sessions": len(edge.registry.sessions),
            "sessions_by_method": methods,
            "edges": edge.census.size,
            "uptime_seconds": round(time.time() - edge.started, 3),
            **whole,
        }
    )


async def test_session(request: Request) -> Response:
    edge = _edge(request)
    session = await _session(request)
    patience = _number(request, "wait", 0.0, 0.0, trial.MAX_WAIT)
    if patience and session.spec.webhook is None:
        raise Problem("not_a_webhook", "wait is for webhook sessions: readers say nothing of what they got")
    kind, data = trial.parse_trial(await _json_body(request))
    event = Event.new(Subject.of("session", session.id, kind), data, type=kind, source="test", test=True)
    accepted = ingest.Accepted(event, encode(event))
    (ack,) = await ingest.publish(edge.broker, [accepted], edge.store)
    cursor = await _published(edge, accepted, ack)
    outcome: dict[str, Any] = {"status": "published", "success": True}
    if not (session.view.admits(str(event.subject), kind) and session.view.passes(event)):
        outcome = trial.not_matched(session)
    elif session.spec.webhook is not None:
        # To be stored is no success yet where it is still to be posted.
        outcome = await trial.watch(edge.webhooks, edge.recoveries.attempts, session, event.id, patience)
    return _json(
        {
            "session_id": session.id,
            "event_id": event.id,
            "event_type": kind,
            "timestamp": rfc3339(event.time),
            "cursor": cursor,
            **outcome,
        }
    )


async def refresh_session(request: Request) -> Response:
    """Takes the token that this request was sent with, for the connections that the same principal has to the session."""
    edge = _edge(request)
    session = await _session(request)
    principal = principal_of(request.scope)
    require_subjects(principal, session.spec)
    renewed = await edge.badges.renew(principal, session.id)
    headers = {}
    if passed := await edge.door.renew_pass(request.scope, principal):
        headers["Set-Cookie"] = edge.door.cookie(request.scope, path_of(request.scope), *passed)
    return _json(
        {"session_id": session.id, "expires_at": expires_at(principal), "connections": renewed}, headers=headers
    )


async def _session(connection: Request | WebSocket) -> Session:
    """Gives the session of a path. One of somebody else is as unknown as one that is not there. Raises Problem 404."""
    session_id = connection.path_params["session_id"]
    session = await _edge(connection).registry.find(session_id)
    if not principal_of(connection.scope).owns(session.spec.owner):
        raise unknown_session(session_id)
    return session


async def read_me(request: Request) -> Response:
    """Says who the token of this request proves, and what it allows: a page can then say what it does not show."""
    principal = principal_of(request.scope)
    grants = principal.grants
    return _json(
        {
            "id": principal.id,
            "read": list(grants.read),
            "publish": list(grants.publish),
            "command": list(grants.command),
            "operate": grants.operate,
            "expires_at": expires_at(principal),
        }
    )


# What a ticket can be for: the field of the body that names it, and the first part of its path.
_TICKETS = {"session_id": "callbacks", "camera": "cameras", "octane": "octane"}


async def give_ticket(request: Request) -> Response:
    """Gives what a browser can put into an address: good once, for one stream, and not for long."""
    edge = _edge(request)
    principal = principal_of(request.scope)
    body = json_object(await _json_body(request), (*_TICKETS, "transport"))
    named = [field for field in _TICKETS if body.get(field) is not None]
    transport = body.get("transport")
    if len(named) != 1 or not isinstance(body[named[0]], str) or not body[named[0]]:
        raise Problem("bad_body", f"the body must name one of {', '.join(_TICKETS)}")
    if transport is not None and transport not in ("websocket", "sse", "mjpeg", "snapshot"):
        raise Problem("bad_body", "transport must be websocket, sse, mjpeg or snapshot")
    field, name = named[0], body[named[0]]
    if field == "session_id":
        session = await edge.registry.find(name)
        if not principal.owns(session.spec.owner):
            raise unknown_session(name)
        require_subjects(principal, session.spec)
    else:
        principal.require_read(f"{field}.{escape(name)}.>")
    ticket = await edge.door.tickets.give(principal, f"{_TICKETS[field]}/{name}", transport)
    return _json({"ticket": ticket, "expires_in": edge.door.settings.ticket_ttl}, 201)


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


# Reading a session


async def poll_session(request: Request) -> Response:
    edge = _edge(request)
    session = await _session(request)
    limit = _number(request, "limit", polling.DEFAULT_LIMIT, 1, polling.MAX_LIMIT)
    wait = _number(request, "wait", 0.0, 0.0, polling.MAX_WAIT)
    start = _start(request.query_params, session)
    stats = edge.census.of(session.id)
    stats.served += 1
    badge = _badge(request, session, poll=True)
    try:
        reading = _reading(session, badge)
        asked = polling.Poll(start, limit, min(wait, _left(request)), _said(request.query_params, "cursor"))
        polled = await polling.poll(edge.hub, reading, asked, stats, edge.polled)
    finally:
        if badge:
            badge.leave()
    # A poll by time is a receipt too: it says what the client saw last.
    stats.acknowledged(str(start.cursor) if start.cursor else EVERYTHING if start.since else None)
    stats.handed(len(polled.records), polled.next)
    body = polling.body(edge.hub, reading, polled)
    edge.receipts.polled(session.id, str(start.cursor or ""), polled, len(body))
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if len(body) >= polling.GZIP_ABOVE and polling.takes_gzip(request.headers.getlist("accept-encoding")):
        headers["Content-Encoding"] = "gzip"
        # Long ones take longer than others may wait for; zlib lets go of the interpreter meanwhile.
        body = await asyncio.to_thread(gzip.compress, body, 1, mtime=0)
    return Response(body, media_type="application/json", headers=headers)


async def stream_session(request: Request) -> Response | ASGIApp:
    edge = _edge(request)
    if edge.draining:
        raise _leaving()
    session = await _session(request)
    start = stream_start(request, lambda: _start(request.query_params, session))
    pace = _pace(request.query_params, session)
    if request.method == "HEAD":
        return Response(headers={name.decode(): value.decode() for name, value in HEADERS})
    badge = _badge(request, session)
    try:
        asked = _reading(session, badge)
    except Problem:
        if badge is not None:
            badge.leave()
        raise
    stats = edge.census.of(session.id)
    answer: ASGIApp = SseResponse(edge.hub, asked, start, stats, pace)
    if edge.settings.lane:
        answer = edge.lanes.streaming(asked, start, stats, pace, answer)
    return answer if badge is None else _Seated(answer, badge.done)


def _badge(connection: Request | WebSocket, session: Session, poll: bool = False) -> Badge | None:
    """Who reads over a connection, counted; None where nobody is told apart. Raises Problem 429."""
    edge = _edge(connection)
    return edge.badges.issue(principal_of(connection.scope), session, edge.door.address(connection.scope), poll)


def _reading(session: Session, badge: Badge | None) -> ReadRequest:
    """What a connection reads: no more of a session than is granted to who reads. Raises Problem."""
    view = session.view if badge is None else badge.view(session)
    return ReadRequest(session.id, view, session.spec.dialect, badge)


def _left(connection: Request | WebSocket) -> float:
    """How long the token that somebody came with is still good."""
    return max(0.0, principal_of(connection.scope).left)


class _Seated:
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
    edge = _edge(socket)
    if edge.draining:
        # Before the handshake: a proxy passes the request on to another replica, and does not fill this one as it empties.
        raise _leaving()
    badge: Badge | None = None
    refusal: Problem | BadInput | None = None
    try:
        session = await _session(socket)
        # Too many are refused by the handshake: a socket that is accepted has cost most already.
        badge = _badge(socket, session)
        start = _opening(socket.query_params, session)
        pace = _pace(socket.query_params, session)
        asked = _reading(session, badge)
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
        if badge:
            badge.done()


_SOCKET_REFUSALS: Mapping[str, Disconnect] = {"session_not_found": NO_SESSION, "not_granted": FORBIDDEN}


async def _serve_socket(edge: Edge, socket: WebSocket, asked: ReadRequest, start: Start | Opening, pace: Pace) -> None:
    stats = edge.census.of(asked.session_id)
    try:
        if not (edge.settings.lane and await edge.lanes.take_socket(socket.scope, asked, start, stats, pace)):
            await SocketReader(edge.hub, asked, start, stats, pace, socket).run()
    except BrokerError:
        await socket.close(LOST_STORE.code, LOST_STORE.reason)


async def _refuse_socket(socket: WebSocket, close: int, code: str, detail: str) -> None:
    """Says why in band: a browser's script sees neither status nor body of a refused handshake."""
    count_refusal(code)
    await socket.send_text(to_json({"control": "error", "code": code, "detail": detail}).decode())
    await socket.close(close, code)


# Publishing


async def publish_events(request: Request) -> Response:
    edge = _edge(request)
    if edge.draining:
        raise _leaving()
    given, single = ingest.parse(await _body(request), request.headers.get("content-type", ""), edge.settings.max_batch)
    principal = principal_of(request.scope)
    came_with = request.headers.get("traceparent")
    trace = tracing.begin(came_with) if came_with or tracing.recorder else None
    begun = time.time_ns()
    key = request.headers.get("idempotency-key")
    many = ingest.events(given, key, trace, principal.id)
    ingest.permit(many, principal)
    ingest.fit(many, largest_event(edge.broker.connection.max_payload, edge.settings.max_body))
    edge.door.limits.publish(edge.door.address(request.scope), principal, len(many))
    names = name_events([event for event, _ in many], [item.get("id") is not None for item in given], principal.id, key)
    acks = await ingest.publish(edge.broker, many, edge.store, names, keyed=key is not None)
    if trace:
        tracing.tell("publish", "server", came_with, trace, begun, events=len(many))
    answers = [
        {"id": each.event.id, "cursor": await _published(edge, each, ack), "duplicate": ack.duplicate}
        for each, ack in zip(many, acks, strict=True)
    ]
    return _json({**(answers[0] if single else {}), "events": answers}, 201)


async def _published(edge: Edge, accepted: ingest.Accepted, ack: Ack) -> str:
    """The cursor of an event that was just stored; a repeat has that of the first, whose bytes may be others."""
    if ack.duplicate:
        return await edge.hub.find_cursor(ack.sequence)
    return token(edge.hub.epoch, ack.sequence, check_of(accepted.payload))


# What is the case just now


async def _latest(request: Request, *patterns: str) -> list[Record]:
    """The newest events under some patterns, of those that who asks may read."""
    grants = principal_of(request.scope).grants
    found = await _edge(request).broker.latest(patterns)
    return [record for record in found if record.event is not None and grants.may_read(record.subject)]


async def list_runs(request: Request) -> Response:
    records = await _latest(request, "agent.*.state", "job.*.state", "thread.*.state")
    runs = [_state(record) for record in reversed(records)]
    return _json({"runs": runs[: _number(request, "limit", 100, 1, 1000)]})


async def give_command(request: Request) -> Response:
    """Asks an actor to do something, such as to stop a run."""
    path = request.path_params
    address = commands.address_of(path["actor"], path["instance"], path["command"])
    principal_of(request.scope).require_command(address)
    patience = _number(request, "timeout", commands.PATIENCE, 0.1, commands.MOST_PATIENCE)
    arguments = await _json_body(request)
    return _json(await commands.give(_edge(request).broker.connection, address, arguments, patience))


async def read_run(request: Request) -> Response:
    token = escape(request.path_params["run"])
    records = await _latest(request, *(f"{domain}.{token}.state" for domain in ("agent", "job", "thread")))
    if not records:
        raise Problem("run_not_found", f"no run {request.path_params['run'][:60]!r} is known")
    return _json(_state(records[-1]))


def _state(record: Record) -> dict[str, Any]:
    event = record.event
    assert event is not None
    return {"run": unescape(event.subject.entity), "domain": event.subject.domain, **event.data}


async def list_alerts(request: Request) -> Response:
    """The newest word of each rule about each entity, among the last of all that rules have said."""
    edge = _edge(request)
    grants = principal_of(request.scope).grants
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for record in await edge.hub.last(("alert.>",), ALERTS_LOOKED_AT):
        event = record.event
        if event is None or event.type not in ("firing", "resolved") or not grants.may_read(record.subject):
            continue
        rule = unescape(event.subject.entity)
        newest[rule, str(event.data.get("key") or event.data.get("entity", ""))] = {
            "rule": rule,
            **event.data,
            "status": event.type,
            "timestamp": rfc3339(event.time),
            "id": event.id,
            "cursor": record.cursor(edge.hub.epoch),
        }
    alerts = sorted(newest.values(), key=lambda alert: str(alert["cursor"]), reverse=True)
    return _json({"alerts": alerts[: _number(request, "limit", 100, 1, 1000)]})


async def list_cameras(request: Request) -> Response:
    return _json({"cameras": await _entities(request, "camera")})


async def list_octanes(request: Request) -> Response:
    return _json({"octanes": await _entities(request, "octane")})


async def _entities(request: Request, domain: str) -> list[dict[str, Any]]:
    """Every camera or Octane that has said something, with what it said last."""
    found: dict[str, dict[str, Any]] = {}
    for record in await _latest(request, f"{domain}.*.state", f"{domain}.*.statistics"):
        event = record.event
        assert event is not None
        shown = found.setdefault(event.subject.entity, {"id": unescape(event.subject.entity)})
        if event.type == "state":
            shown |= {**event.data, "updated": rfc3339(event.time)}
        else:
            shown["statistics"] = dict(event.data)
    return sorted(found.values(), key=lambda shown: str(shown["id"]))


# Webhooks


async def list_attempts(request: Request) -> Response:
    return _json(await _edge(request).hooks.attempts(await _session(request), request.query_params))


async def resend_delivery(request: Request) -> Response:
    edge = _edge(request)
    session = await _session(request)
    body = await _json_body(request)
    edge.store.require(HOOKS)
    return _json(await edge.store.guard(HOOKS, edge.hooks.resend(session, body)), 202)


async def recover_deliveries(request: Request) -> Response:
    session = await _session(request)
    return _recovery(await _edge(request).hooks.recover(session, await _json_body(request)))


async def replay_deliveries(request: Request) -> Response:
    session = await _session(request)
    return _recovery(await _edge(request).hooks.replay(session, await _json_body(request)))


def _recovery(shown: Mapping[str, Any]) -> Response:
    """A recovery goes on after its request; the answer says where it can be watched."""
    return _json(shown, 202, {"Location": f"/callbacks/sessions/{shown['session_id']}/recoveries/{shown['id']}"})


async def list_recoveries(request: Request) -> Response:
    return _json(await _edge(request).hooks.recoveries(await _session(request)))


async def read_recovery(request: Request) -> Response:
    return _json(await _edge(request).hooks.recovery(await _session(request), request.path_params["recovery"]))


async def cancel_recovery(request: Request) -> Response:
    return _json(await _edge(request).hooks.cancel(await _session(request), request.path_params["recovery"]), 202)


async def endpoint_health(request: Request) -> Response:
    return _json(await _edge(request).hooks.health(await _session(request)))


async def enable_endpoint(request: Request) -> Response:
    session = await _session(request)
    return _json(await _edge(request).hooks.enable(session, await _json_body(request)))


async def disable_endpoint(request: Request) -> Response:
    session = await _session(request)
    return _json(await _edge(request).hooks.disable(session, await _json_body(request)))


async def rotate_secret(request: Request) -> Response:
    session = await _session(request)
    return _json(await _edge(request).hooks.rotate(session, await _json_body(request)))


async def verify_endpoint(request: Request) -> Response:
    session, consent = await _edge(request).hooks.verify(await _session(request))
    return _json({**session.describe(), "verification": consent.describe()})


# Dead letters


async def list_deadletters(request: Request) -> Response:
    edge = _edge(request)
    return _json(await edge.desk.page(request.query_params, edge.hub.epoch))


async def summarise_deadletters(request: Request) -> Response:
    return _json(await _edge(request).desk.summary())


async def read_deadletter(request: Request) -> Response:
    edge = _edge(request)
    return _json(await edge.desk.letter(request.path_params["id"], edge.hub.epoch))


async def delete_deadletter(request: Request) -> Response:
    await _edge(request).desk.delete(request.path_params["id"])
    return Response(status_code=204)


async def redrive_deadletters(request: Request) -> Response:
    job = await _edge(request).desk.redrive(await _json_body(request))
    return _json(job, 202, {"Location": f"/deadletters/jobs/{job['id']}"})


async def list_redrives(request: Request) -> Response:
    return _json(await _edge(request).desk.jobs())


async def read_redrive(request: Request) -> Response:
    return _json(await _edge(request).desk.job(request.path_params["job"]))


async def cancel_redrive(request: Request) -> Response:
    return _json(await _edge(request).desk.cancel(request.path_params["job"]), 202)


async def purge_deadletters(request: Request) -> Response:
    return _json(await _edge(request).desk.purge(await _json_body(request)))


# Pictures


def _track(domain: str, connection: Request | WebSocket) -> tuple[str, str, str]:
    """Which pictures are asked for. Raises Problem 403 where all that is said of their source may not be read."""
    entity = connection.path_params["entity"]
    principal_of(connection.scope).require_read(f"{domain}.{escape(entity)}.>")
    track = connection.query_params.get("track") or ("beauty" if domain == "octane" else None)
    return domain, entity, frame_subject(domain, entity, track)


async def _mjpeg(domain: str, request: Request) -> _Seated:
    edge = _edge(request)
    where = _track(domain, request)

    async def parts(viewer: Viewer) -> Any:
        yield OPENING
        while not edge.draining:
            try:
                async with asyncio.timeout(_patience(request)):
                    frame = await viewer.next()
            except TimeoutError:
                return
            yield frame.part
            metrics.frames.labels("mjpeg").inc()

    async def watched() -> Any:
        gauge = metrics.viewers.labels("mjpeg")
        gauge.inc()
        try:
            async with edge.video.watch(*where) as viewer:
                async for part in parts(viewer):
                    yield part
        finally:
            gauge.dec()

    if not await _known(edge, domain, where[1]):
        raise Problem(f"{domain}_not_found", f"nothing is known of {domain} {where[1][:60]!r}")
    seat = _seat(request)
    answer = StreamingResponse(
        watched(),
        media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY.decode()}",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
    return _Seated(answer, seat.leave)


def _seat(connection: Request | WebSocket) -> Seat:
    """Counts a connection that shows pictures. Raises Problem 429."""
    edge = _edge(connection)
    return edge.door.limits.open(edge.door.address(connection.scope), principal_of(connection.scope))


async def _known(edge: Edge, domain: str, entity: str) -> bool:
    return bool(await edge.broker.latest([f"{domain}.{escape(entity)}.state"]))


async def _snapshot(domain: str, request: Request) -> Response:
    edge = _edge(request)
    where = _track(domain, request)
    if not await _known(edge, domain, where[1]):
        raise Problem(f"{domain}_not_found", f"nothing is known of {domain} {where[1][:60]!r}")
    frame = await edge.video.newest(*where)
    if frame is None:
        raise Problem("no_frame", "the source has made no picture yet")
    return Response(bytes(frame.jpeg), media_type="image/jpeg", headers={"Cache-Control": "no-store"})


async def _frames(domain: str, socket: WebSocket) -> None:
    edge = _edge(socket)
    where = _track(domain, socket)
    seat = _seat(socket)
    gauge = metrics.viewers.labels("websocket")
    sent = metrics.frames.labels("websocket")
    gauge.inc()
    try:
        await socket.accept()
        async with edge.video.watch(*where) as viewer:
            await _show(socket, viewer, sent)
    except WebSocketDisconnect:
        pass
    finally:
        gauge.dec()
        seat.leave()


async def _show(socket: WebSocket, viewer: Viewer, sent: Any) -> None:
    """Writes the newest frames until the client leaves, or its token ends; only reading tells that a client has left."""

    async def leave() -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass

    async def show() -> None:
        while True:
            frame: Frame = await viewer.next()
            await socket.send_bytes(frame.payload)
            sent.inc()

    tasks = {asyncio.ensure_future(leave()), asyncio.ensure_future(show())}
    try:
        done, _ = await asyncio.wait(tasks, timeout=_patience(socket), return_when=asyncio.FIRST_COMPLETED)
        if not done:
            await socket.close(EXPIRED.code, EXPIRED.reason)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        metrics.frames_dropped.labels("websocket").inc(viewer.dropped)


def _patience(connection: Request | WebSocket) -> float | None:
    """How long the token of who watches is still good; None for ever."""
    left = _left(connection)
    return None if math.isinf(left) else left


async def camera_mjpeg(request: Request) -> _Seated:
    return await _mjpeg("camera", request)


async def camera_snapshot(request: Request) -> Response:
    return await _snapshot("camera", request)


async def camera_socket(socket: WebSocket) -> None:
    await _frames("camera", socket)


async def octane_mjpeg(request: Request) -> _Seated:
    return await _mjpeg("octane", request)


async def octane_snapshot(request: Request) -> Response:
    return await _snapshot("octane", request)


async def octane_socket(socket: WebSocket) -> None:
    await _frames("octane", socket)


# The page, and what operators ask


async def console_page(_request: Request) -> Response:
    return FileResponse(
        CONSOLE / "index.html",
        headers={
            "Cache-Control": "no-cache",
            "Content-Security-Policy": POLICY,
        },
    )


async def to_console_page(request: Request) -> Response:
    """Redirects to the page, relative to where the client asked: a proxy may show us under another name, scheme or path."""
    return RedirectResponse("../" if request.url.path.endswith("/") else "./")


async def livez(_request: Request) -> Response:
    """That this answers is the proof: the event loop turns. NATS is not asked, a broker's fault mends no edge by a restart."""
    return _json({"status": "ok"})


async def readyz(request: Request) -> Response:
    readiness = _edge(request).readiness
    return _json(readiness, 200 if readiness["status"] == "ok" else 503)


async def prometheus(request: Request) -> Response:
    encode, kind = choose_encoder(request.headers.get("accept", ""))
    # Thousands of series take longer than an event may wait.
    return Response(await asyncio.to_thread(encode, REGISTRY), headers={"Content-Type": kind})


async def openapi(_request: Request) -> Response:
    return _json(document())


def _number(request: Request, name: str, default: Any, least: Any, most: Any) -> Any:
    """Reads a number from the query; what is no number, or out of bounds, is refused by name."""
    text = request.query_params.get(name)
    if text in (None, "", "undefined", "null"):
        return default
    try:
        value = type(default)(text)
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        raise Problem("bad_parameter", f"{name} must be a number from {least} to {most}")
    return value
