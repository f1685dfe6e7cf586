"""Stands before an edge and writes streams, which the edge does not: the conformance suite creates what it reads.

A stream is a run: PUT begins it, POST publishes events of it, a close ends it. GET, HEAD and OPTIONS are passed to the edge as they
are, and its answers passed back: status, headers, `control` events and when they come are the edge's. Only the payload is
put back into the form in which the suite wrote it, as our events are JSON objects around it; and the events that begin and end a run
are left out, as nobody wrote them.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
from aiohttp import web

from tests.waiting import PATIENCE

JSON = "application/json"
# What fits an event in its base64.
MAX_BODY = 700_000
NEXT, CLOSED = "Stream-Next-Offset", "Stream-Closed"
# Headers of a hop, and those that the payload's form decides.
_OWN = frozenset(
    {"content-length", "content-encoding", "transfer-encoding", "connection", "content-type", "date", "server"}
)


@dataclass
class Written:
    """A stream that the suite has created."""

    type: str
    run: str
    closed: bool = False

    @property
    def is_json(self) -> bool:
        return self.type.partition(";")[0].strip().lower() == JSON

    @property
    def is_text(self) -> bool:
        return self.is_json or self.type.lower().startswith("text/")

    def wrap(self, body: bytes) -> list[dict[str, Any]]:
        """The data of events. Raises ValueError."""
        if not self.is_json:
            return [{"bytes": base64.b64encode(body).decode()}] if body else []
        value = json.loads(body) if body else []
        return [{"value": each} for each in (value if isinstance(value, list) else [value])]

    def unwrap(self, events: list[dict[str, Any]]) -> bytes:
        """The payload as it was written; empty where there is none."""
        found = [event["data"] for event in events]
        if self.is_json:
            values = [data["value"] for data in found if "value" in data]
            return json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode()
        return b"".join(base64.b64decode(data["bytes"]) for data in found if "bytes" in data)


class DurableWriter:
    """The server that the suite is run against."""

    def __init__(self, edge: str) -> None:
        self._http = httpx.AsyncClient(base_url=edge, timeout=PATIENCE)
        self._streams: dict[str, Written] = {}

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serves on a port of its own; yields the address."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._answer)
        # A handler ends with its client, and with it what it reads of the edge.
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
            await self._http.aclose()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "PUT":
            return await self._create(request)
        if request.method == "POST":
            return await self._append(request)
        return await self._read(request)

    # Writing: by our door for events

    async def _create(self, request: web.Request) -> web.Response:
        kind = request.headers.get("Content-Type", "application/octet-stream")
        if request.path in self._streams:
            return web.Response(status=409)
        run = f"durable-{hashlib.sha256(request.path.encode()).hexdigest()[:20]}"
        made = self._streams[request.path] = Written(kind, run)
        closes = request.headers.get(CLOSED, "").lower() == "true"
        datas = made.wrap(await request.read())
        events = [_event(made, "workflow_start", {"name": "stream"}), *(_event(made, "note", each) for each in datas)]
        offset = await self._publish(made, events, closes)
        return web.Response(status=201, headers={"Location": str(request.url), "Content-Type": kind, NEXT: offset})

    async def _append(self, request: web.Request) -> web.Response:
        made = self._streams.get(request.path)
        if made is None:
            return web.Response(status=404)
        body, closes = await request.read(), request.headers.get(CLOSED, "").lower() == "true"
        if made.closed and body:
            return web.Response(status=409, headers={CLOSED: "true"})
        if not body and not closes:
            return web.Response(status=400)
        if len(body) > MAX_BODY:
            return web.Response(status=413)
        offset = await self._publish(made, [_event(made, "note", each) for each in made.wrap(body)], closes)
        return web.Response(status=204, headers={NEXT: offset, **({CLOSED: "true"} if closes else {})})

    async def _publish(self, made: Written, events: list[dict[str, Any]], closes: bool) -> str:
        if closes and not made.closed:
            made.closed = True
            last = events.pop() if events and events[-1]["subject"].endswith(".note") else _event(made, "", {})
            # The last data and the end are one event, so that no reader sees one without the other.
            events.append(_event(made, "completion", {"success": True, **last["data"]}))
        offset = ""
        # Of any size, and in this order.
        for event in events:
            answer = await self._http.post("/events", json=event)
            assert answer.status_code == 201, answer.text
            offset = answer.json()["events"][0]["cursor"]
        return offset

    # Reading: by the edge

    async def _read(self, request: web.Request) -> web.StreamResponse:
        made = self._streams.get(request.path)
        run = made.run if made is not None else "durable-nobody-wrote"
        query = request.rel_url.raw_query_string
        if "live=long-poll" in query:
            # The suite need not wait as long as a client.
            query += "&timeout=2"
        passed = {
            name: value for name, value in request.headers.items() if name.lower() not in ("host", "accept-encoding")
        }
        asked = self._http.build_request(
            request.method, f"/streams/runs/{run}{'?' if query else ''}{query}", headers=passed
        )
        answer = await self._http.send(asked, stream=True)
        try:
            headers = {name: value for name, value in answer.headers.items() if name.lower() not in _OWN}
            kind = answer.headers.get("content-type", "")
            if kind.startswith("text/event-stream") and made is not None:
                return await self._stream(request, made, answer, {**headers, "Content-Type": kind})
            body = await answer.aread()
            if made is not None and answer.status_code == 200:
                kind, body = made.type, made.unwrap(json.loads(body)) if body else b""
            if kind:
                headers["Content-Type"] = kind
            return web.Response(status=answer.status_code, headers=headers, body=body)
        finally:
            await answer.aclose()

    async def _stream(
        self, request: web.Request, made: Written, answer: httpx.Response, headers: dict[str, str]
    ) -> web.StreamResponse:
        if not made.is_text:
            headers["Stream-SSE-Data-Encoding"] = "base64"
        made_answer = web.StreamResponse(status=answer.status_code, headers=headers)
        await made_answer.prepare(request)
        rest = ""
        with contextlib.suppress(ConnectionError):
            async for text in answer.aiter_text():
                *blocks, rest = (rest + text).split("\n\n")
                if said := b"".join(_block(made, block) for block in blocks):
                    await made_answer.write(said)
        return made_answer


def _event(made: Written, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"subject": f"agent.{made.run}.{kind}", "data": data}


def _block(made: Written, block: str) -> bytes:
    """An event of the edge's stream; a `data` with the payload, or without what nobody wrote."""
    if not block.startswith("event: data\ndata:"):
        return f"{block}\n\n".encode()
    payload = made.unwrap(json.loads(block.removeprefix("event: data\ndata:")))
    if payload in (b"", b"[]"):
        return b""
    text = payload.decode() if made.is_text else base64.b64encode(payload).decode()
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return ("event: data\n" + "".join(f"data:{line}\n" for line in lines) + "\n").encode()
