"""Middleware that checks the Host and Origin of each request, answers CORS preflights, and adds CORS headers."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.errors import Problem
from edge.http.head import head_of, header_of
from edge.problem import to_response
from edge.settings import LOOPBACK, EdgeSettings

METHODS = "GET, POST, PATCH, DELETE, OPTIONS"
# Those of LangGraph first, the last ones those of Durable Streams.
EXPOSED = (
    "Content-Location, Location, Retry-After, WWW-Authenticate, "
    "ETag, Link, Accept-Post, Accept-Patch, Stream-Next-Offset, Stream-Cursor, Stream-Up-To-Date, Stream-Closed"
)
# The request headers that a preflight allows, whatever it asks for. TanStack AI sends X-Run-Id, LangGraph's clients X-Api-Key.
ALLOWED_HEADERS = (
    "Accept, Authorization, Cache-Control, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, traceparent, "
    "tracestate, X-Api-Key, X-Run-Id"
)
# Headers that may occur once: where there are two, one program reads the first and another the last.
SINGLE_HEADERS = (
    "host",
    "origin",
    "authorization",
    "content-length",
    "content-type",
    "idempotency-key",
    "last-event-id",
)
# The probes of Kubernetes ask for these by address, without a host name. The answers reveal nothing.
ANY_HOST = frozenset({"/livez", "/readyz"})

_PORTS = {"http": 80, "https": 443}


class OriginRules:
    """Which hosts this server answers to, and which origins a browser's page may come from."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._hosts = frozenset(host.lower() for host in settings.allowed_hosts) | {settings.host.lower()}
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.allowed_origins)

    def is_own_host(self, host: str) -> bool:
        """Whether a Host header names this server."""
        return "*" in self._hosts or _name(host) in self._hosts

    def allows(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may send requests to this host."""
        if "*" in self._origins or self.is_listed(origin):
            return True
        try:
            parts = urlsplit(origin)
            port = parts.port
        except ValueError:
            return False
        if parts.scheme not in _PORTS or not parts.hostname or parts.path or parts.query or parts.username:
            return False
        name = _name(host)
        # Pages that a developer serves from the machine of the edge.
        if parts.hostname in LOOPBACK and name in LOOPBACK:
            return True
        # This server's own pages. Behind a proxy its scheme may be unknown, so a missing port is the origin's default.
        return parts.hostname == name and (port or _PORTS[parts.scheme]) == (_port(host) or _PORTS[parts.scheme])

    def is_listed(self, origin: str) -> bool:
        """Whether an origin is allowed by name."""
        return origin.lower() in self._origins

    def cors(self, origin: str) -> Mapping[str, str]:
        """The CORS headers of an answer to a page of this origin, beside `Vary: Origin`."""
        headers = {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED}
        # A stream's pass is a cookie: a page of another origin sends it only where that origin is listed by name.
        if self.is_listed(origin):
            headers["Access-Control-Allow-Credentials"] = "true"
        return headers


class OriginMiddleware:
    """The outermost middleware: refuses foreign hosts and origins, answers preflights, adds CORS headers."""

    def __init__(self, app: ASGIApp, settings: EdgeSettings) -> None:
        self._app = app
        self._rules = OriginRules(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        origin, host = header_of(scope, b"origin"), header_of(scope, b"host") or ""
        if len(head_of(scope)) != len(scope["headers"]) and (repeated := _repeated(scope)):
            await self._refuse(scope, receive, send, "bad_header", f"{repeated} occurs more than once")
        elif not self._rules.is_own_host(host) and scope["path"] not in ANY_HOST:
            await self._refuse(scope, receive, send, "forbidden_host")
        elif origin is not None and not self._rules.allows(origin, host):
            await self._refuse(scope, receive, send, "forbidden_origin")
        elif origin is None or scope["type"] == "websocket":
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and b"access-control-request-method" in head_of(scope):
            await self._preflight(origin, send)
        else:
            await self._app(scope, receive, self._with_cors(send, origin))

    async def _preflight(self, origin: str, send: Send) -> None:
        headers = [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-allow-methods", METHODS.encode()),
            (b"access-control-allow-headers", ALLOWED_HEADERS.encode()),
            (b"access-control-max-age", b"600"),
            (b"vary", b"Origin"),
        ]
        if self._rules.is_listed(origin):
            headers.append((b"access-control-allow-credentials", b"true"))
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _with_cors(self, send: Send, origin: str) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._rules.cors(origin))
                headers.add_vary_header("Origin")
            await send(message)

        return sending

    @staticmethod
    async def _refuse(scope: Scope, receive: Receive, send: Send, code: str, detail: str = "") -> None:
        if scope["type"] == "websocket":
            await receive()
        await to_response(Problem(code, detail))(scope, receive, send)


def _repeated(scope: Scope) -> str | None:
    seen: set[bytes] = set()
    for name, _ in scope["headers"]:
        if name in seen and name.decode("latin-1") in SINGLE_HEADERS:
            return str(name.decode("latin-1"))
        seen.add(name)
    return None


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.rsplit(":", 1)[0]
    return name.lower()


def _port(host: str) -> int | None:
    text = host.rpartition("]")[2].rpartition(":")[2] if ":" in host.rpartition("]")[2] else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
