"""This file is where it is decided which web pages may speak to the edge: host names, origins, CORS, and upgrades."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.problem import Problem
from edge.settings import LOOPBACK, EdgeSettings

METHODS = "GET, POST, PATCH, DELETE, OPTIONS"
EXPOSED = "Location, Retry-After"


class Gate:
    """Middleware before everything: refuses foreign hosts and origins, answers preflights, adds CORS headers."""

    def __init__(self, app: ASGIApp, settings: EdgeSettings) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in settings.allowed_hosts) | {settings.host}
        self._origins = frozenset(origin.rstrip("/") for origin in settings.allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if not self._answers_to(headers.get("host", "")):
            await self._refuse(scope, receive, send, "forbidden_host")
        elif origin is not None and not self._admits(origin, headers.get("host", "")):
            await self._refuse(scope, receive, send, "forbidden_origin")
        elif origin is None or scope["type"] == "websocket":
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await self._preflight(origin, headers, send)
        else:
            await self._app(scope, receive, _with_cors(send, origin))

    def _answers_to(self, host: str) -> bool:
        if "*" in self._hosts:
            return True
        name = host.rsplit("]", 1)[0].lstrip("[") if host.startswith("[") else host.rsplit(":", 1)[0]
        return name.lower() in self._hosts

    def _admits(self, origin: str, host: str) -> bool:
        if "*" in self._origins or origin in self._origins:
            return True
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https"):
            return False
        # This server's own pages, and pages that a developer serves from the same machine.
        return parts.netloc == host or (parts.hostname or "") in LOOPBACK

    async def _preflight(self, origin: str, asked: Headers, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": 204,
                "headers": [
                    (b"access-control-allow-origin", origin.encode()),
                    (b"access-control-allow-methods", METHODS.encode()),
                    (
                        b"access-control-allow-headers",
                        asked.get("access-control-request-headers", "").encode("latin-1"),
                    ),
                    (b"access-control-max-age", b"600"),
                    (b"vary", b"Origin"),
                ],
            }
        )
        await send({"type": "http.response.body", "body": b""})

    @staticmethod
    async def _refuse(scope: Scope, receive: Receive, send: Send, code: str) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4503, "reason": code})
            return
        await Problem(code).response()(scope, receive, send)


def _with_cors(send: Send, origin: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = EXPOSED
            headers.add_vary_header("Origin")
        await send(message)

    return sending
