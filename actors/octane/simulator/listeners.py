"""Keeps a simulated Octane's callback streams and the one registration of each kind, as a real one does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum


class SimulatedKind(Enum):
    """What an event of the callback stream is about."""

    NEW_IMAGE = "newImage"
    RENDER_FAILURE = "renderFailure"
    NEW_STATISTICS = "newStatistics"
    PROJECT_CHANGED = "projectManagerChanged"


class StreamEnd(Enum):
    """Why the server ends a stream."""

    LOST_SLOT = "another client registered"
    BROKEN = "the stream was broken"
    UNKNOWN = "Unexpected error in RPC handling"


class Listener:
    """One open callback stream and the events that it has yet to send. A kind waits at most once, so this never grows."""

    def __init__(self, peer: str = "", time_left: float | None = None) -> None:
        self.peer = peer
        self.time_left = time_left  # seconds that its client gave it; None for no end
        self.end: StreamEnd | None = None
        self._waiting: dict[SimulatedKind, None] = {}
        self._some = asyncio.Event()

    def tell(self, kind: SimulatedKind) -> None:
        self._waiting[kind] = None
        self._some.set()

    def close(self, end: StreamEnd) -> None:
        """Ends the stream; what waits is not sent."""
        self.end = end
        self._some.set()

    async def next(self) -> SimulatedKind | None:
        """The next event; None where the stream is to end."""
        await self._some.wait()
        if self.end is not None:
            return None
        kind = next(iter(self._waiting))
        del self._waiting[kind]
        if not self._waiting:
            self._some.clear()
        return kind


@dataclass(frozen=True, slots=True)
class Registration:
    """Who gets the events of a kind: a connection, and what it wants to find in them."""

    peer: str
    user_data: int
    callback_id: int


class CallbackSlot:
    """The streams of all clients, and the single registration of each kind."""

    # The connection of a client that exists only in the SLOT fault.
    ELSEWHERE = "elsewhere"

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self.registrations: dict[SimulatedKind, Registration] = {}

    @contextmanager
    def listening(self, peer: str, time_left: float | None = None) -> Iterator[Listener]:
        """Holds one stream open."""
        listener = Listener(peer, time_left)
        self.listeners.add(listener)
        try:
            yield listener
        finally:
            self.listeners.discard(listener)

    def take(self, kind: SimulatedKind, registration: Registration) -> int:
        """Gives a kind to its newest registrant, and ends the streams of the one before."""
        before = self.registrations.get(kind)
        self.registrations[kind] = registration
        if before is not None and before.peer != registration.peer:
            self.close(StreamEnd.LOST_SLOT, before.peer)
        return list(SimulatedKind).index(kind) + 1

    def give_back(self, kind: SimulatedKind) -> None:
        """Clears a registration, whoever holds it."""
        self.registrations.pop(kind, None)

    def steal(self) -> None:
        """Lets a client elsewhere register for everything."""
        for kind in (SimulatedKind.NEW_IMAGE, SimulatedKind.NEW_STATISTICS, SimulatedKind.RENDER_FAILURE):
            self.take(kind, Registration(self.ELSEWHERE, 0, 1))

    def close(self, end: StreamEnd, peer: str | None = None) -> None:
        """Ends the streams of one client, or of all."""
        for listener in list(self.listeners):
            if peer in (None, listener.peer):
                listener.close(end)

    def tell(self, kind: SimulatedKind, *, unasked: bool = False) -> None:
        """Sends an event on the streams of its registrant; one that comes unasked goes to every stream."""
        registration = self.registrations.get(kind)
        for listener in self.listeners:
            if unasked or (registration is not None and listener.peer == registration.peer):
                listener.tell(kind)
