"""Runs the edge under uvicorn: binds early, drains before it stops, and refuses to listen publicly without authentication."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

import uvicorn
from starlette.types import ASGIApp

from edge.server import accept_queues
from edge.server.arrivals import Arrivals
from edge.server.direct import DirectHandler, with_direct
from edge.server.handshake import with_refusals
from edge.server.redaction import install_log_redaction
from edge.server.timeouts import with_timeouts
from edge.settings import LOOPBACK, EdgeSettings, IdentitySettings
from edge.transports.fast.upgrade import (
    PlainHttpProtocol,
    PlainWebSocketProtocol,
    TakeoverHttpProtocol,
    TakeoverWebSocketProtocol,
)
from router.coalescing import until_multiple
from router.errors import RouterError


class Drainable(Protocol):
    """A server part that refuses new work while it is `draining`, and closes its readers one after the other."""

    draining: bool

    @property
    def settings(self) -> EdgeSettings:
        """The settings it is served with."""

    async def drain(self) -> None:
        """Closes the readers; returns once they are closed."""


Served = TypeVar("Served", bound=Drainable)


class CannotListen(RouterError):
    """the edge cannot listen there"""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the process that runs it decides when it stops."""

    def __init__(self, config: uvicorn.Config, arrivals: Arrivals | None) -> None:
        super().__init__(config)
        self._arrivals = arrivals
        self.listening = asyncio.Event()
        self._leaving = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        # uvicorn's own loop polls ten times a second for its end; this one is told, and only updates the Date header.
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until_multiple(1.0)):
                    await self._leaving.wait()

    def stop_accepting(self) -> None:
        """Closes the listening socket and idle connections; requests in progress, streams and WebSockets go on.

        Where other processes share the socket, they accept new connections. Otherwise these are refused, and clients and
        proxies retry, here or elsewhere.
        """
        for server in self.servers if self.started else ():
            server.close()
        if self._arrivals is not None:
            self._arrivals.close()
        for connection in list(self.server_state.connections):
            if isinstance(connection, PlainHttpProtocol):
                connection.shutdown()

    def leave(self) -> None:
        """Ends `serve`."""
        self.should_exit = True
        self._leaving.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(host: str, port: int, identity: IdentitySettings | None = None) -> list[socket.socket]:
    """Opens the listening sockets, all of one port. Raises CannotListen with what to do about it."""
    if host not in LOOPBACK and not (identity and identity.configured):
        raise CannotListen(
            f"will not listen on {host} without authentication; set CALLBOARD_JWT_SECRET, CALLBOARD_JWT_KEYS or "
            "CALLBOARD_JWKS_URL, or listen on 127.0.0.1"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only on sockets that say they are TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as fault:
        listener.close()
        raise CannotListen(
            f"cannot listen on {host}:{port} ({fault.strerror}); choose another port with --port or CALLBOARD_EDGE_PORT"
        ) from None
    return accept_queues.listen(listener)


def _server(app: ASGIApp, settings: EdgeSettings) -> _Server:
    http = with_timeouts(TakeoverHttpProtocol if settings.lane else PlainHttpProtocol, settings.limits)
    state = getattr(app, "state", None)
    direct: DirectHandler | None = getattr(state, "direct", None)
    if settings.lane and direct is not None:
        http = with_direct(http, direct)
    # Streams are opened at once where the application has something that opens them.
    opener = getattr(state, "opener", None)
    arrivals = Arrivals(http, opener) if settings.lane and opener is not None else None
    return _Server(_config(app, settings, http if arrivals is None else arrivals), arrivals)


def _config(app: ASGIApp, settings: EdgeSettings, http: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=http,
        ws=with_refusals(TakeoverWebSocketProtocol if settings.lane else PlainWebSocketProtocol),
        # Data compressed per connection cannot be shared. The fast path compresses by itself.
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        # Which proxies are trusted is a setting of ours.
        proxy_headers=False,
        headers=[("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")],
        server_header=False,
        ws_max_size=64 * 1024,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=3,
        backlog=accept_queues.BACKLOG,
    )


async def serve(
    starting: AbstractAsyncContextManager[tuple[ASGIApp, Served]],
    *listeners: socket.socket,
    stop: asyncio.Event,
    opened: Callable[[Served], None] | None = None,
    ready: Callable[[int], None] | None = None,
) -> None:
    """Starts an application and serves it on its sockets, all of one port, until `stop` is set, then drains.

    `opened` is called with what `starting` yields beside the application, and `ready` with the port once requests are
    accepted. Raises whatever `starting` raises: BadKey, Unreachable or Unsuitable.
    """
    async with contextlib.AsyncExitStack() as stack:
        for listener in listeners:
            stack.callback(listener.close)
        app, edge = await stack.enter_async_context(starting)
        if opened:
            opened(edge)
        install_log_redaction()
        server = _server(app, edge.settings)
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=list(listeners)))
            try:
                await server.listening.wait()
                if ready:
                    ready(listeners[0].getsockname()[1])
                await stop.wait()
                # Before the readers are closed: they reconnect within a second, and must not be refused here.
                edge.draining = True
                server.stop_accepting()
                await edge.drain()
            finally:
                edge.draining = True
                # Again, for a caller that is cancelled: uvicorn then leaves its socket open.
                server.stop_accepting()
                server.leave()
