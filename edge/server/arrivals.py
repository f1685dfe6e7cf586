"""Receives connections: opens streams at once whose request is whole and plain, and gives all others to uvicorn's protocol.

A connection that has sent nothing yet is one small object. One timer closes those that stay silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, cast

from edge.server.timeouts import TimedHttpProtocol
from edge.transports.fast.head import RawHeaders, StreamRequest, read_head


class Opener(Protocol):
    """Opens streams from the heads of their requests."""

    def open(self, asked: StreamRequest, transport: asyncio.Transport, common: RawHeaders) -> bool:
        """Answers a request and takes its connection; says no, and does nothing, where the application is to answer."""


class Arrivals:
    """The connections of one server that have sent nothing yet. It is what uvicorn calls for the protocol of each."""

    def __init__(self, base: type[TimedHttpProtocol], opener: Opener) -> None:
        self._base = base
        self._opener = opener
        self._seconds = base.limits.head_seconds
        self._make: Callable[[], TimedHttpProtocol] | None = None
        # Until when each has to send something, the first that has to first.
        self._waiting: dict[Arrival, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    def __call__(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> asyncio.Protocol:
        """Makes the protocol of a connection."""
        if self._make is None:
            self._loop = _loop or asyncio.get_running_loop()
            self._state = server_state
            self._make = partial(self._base, config, server_state, app_state, self._loop)
        return Arrival(self)

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, arrival: Arrival) -> None:
        """Waits for what a connection sends; not any more once this was closed: one may have been accepted just before."""
        if self._is_closed:
            arrival.close()
            return
        self._waiting[arrival] = self._loop.time() + self._seconds
        if self._timer is None and self._seconds:
            self._timer = self._loop.call_later(self._seconds, self._sweep)

    def leave(self, arrival: Arrival) -> float:
        """Waits no more for a connection; returns for how many seconds it did."""
        until = self._waiting.pop(arrival, None)
        return 0.0 if until is None else self._loop.time() - until + self._seconds

    def begin(self, data: bytes, transport: asyncio.Transport, waited: float) -> None:
        """Has somebody answer the first bytes of a connection."""
        asked = read_head(data)
        if asked is not None and self._opener.open(asked, transport, self._state.default_headers):
            return
        assert self._make is not None
        protocol = self._make()
        protocol.waited = waited
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def close(self) -> None:
        """Closes those that have sent nothing, and all that come."""
        self._is_closed = True
        for arrival in tuple(self._waiting):
            arrival.close()

    def _sweep(self) -> None:
        self._timer = None
        now = self._loop.time()
        for arrival, until in tuple(self._waiting.items()):
            if until > now:
                self._timer = self._loop.call_at(until, self._sweep)
                break
            arrival.close()


class Arrival(asyncio.Protocol):
    """One connection that has sent nothing yet."""

    __slots__ = ("_arrivals", "_transport")

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of another family than asyncio's, and do the same.
        self._transport = cast(asyncio.Transport, transport)
        self._arrivals.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrivals.leave(self)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        waited = self._arrivals.leave(self)
        transport, self._transport = self._transport, None
        if transport is not None:
            self._arrivals.begin(data, transport, waited)

    def close(self) -> None:
        """Closes the connection."""
        self._arrivals.leave(self)
        if self._transport is not None:
            self._transport.close()
