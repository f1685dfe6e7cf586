"""Enforces the deadlines of connections that were taken over (a slow consumer that takes nothing is closed), runs their short tasks,
and shares their heartbeats.

No connection has a task or a timer of its own while all is well.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Protocol

from edge.hub.meter import Meter
from edge.settings import FastPathSettings
from edge.types import Encoder, Notice
from router.coalescing import coalesced_sleep
from router.position import Position

# How often deadlines are looked at; they are seconds long.
LOOK_SECONDS = 0.5
# The bytes of a notice are shared for 10 ms: as old as the time in it may be.
SHARED_A_SECOND = 100
# Of a crowd, each client is pinged so many times as rarely as one of a few is.
RARELY = 30


class Swept(Protocol):
    """A connection, as far as its deadlines and heartbeats go."""

    @property
    def waiting(self) -> int:
        """How many bytes wait in its socket's buffer."""

    @property
    def position(self) -> Position:
        """Up to where all has been written, or was not for it."""

    def overdue(self, before: int) -> int | None:
        """Called when its deadline is over; returns how much still waits to be written, or None where it has ended."""

    def heartbeat(self, control: str) -> Notice:
        """The notice of a heartbeat or a position, as of now."""


class Sweeper:
    """The connections of one process that were taken over."""

    def __init__(self, settings: FastPathSettings | None = None) -> None:
        self.settings = settings or FastPathSettings()
        self.meters = {name: Meter(name) for name in ("websocket", "sse")}
        self._open = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._group: asyncio.TaskGroup | None = None
        # The few that have a deadline: when, after how long, and how much was waiting to be written at the last look.
        self._deadlines: dict[Swept, tuple[float, float, int]] = {}
        # Whether there may be any.
        self._watched = asyncio.Event()
        # The notices of just now, by what they say.
        self._shared: dict[tuple[object, ...], bytes] = {}
        self._shared_at = 0

    def next_ping(self, phase: float, rarely: bool) -> float:
        """When a connection that is pinged now is due for its next ping, on the monotonic clock: the same for all of a phase.

        `phase` is from 0 to less than 1.
        """
        interval = self.settings.ping * (RARELY if rarely else 1)
        return (math.floor(time.monotonic() / interval - phase) + 1 + phase) * interval

    @property
    def with_deadline(self) -> Iterator[Swept]:
        """The connections that have a deadline."""
        return iter(tuple(self._deadlines))

    async def run(self, stopped: Callable[[], None]) -> None:
        """Looks after the connections until cancelled; then calls `stopped`, while their tasks still run."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                while True:
                    if not self._deadlines:
                        self._watched.clear()
                        await self._watched.wait()
                    await coalesced_sleep(LOOK_SECONDS)
                    self._check_deadlines()
            finally:
                self._group = None
                stopped()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Runs something short for a connection, as a child of this; not any more once this has ended."""
        if self._group is None:
            work.close()
            return None
        return self._group.create_task(work)

    def opened(self) -> None:
        """Counts a connection in."""
        self._open += 1
        self._empty.clear()

    def lost(self, connection: Swept) -> None:
        """Counts a connection out."""
        self._deadlines.pop(connection, None)
        self._open -= 1
        if self._open == 0:
            self._empty.set()

    async def emptied(self) -> None:
        """Waits until no connection is open."""
        await self._empty.wait()

    def set_deadline(self, connection: Swept, seconds: float) -> None:
        """Sets a connection's deadline: its socket drains, or closes, by then."""
        self._deadlines[connection] = (time.monotonic() + seconds, seconds, connection.waiting)
        self._watched.set()

    def lift_deadline(self, connection: Swept) -> None:
        """Lifts a connection's deadline."""
        self._deadlines.pop(connection, None)

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        for connection, (deadline, seconds, before) in list(self._deadlines.items()):
            if now >= deadline:
                del self._deadlines[connection]
                waiting = connection.overdue(before)
                if waiting is not None:
                    self._deadlines[connection] = (now + seconds, seconds, waiting)

    def ready(self, about: tuple[object, ...], make: Callable[[], bytes]) -> bytes:
        """An encoded `ready`: connections that are opened together, and differ in nothing that is said, share its bytes."""
        form = self._of_now().get(about)
        if form is None:
            form = self._shared[about] = make()
        return form

    def heartbeat(self, encoder: Encoder, control: str, position: Position, connection: Swept) -> bytes:
        """An encoded heartbeat: connections that are due together and at the same position share its bytes."""
        about = (encoder, control, position)
        form = self._of_now().get(about)
        if form is None:
            form = self._shared[about] = encoder.notice(connection.heartbeat(control))
        return form

    def _of_now(self) -> dict[tuple[object, ...], bytes]:
        """The notices that are still of now."""
        now = int(time.monotonic() * SHARED_A_SECOND)
        if now != self._shared_at:
            self._shared_at = now
            self._shared.clear()
        return self._shared
