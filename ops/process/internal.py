"""Serves the internal port of a process: liveness, readiness, metrics and log levels.

It is a port of its own, for Docker, Kubernetes and Prometheus and not for the public. The HTTP is written by hand, so that an
actor, which loads no web framework, has it too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from urllib.parse import parse_qsl

from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from ops.process.datadir import CannotStart
from ops.process.http import send
from ops.sections import InternalSettings
from router.codec import to_json
from router.log_levels import BadLevel, levels, set_level
from router.version import VERSION

log = logging.getLogger(__name__)

Checks = Callable[[], Mapping[str, bool]]
"""The checks of readiness by name."""
Expose = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Takes the Accept header of a scraper, and returns the metrics with their content type."""
Level = Callable[[str, str], Awaitable[None]]
"""Sets the level of a logger. Raises BadLevel."""

# 5 s for a request, 8 kB for its head: clients are probes and scrapers beside us.
REQUEST_TIMEOUT = 5.0
HEAD_BYTES = 8 * 1024
# 32 at once: a scraper and the probes of one process. One more connection is closed.
MAX_CONNECTIONS = 32

_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Internal:
    """The internal HTTP server of one process; `checks` decides readiness, `details` are shown beside it."""

    def __init__(self, settings: InternalSettings, listener: socket.socket | None = None) -> None:
        """Answers on a socket that is open already where one is given."""
        self.settings = settings
        self.checks: Checks = lambda: {"started": False}
        self.details: Callable[[], Mapping[str, object]] = dict
        self.metrics: Expose = _own
        self.level: Level = _set
        self._listener = listener
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def wanted(self) -> bool:
        """Whether there is a port for it."""
        return self.settings.port is not None or self._listener is not None

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Internal]:
        """Answers while the block runs. Raises CannotStart where the port cannot be had."""
        if not self.wanted:
            yield self
            return
        host, port = self.settings.host, self.settings.port
        try:
            if self._listener is not None:
                server = await asyncio.start_server(self._connected, sock=self._listener, limit=HEAD_BYTES)
            else:
                server = await asyncio.start_server(self._connected, host, port, limit=HEAD_BYTES)
        except OSError as fault:
            raise CannotStart(
                f"cannot listen on {host}:{port} ({fault.strerror}); choose another CALLBOARD_INTERNAL_PORT"
            ) from None
        try:
            yield self
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            if len(self._connections) <= MAX_CONNECTIONS:
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    head = await reader.readuntil(b"\r\n\r\n")
                    send(writer, await self._answer(head.decode("latin-1")))
                    await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # a broken or slow request gets no answer
        except asyncio.CancelledError:
            pass  # at the end of serving: asyncio logs an error for a handler that is cancelled
        finally:
            self._connections.discard(connection)
            writer.close()

    async def _answer(self, head: str) -> bytes:
        request, *lines = head.split("\r\n")
        method, _, rest = request.partition(" ")
        path, _, query = rest.split(" ")[0].partition("?")
        status, body, kind = 200, b"", "application/json"
        if path == "/logs" and method == "PUT":
            asked = dict(parse_qsl(query))
            try:
                await self.level(asked.get("logger", ""), asked.get("level", ""))
                body = to_json({"levels": levels()})
            except BadLevel as fault:
                status, kind = 400, "application/problem+json"
                body = to_json(
                    {"title": "The level is not set", "status": 400, "code": "bad_level", "detail": str(fault)}
                )
        elif method not in ("GET", "HEAD"):
            status = 405
        elif path == "/livez":
            # An answer proves that the event loop runs. A restart would not mend a broker that is away.
            body = to_json({"status": "ok", "version": VERSION})
        elif path == "/readyz":
            checks = dict(self.checks())
            well = all(checks.values())
            status = 200 if well else 503
            body = to_json({"status": "ok" if well else "unavailable", "checks": checks, **self.details()})
        elif path == "/metrics":
            accepted = next((line.split(":", 1)[1] for line in lines if line.lower().startswith("accept:")), "")
            body, kind = await self.metrics(accepted.strip())
        elif path == "/logs":
            body = to_json({"levels": levels()})
        else:
            status = 404
        shown = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        return shown.encode() + (b"" if method == "HEAD" else body)


async def _own(accept: str) -> tuple[bytes, str]:
    encode, kind = choose_encoder(accept)
    # Thousands of series take longer than an event may wait.
    return await asyncio.to_thread(encode, REGISTRY), kind


async def _set(logger: str, level: str) -> None:
    set_level(logger, level)
    log.warning("log level changed", extra={"of": logger, "to": level})
