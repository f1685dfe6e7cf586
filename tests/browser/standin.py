"""A server for the JavaScript client that misbehaves on purpose: the wire of the edge, with faults on demand.

It is a fixture for what a healthy edge never does (forget a session, fall silent, refuse sockets, repeat itself). All
that a healthy edge does is tested against the real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from edge.http.catalogue import console_module
from edge.http.system import CLIENT, CLIENT_MODULE, CONSOLE, inline_source
from router.subject import matches
from tests.waiting import in_time

POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; "
    f"script-src 'self' {inline_source(CONSOLE / 'index.html')}"
)
EPOCH = "1-0badcafe"


class Standin:
    """One log, its sessions, and the faults that a test asks for."""

    def __init__(self) -> None:
        self.url = ""
        self.log: list[dict[str, Any]] = []
        self.sessions: dict[str, dict[str, Any]] = {}
        self.acts: list[tuple[str, str, Any]] = []
        self.lists: dict[str, list[dict[str, Any]]] = {"runs": [], "alerts": [], "cameras": [], "octanes": []}
        self.frames: dict[str, bytes] = {}
        self.news = asyncio.Condition()
        self.sockets: set[web.WebSocketResponse] = set()
        self.transports: set[asyncio.Transport] = set()
        self.opened: list[str] = []
        # What was asked for without a session.
        self.pages: list[dict[str, str]] = []
        self._live: set[object] = set()
        self.most_open = 0
        self.created = 0
        self.heartbeats = 0
        self.heartbeat_seconds = 0.0
        self.pings = 0
        # What else a page asks for: handlers by their path.
        self.extra: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        # Faults.
        self.refuse_sockets = False
        self.refuse_sse = False
        self.mute = False
        self.repeat = 0
        self.created_status = 201

    # What tests say

    async def publish(self, subject: str, data: dict[str, Any], type: str | None = None) -> dict[str, Any]:
        """Appends one event and wakes all readers."""
        event = {
            "id": f"e{len(self.log)}",
            "event_type": type or subject.rsplit(".", 1)[1],
            "subject": subject,
            "source": "standin",
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "data": data,
            "cursor": self.cursor(len(self.log) + 1),
        }
        self.log.append(event)
        async with self.news:
            self.news.notify_all()
        return event

    async def show(self, path: str, header: dict[str, Any], jpeg: bytes) -> None:
        """Puts up the newest frame of a camera or an Octane."""
        head = json.dumps(header).encode()
        self.frames[path] = struct.pack("<I", len(head)) + head + jpeg
        async with self.news:
            self.news.notify_all()

    @property
    def open_now(self) -> int:
        """How many connections stay open just now."""
        return len(self._live)

    def cut(self) -> None:
        """Breaks every open socket off, without a close."""
        # Their handlers take a moment to find out.
        self._live.clear()
        for transport in self.transports:
            transport.abort()

    async def say(self, control: dict[str, Any]) -> None:
        """Sends a control object to all sockets."""
        for socket in list(self.sockets):
            await socket.send_json(control)

    @staticmethod
    def cursor(sequence: int) -> str:
        return f"{EPOCH}-{sequence:012x}"

    # What a browser sees

    def app(self) -> web.Application:
        app = web.Application()
        session = "/callbacks/sessions/{id}"
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/blank", self._blank),
                web.get("/console/types.js", self._types),
                web.get(
                    "/console/{place:overview|events|sessions|webhooks|deadletters|runs|alerts|renders|cameras|actors}{rest:(/.*)?}",
                    self._page,
                ),
                web.static("/console", CONSOLE),
                web.static("/client", CLIENT),
                web.get("/client.js", self._module),
                web.post("/tickets", self._ticket),
                web.post("/callbacks/sessions", self._create),
                web.get(session, self._read),
                web.delete(session, self._delete),
                web.get(f"{session}/ws", self._socket),
                web.get(f"{session}/sse", self._stream),
                web.get(f"{session}/events", self._poll),
                web.get("/{kind:cameras|octane}/{id}/ws", self._frames),
                web.get("/{kind:cameras|octane}/{id}/snapshot", self._snapshot),
                web.get("/{list:runs|alerts|cameras|octanes}", self._list),
                web.post("/alerts/{id}/{what:acknowledge|snooze|dismiss|resolve}", self._act),
                web.post("/commands/{actor}/{instance}/{command}", self._give),
                web.post("/events", self._publish),
                web.get("/events", self._history),
                web.get("/{rest:.+}", self._extra),
            ]
        )
        return app

    async def _page(self, _request: web.Request) -> web.StreamResponse:
        return web.FileResponse(CONSOLE / "index.html", headers={"Content-Security-Policy": POLICY})

    async def _blank(self, _request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>blank</title>", content_type="text/html")

    async def _types(self, _request: web.Request) -> web.Response:
        return web.Response(text=console_module(), content_type="text/javascript")

    async def _extra(self, request: web.Request) -> web.StreamResponse:
        handler = self.extra.get(request.path)
        if handler is None:
            raise web.HTTPNotFound
        return await handler(request)

    async def _module(self, _request: web.Request) -> web.Response:
        return web.Response(text=CLIENT_MODULE, content_type="text/javascript")

    async def _ticket(self, _request: web.Request) -> web.Response:
        return web.json_response({"ticket": "once"}, status=201)

    async def _list(self, request: web.Request) -> web.Response:
        name = request.match_info["list"]
        return web.json_response({name: self.lists[name]})

    async def _act(self, request: web.Request) -> web.Response:
        """Changes an alert of the list, as the edge does; one that is not there is refused."""
        id, what = request.match_info["id"], request.match_info["what"]
        alert = next((each for each in self.lists["alerts"] if each["id"] == id), None)
        if alert is None:
            problem = {"code": "alert_not_found", "title": "Alert not found", "detail": "no such alert", "status": 404}
            return web.json_response(problem, status=404, content_type="application/problem+json")
        self.acts.append((id, what, await request.json()))
        states = {"acknowledge": "acknowledged", "snooze": "snoozed", "dismiss": "dismissed", "resolve": "resolved"}
        alert |= {"state": states[what], "status": "resolved" if what == "resolve" else "firing"}
        return web.json_response(alert)

    async def _give(self, request: web.Request) -> web.Response:
        """Takes a command to an actor."""
        self.acts.append(("/".join(request.match_info.values()), "command", await request.json()))
        return web.json_response({})

    async def _publish(self, request: web.Request) -> web.Response:
        said = await request.json()
        made = [
            await self.publish(e["subject"], e["data"], e.get("type")) for e in ([said] if "data" in said else said)
        ]
        return web.json_response({"events": made}, status=201)

    async def _create(self, request: web.Request) -> web.Response:
        if self.created_status != 201:
            return web.json_response({"code": "not_permitted", "detail": "no"}, status=self.created_status)
        spec = await request.json()
        self.created += 1
        name = f"sess_{self.created}"
        last = spec.get("last")
        patterns = spec.get("subjects")
        matching = [n for n, event in enumerate(self.log) if _matches(patterns, event["subject"])]
        start = matching[-last] if last and len(matching) >= last else 0 if last else len(self.log)
        self.sessions[name] = {
            "session_id": name,
            "cursor": spec.get("cursor", self.cursor(start)),
            "subjects": patterns,
            "name": spec.get("name"),
        }
        return web.json_response(self.sessions[name], status=201)

    async def _read(self, request: web.Request) -> web.Response:
        return web.json_response(self._session(request))

    async def _delete(self, request: web.Request) -> web.Response:
        self.sessions.pop(request.match_info["id"], None)
        return web.Response(status=204)

    def _session(self, request: web.Request) -> dict[str, Any]:
        found = self.sessions.get(request.match_info["id"])
        if found is None:
            raise web.HTTPNotFound(text='{"code":"session_not_found"}', content_type="application/problem+json")
        return found

    def _start(self, request: web.Request, session: dict[str, Any]) -> int:
        if "last" in request.query:
            return max(0, len(self.log) - int(request.query["last"]))
        cursor = request.query.get("cursor", session["cursor"])
        if cursor == "now":
            return len(self.log)
        return 0 if cursor in ("earliest", "snapshot") else int(cursor.rsplit("-", 1)[1], 16)

    def _ready(self, session: dict[str, Any], at: int) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        ready = {"control": "ready", "session_id": session["session_id"], "cursor": self.cursor(at), "server_time": now}
        return ready | ({"heartbeat_seconds": self.heartbeat_seconds} if self.heartbeat_seconds else {})

    @contextlib.contextmanager
    def _counted(self, transport: str) -> Any:
        self.opened.append(transport)
        connection = object()
        self._live.add(connection)
        self.most_open = max(self.most_open, self.open_now)
        try:
            yield
        finally:
            self._live.discard(connection)

    def _has(self, at: int) -> bool:
        return at < len(self.log)

    async def _events(self, session: dict[str, Any], at: int) -> AsyncIterator[dict[str, Any] | None]:
        """Events from a place on; None where a heartbeat is due."""
        at = max(0, at - self.repeat)
        while True:
            while at < len(self.log):
                event = self.log[at]
                at += 1
                if _matches(session["subjects"], event["subject"]):
                    yield event
            async with self.news:
                with contextlib.suppress(TimeoutError):
                    await in_time(self.news.wait_for(functools.partial(self._has, at)), 1)
                    continue
            yield None

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        if self.refuse_sockets:
            raise web.HTTPForbidden
        session = self._session(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert request.transport is not None
        self.sockets.add(socket)
        self.transports.add(request.transport)
        with self._counted("websocket"):
            telling = asyncio.ensure_future(self._tell(socket, session, self._start(request, session)))
            try:
                # Only reading finds out that the other side left.
                async for _message in socket:
                    self.pings += 1
                    if not self.mute:
                        await socket.send_json({"control": "pong"})
            finally:
                self.sockets.discard(socket)
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
        return socket

    async def _tell(self, socket: web.WebSocketResponse, session: dict[str, Any], at: int) -> None:
        await socket.send_json(self._ready(session, at))
        async for event in self._events(session, at):
            if not self.mute:
                await socket.send_json(event or {"control": "heartbeat", "cursor": self.cursor(len(self.log))})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self.refuse_sse:
            raise web.HTTPServiceUnavailable
        session = self._session(request)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        at = self._start(request, session)
        with self._counted("sse"), contextlib.suppress(ConnectionError):
            await answer.write(f"event: ready\ndata: {json.dumps(self._ready(session, at))}\n\n".encode())
            async for event in self._events(session, at):
                if event is None:
                    self.heartbeats += 1
                    await answer.write(b": heartbeat\n")
                else:
                    await answer.write(f"id: {event['cursor']}\ndata: {json.dumps(event)}\n\n".encode())
        return answer

    async def _poll(self, request: web.Request) -> web.Response:
        session = self._session(request)
        at = self._start(request, session)
        deadline = time.monotonic() + float(request.query.get("wait", 0))
        # The first poll of a reader asks only whether there is a session: it is no connection that stays.
        with self._counted("polling") if float(request.query.get("wait", 0)) else contextlib.nullcontext():
            async with self.news:
                with contextlib.suppress(TimeoutError):
                    left = max(0.0, deadline - time.monotonic())
                    await in_time(self.news.wait_for(lambda: at < len(self.log)), left)
            page = self.log[at : at + int(request.query.get("limit", 100))]
            at += len(page)
            events = [event for event in page if _matches(session["subjects"], event["subject"])]
            return web.json_response({"events": events, "next": self.cursor(at), "has_more": at < len(self.log)})

    async def _history(self, request: web.Request) -> web.Response:
        """A page without a session, from the last ones on or behind a cursor."""
        patterns = [each for each in request.query.get("subjects", "").split(",") if each]
        self.pages.append(dict(request.query))
        if request.query.get("cursor") == "snapshot":
            newest = {event["subject"]: event for event in self.log}
            page, at = sorted(newest.values(), key=lambda event: event["cursor"]), len(self.log)
        elif last := int(request.query.get("last", 0)):
            page, at = [each for each in self.log if _matches(patterns, each["subject"])][-last:], len(self.log)
        else:
            first = self._start(request, {"cursor": self.cursor(len(self.log))})
            first = max(0, first - int(request.query.get("back", 0)))
            page = self.log[first : first + int(request.query.get("limit", 100))]
            at = first + len(page)
        events = [event for event in page if _matches(patterns, event["subject"])]
        begin = {"begin": self.cursor(first)} if "back" in request.query else {}
        return web.json_response({"events": events, "next": self.cursor(at), "has_more": at < len(self.log), **begin})

    async def _frames(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        path = f"{request.match_info['kind']}/{request.match_info['id']}"
        sent = None
        with contextlib.suppress(ConnectionError, RuntimeError):
            while not socket.closed:
                frame = self.frames.get(path)
                if frame is not None and frame is not sent:
                    await socket.send_bytes(frame)
                    sent = frame
                async with self.news:
                    await self.news.wait()
        return socket

    async def _snapshot(self, request: web.Request) -> web.Response:
        frame = self.frames[f"{request.match_info['kind']}/{request.match_info['id']}"]
        (length,) = struct.unpack_from("<I", frame)
        return web.Response(body=frame[4 + length :], content_type="image/jpeg")


def _matches(patterns: list[str] | None, subject: str) -> bool:
    return not patterns or any(matches(pattern, subject) for pattern in patterns)
