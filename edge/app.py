"""This file is where all routes of the HTTP surface are on one screen, and what each answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from edge import ingest, metrics
from edge.dialects import DIALECTS
from edge.disconnect import BAD_CURSOR, LOST_STORE, NO_SESSION, SHUTDOWN
from edge.edge import Edge
from edge.openapi import document
from edge.origin import Gate
from edge.problem import Problem, refuse
from edge.registry import MAX_RATE, MIN_RATE, Session, parse_change, parse_session
from edge.session import Pace
from edge.stats import Stats, describe, total
from edge.transports import polling
from edge.transports.sse import HEADERS, SseResponse, last_event_id
from edge.transports.websocket import SocketReader
from edge.video import BOUNDARY, Frame, Viewer
from edge.view import View
from edge.webhooks.guard import check_url
from router.codec import from_json, rfc3339, to_json
from router.cursor import Cursor, Start, parse_start
from router.errors import BadEvent, BadInput, BrokerError, Conflict, RouterError
from router.event import Event
from router.frame import frame_subject
from router.record import Record
from router.subject import Subject, escape, unescape

# How far back `/alerts` looks: a page of alerts is for people, and older ones are in the stream.
ALERTS_LOOKED_AT = 500
CONSOLE = Path(__file__).parent / "console"


class Console(StaticFiles):
    """The page's files; asked for anew each time (mostly answered by 304), so that an upgrade is seen at once."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


def create_app(edge: Edge) -> Starlette:
    """Builds the application over a running edge."""
    app = Starlette(
        routes=routes(),
        middleware=[Middleware(Gate, settings=edge.settings)],
        exception_handlers={
            Problem: refuse,
            RouterError: refuse,
            HTTPException: _http_problem,
            Exception: refuse,
        },
    )
    app.state.edge = edge
    return app


def routes() -> list[BaseRoute]:
    session = "/callbacks/sessions/{session_id}"
    return [
        Route("/", console_page),
        Mount("/console", Console(directory=CONSOLE)),
        Route("/callbacks/sessions", list_sessions, methods=["GET"]),
        Route("/callbacks/sessions", create_session, methods=["POST"]),
        Route("/callbacks/stats", overall_stats),
        Route(session, read_session, methods=["GET"]),
        Route(session, change_session, methods=["PATCH"]),
        Route(session, delete_session, methods=["DELETE"]),
        Route(f"{session}/stats", session_stats),
        Route(f"{session}/test", test_session, methods=["POST"]),
        Route(f"{session}/events", poll_session),
        Route(f"{session}/sse", stream_session),
        WebSocketRoute(f"{session}/ws", socket_session),
        Route("/events", publish_events, methods=["POST"]),
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


def _json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        to_json(value), status, {"Cache-Control": "no-store", **(headers or {})}, media_type="application/json"
    )


async def _http_problem(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(fault.status_code, "bad_input")
    return Problem(code, f"{request.method} {request.url.path}", headers=fault.headers).response()


async def _body(request: Request) -> bytes:
    """Reads a body up to the limit; what is longer is refused before it is held."""
    most = _edge(request).settings.max_body
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise Problem("body_too_large", f"at most {most} bytes")
        parts.append(part)
    return b"".join(parts)


async def _json_body(request: Request) -> Any:
    body = await _body(request)
    if not body.strip():
        return {}
    try:
        return from_json(body)
    except BadEvent as fault:
        raise Problem("bad_json", str(fault)) from None


# Sessions


async def create_session(request: Request) -> Response:
    edge = _edge(request)
    spec, start = parse_session(await _json_body(request), frozenset(DIALECTS))
    if spec.webhook:
        await check_url(spec.webhook.url, edge.guard)
    # A session begins where it was made, so that nothing said between its creation and its first reader is lost.
    view = View.of(spec.id, spec.subjects, spec.events, spec.filter)
    place = await edge.hub.begin(start or Start(now=True), view)
    spec = msgspec.structs.replace(spec, start=str(Cursor(edge.hub.epoch, place.after)))
    session = await edge.registry.create(spec)
    shown = session.describe()
    if spec.webhook:
        # The one time that the secret is shown: who made the session needs it to verify.
        shown["webhook_secret"] = spec.webhook.secret
    return _json(shown, 201, {"Location": f"/callbacks/sessions/{spec.id}"})


async def list_sessions(request: Request) -> Response:
    edge = _edge(request)
    found = sorted(edge.registry.sessions.values(), key=lambda session: session.spec.created)
    limit = _number(request, "limit", 100, 1, 1000)
    offset = _number(request, "offset", 0, 0, 10**9)
    page = found[offset : offset + limit]
    return _json({"sessions": [session.describe() for session in page], "total": len(found)})


async def read_session(request: Request) -> Response:
    return _json((await _session(request)).describe())


async def change_session(request: Request) -> Response:
    edge = _edge(request)
    session = await _session(request)
    spec = parse_change(await _json_body(request), session.spec)
    if spec.webhook:
        await check_url(spec.webhook.url, edge.guard)
    try:
        changed = await edge.registry.update(session, spec)
    except Conflict:
        raise Problem("session_changed", "read it again and repeat the change") from None
    return _json(changed.describe())


async def delete_session(request: Request) -> Response:
    await _edge(request).registry.delete(request.path_params["session_id"])
    return Response(status_code=204)


async def session_stats(request: Request) -> Response:
    edge = _edge(request)
    session = await _session(request)
    return _json(describe(session.id, await _stats(edge, session)))


async def _stats(edge: Edge, session: Session) -> Stats:
    gathered = await edge.census.gather(session.id)
    return gathered.get(session.id, Stats())


async def overall_stats(request: Request) -> Response:
    edge = _edge(request)
    gathered = await edge.census.gather()
    whole = describe("all", total(gathered.values()))
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
    said = await _json_body(request)
    if not isinstance(said, dict):
        raise Problem("bad_body", "the body must be a JSON object")
    kind = said.get("event_type", "progress")
    data = said.get("test_data", {"message": "test"})
    if unknown := sorted(set(said) - {"event_type", "test_data"}):
        raise Problem(
            "unknown_field", f"not known: {', '.join(map(str, unknown))[:200]}; known are event_type, test_data"
        )
    if not isinstance(kind, str) or not isinstance(data, dict):
        raise Problem("bad_body", "event_type must be a text and test_data an object")
    event = Event.new(Subject.of("session", session.id, kind), data, type=kind, source="test", test=True)
    (ack,) = await ingest.publish(edge.broker, [event])
    return _json(
        {
            "status": "published",
            "success": True,
            "session_id": session.id,
            "event_id": event.id,
            "event_type": kind,
            "timestamp": rfc3339(event.time),
            "cursor": str(Cursor(edge.hub.epoch, ack.sequence)),
        }
    )


async def _session(request: Request) -> Session:
    return await _edge(request).registry.find(request.path_params["session_id"])


def _start(query: Mapping[str, str], session: Session, cursor: str | None = None) -> Start:
    """Where a reader wants to begin; without a word from it, where the session begins."""
    # `undefined` and `null` are what a page's string concatenation sends before it has a value.
    said = {name: value for name, value in query.items() if value not in ("", "undefined", "null")}
    if cursor:
        return parse_start(cursor) or Start(now=True)
    start = parse_start(said.get("cursor"), said.get("since"), said.get("last"))
    return start or Start(cursor=session.start)


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
    polled = await polling.poll(edge.hub, session, start, limit, wait, stats)
    # A poll by time is a receipt too: it says what the client saw last.
    stats.acknowledged(str(start.cursor) if start.cursor else polling.EVERYTHING if start.since else None)
    stats.handed(len(polled.records), polled.next)
    metrics.delivered.labels("polling").inc(len(polled.records))
    return Response(
        polling.body(edge.hub, session, polled), media_type="application/json", headers={"Cache-Control": "no-store"}
    )


async def stream_session(request: Request) -> Response | SseResponse:
    edge = _edge(request)
    if edge.draining:
        raise Problem("draining", headers={"Retry-After": "1"})
    session = await _session(request)
    start = _start(request.query_params, session, last_event_id(request))
    pace = _pace(request.query_params, session)
    if request.method == "HEAD":
        return Response(headers={name.decode(): value.decode() for name, value in HEADERS})
    lanes = edge.lanes if edge.settings.lane else None
    return SseResponse(edge.hub, session, start, edge.census.of(session.id), pace, lanes)


async def socket_session(socket: WebSocket) -> None:
    edge = _edge(socket)
    await socket.accept()
    if edge.draining:
        await socket.close(SHUTDOWN.code, SHUTDOWN.reason)
        return
    try:
        session = await edge.registry.find(socket.path_params["session_id"])
        start = _start(socket.query_params, session)
        pace = _pace(socket.query_params, session)
    except Problem as problem:
        close = NO_SESSION if problem.code == "session_not_found" else BAD_CURSOR
        await _refuse_socket(socket, close.code, problem.code, problem.detail)
        return
    except BadInput as fault:
        await _refuse_socket(socket, BAD_CURSOR.code, fault.code, str(fault))
        return
    stats = edge.census.of(session.id)
    try:
        if not (edge.settings.lane and await edge.lanes.take_socket(socket.scope, session, start, stats, pace)):
            await SocketReader(edge.hub, session, start, stats, pace, socket).run()
    except BrokerError:
        await socket.close(LOST_STORE.code, LOST_STORE.reason)


async def _refuse_socket(socket: WebSocket, close: int, code: str, detail: str) -> None:
    """Says why in band: a browser's script sees neither status nor body of a refused handshake."""
    await socket.send_text(to_json({"control": "error", "code": code, "detail": detail}).decode())
    await socket.close(close, code)


# Publishing


async def publish_events(request: Request) -> Response:
    edge = _edge(request)
    if edge.draining:
        raise Problem("draining", headers={"Retry-After": "1"})
    given, single = ingest.parse(await _body(request), request.headers.get("content-type", ""), edge.settings.max_batch)
    many = ingest.events(given, request.headers.get("idempotency-key"))
    acks = await ingest.publish(edge.broker, many)
    answers = [
        {"id": event.id, "cursor": str(Cursor(edge.hub.epoch, ack.sequence)), "duplicate": ack.duplicate}
        for event, ack in zip(many, acks, strict=True)
    ]
    return _json({**(answers[0] if single else {}), "events": answers}, 201)


# What is the case just now


async def _latest(edge: Edge, *patterns: str) -> list[Record]:
    return [record for record in await edge.broker.latest(patterns) if record.event is not None]


async def list_runs(request: Request) -> Response:
    records = await _latest(_edge(request), "agent.*.state", "job.*.state", "thread.*.state")
    runs = [_state(record) for record in reversed(records)]
    return _json({"runs": runs[: _number(request, "limit", 100, 1, 1000)]})


async def read_run(request: Request) -> Response:
    token = escape(request.path_params["run"])
    records = await _latest(_edge(request), *(f"{domain}.{token}.state" for domain in ("agent", "job", "thread")))
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
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for record in await edge.hub.last(("alert.>",), ALERTS_LOOKED_AT):
        event = record.event
        if event is None or event.type not in ("firing", "resolved"):
            continue
        rule = unescape(event.subject.entity)
        newest[rule, str(event.data.get("key") or event.data.get("entity", ""))] = {
            "rule": rule,
            **event.data,
            "status": event.type,
            "timestamp": rfc3339(event.time),
            "id": event.id,
            "cursor": str(Cursor(edge.hub.epoch, record.sequence)),
        }
    alerts = sorted(newest.values(), key=lambda alert: str(alert["cursor"]), reverse=True)
    return _json({"alerts": alerts[: _number(request, "limit", 100, 1, 1000)]})


async def list_cameras(request: Request) -> Response:
    return _json({"cameras": await _entities(_edge(request), "camera")})


async def list_octanes(request: Request) -> Response:
    return _json({"octanes": await _entities(_edge(request), "octane")})


async def _entities(edge: Edge, domain: str) -> list[dict[str, Any]]:
    """Every camera or Octane that has said something, with what it said last."""
    found: dict[str, dict[str, Any]] = {}
    for record in await _latest(edge, f"{domain}.*.state", f"{domain}.*.statistics"):
        event = record.event
        assert event is not None
        shown = found.setdefault(event.subject.entity, {"id": unescape(event.subject.entity)})
        if event.type == "state":
            shown |= {**event.data, "updated": rfc3339(event.time)}
        else:
            shown["statistics"] = dict(event.data)
    return sorted(found.values(), key=lambda shown: str(shown["id"]))


# Pictures


def _track(domain: str, connection: Request | WebSocket) -> tuple[str, str, str]:
    entity = connection.path_params["entity"]
    track = connection.query_params.get("track") or ("beauty" if domain == "octane" else None)
    return domain, entity, frame_subject(domain, entity, track)


async def _mjpeg(domain: str, request: Request) -> Response:
    edge = _edge(request)
    where = _track(domain, request)

    async def parts(viewer: Viewer) -> Any:
        yield b""
        while not edge.draining:
            frame = await viewer.next()
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
    return StreamingResponse(
        watched(),
        media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY.decode()}",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


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
    await socket.accept()
    gauge = metrics.viewers.labels("websocket")
    sent = metrics.frames.labels("websocket")
    gauge.inc()
    try:
        async with edge.video.watch(*_track(domain, socket)) as viewer:
            await _show(socket, viewer, sent)
    except WebSocketDisconnect:
        pass
    finally:
        gauge.dec()


async def _show(socket: WebSocket, viewer: Viewer, sent: Any) -> None:
    """Writes the newest frames until the client leaves; two tasks, because only reading tells that it left."""

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
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        metrics.frames_dropped.labels("websocket").inc(viewer.dropped)


async def camera_mjpeg(request: Request) -> Response:
    return await _mjpeg("camera", request)


async def camera_snapshot(request: Request) -> Response:
    return await _snapshot("camera", request)


async def camera_socket(socket: WebSocket) -> None:
    await _frames("camera", socket)


async def octane_mjpeg(request: Request) -> Response:
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
            "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; "
            "connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        },
    )


async def livez(_request: Request) -> Response:
    """That this answers is the proof: the event loop turns. NATS is not asked, a broker's fault mends no edge by a restart."""
    return _json({"status": "ok"})


async def readyz(request: Request) -> Response:
    checks = _edge(request).ready
    return _json(
        {"status": "ok" if all(checks.values()) else "unavailable", "checks": checks},
        200 if all(checks.values()) else 503,
    )


async def prometheus(request: Request) -> Response:
    encode, kind = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(REGISTRY), headers={"Content-Type": kind})


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
