"""Receives connections: opens streams at once whose request is whole and plain, and gives all others to uvicorn's protocol.

A connection that has sent nothing yet is one small object. One timer closes those that stay silent. Where thousands come back
together, a few are opened in each turn of the loop, in the order in which they asked: so nobody waits much longer than the others,
and those that are connected already go on being served.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from typing import Any, Protocol, cast

from edge.server.timeouts import TimedHttpProtocol
from edge.transports.fast.head import RawHeaders, StreamRequest, read_head

# 32 take two to three milliseconds.
OPENED_IN_A_TURN = 32
# Silent connections are closed so much late at most, however many there are.
SWEEP_SECONDS = 0.25


class Opener(Protocol):
    """Opens streams from the heads of their requests."""

    def open(self, asked: StreamRequest, transport: asyncio.Transport, common: RawHeaders) -> bool:
        """Answers a request and takes its connection; says no, and does nothing, where the application is to answer."""


class Arrivals:
    """The connections of one server that have not been answered yet. It is what uvicorn calls for the protocol of each."""

    def __init__(self, base: type[TimedHttpProtocol], opener: Opener) -> None:
        self._base = base
        self._opener = opener
        self._seconds = base.limits.head_seconds
        self._make: Callable[[], TimedHttpProtocol] | None = None
        # Until when each has to send something, the first that has to first.
        self._waiting: dict[Arrival, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        # How many were opened in this turn of the loop, and those that have their turn later.
        self._opened = 0
        self._queue: deque[tuple[Arrival, StreamRequest]] = deque()

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

    def begin(self, arrival: Arrival, data: bytes) -> None:
        """Has somebody answer the first bytes of a connection: at once, or where many come, in a later turn."""
        asked = read_head(data)
        if asked is None:
            self._give_over(arrival)
            return
        if not self._opened and not self._queue:
            self._loop.call_soon(self._next_turn)
        if self._queue or self._opened >= OPENED_IN_A_TURN:
            self._queue.append((arrival, asked))
        else:
            self._open(arrival, asked)

    def close(self) -> None:
        """Closes those that have sent nothing, and all that come."""
        self._is_closed = True
        for arrival in tuple(self._waiting):
            arrival.close()

    def _open(self, arrival: Arrival, asked: StreamRequest) -> None:
        self._opened += 1
        transport = arrival.transport
        if transport is None:
            return
        # Of one that has sent more meanwhile the application takes both.
        if arrival.has_one_packet and self._opener.open(asked, transport, self._state.default_headers):
            arrival.transport = None
        else:
            self._give_over(arrival)

    def _give_over(self, arrival: Arrival) -> None:
        """Gives a connection to uvicorn's protocol, with all that it has sent."""
        transport, arrival.transport = arrival.transport, None
        if transport is None:
            return
        assert self._make is not None
        protocol = self._make()
        protocol.waited = arrival.waited
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if not arrival.has_one_packet:
            transport.resume_reading()
        protocol.data_received(b"".join(arrival.received))

    def _next_turn(self) -> None:
        self._opened = 0
        for _ in range(min(OPENED_IN_A_TURN, len(self._queue))):
            self._open(*self._queue.popleft())
        if self._queue:
            self._loop.call_soon(self._next_turn)
        else:
            self._opened = 0

    def _sweep(self) -> None:
        now = self._loop.time()
        for arrival in list(takewhile(lambda each: self._waiting[each] <= now, self._waiting)):
            arrival.close()
        until = next(iter(self._waiting.values()), None)
        self._timer = None if until is None else self._loop.call_at(max(until, now + SWEEP_SECONDS), self._sweep)


class Arrival(asyncio.Protocol):
    """One connection that has not been answered yet. Its transport is None once somebody else has it, or it is gone."""

    __slots__ = ("_arrivals", "received", "transport", "waited")

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self.transport: asyncio.Transport | None = None
        self.received: tuple[bytes, ...] = ()
        # For how many seconds it had sent nothing.
        self.waited = 0.0

    @property
    def has_one_packet(self) -> bool:
        """Whether no more than one packet has come."""
        return len(self.received) == 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of another family than asyncio's, and do the same.
        self.transport = cast(asyncio.Transport, transport)
        self._arrivals.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrivals.leave(self)
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self.received += (data,)
        if self.has_one_packet:
            self.waited = self._arrivals.leave(self)
            self._arrivals.begin(self, data)
        elif self.transport is not None:
            # It has to wait for its turn, and nothing it sends meanwhile may fill our memory.
            self.transport.pause_reading()

    def close(self) -> None:
        """Closes the connection."""
        self._arrivals.leave(self)
        if self.transport is not None:
            self.transport.close()
