"""Says what carries a run's events to the server: over NATS (`router.sdk.nats`) or over HTTP (`router.sdk.http`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from router.errors import RouterError, RunSuperseded
from router.sdk.queued import Queued


class Sent(NamedTuple):
    """What became of the first events that were to be sent; those behind them were not sent, or may have been.

    `away` says why no more were; `over` that the run has another end or a newer life: the last of `refused` is what was refused for it.
    """

    stored: int = 0
    refused: int = 0
    away: str | None = None
    over: RouterError | None = None


class Host(Protocol):
    """The run, as its sender sees it."""

    def asked_to_stop(self, reason: str | None) -> None:
        """Notes a request to stop."""
        ...

    def revive(self) -> Queued:
        """Begins another incarnation, after the lease ran out and the run was ended; returns its start, which is not queued."""
        ...

    def lost(self) -> None:
        """Notes that the run was ended since its lease ran out: it revives, unless it is over by itself."""
        ...

    def adopted(self, incarnation: str) -> None:
        """Notes that the run was ended since its lease ran out, and that the server has begun another incarnation for it."""
        ...

    def superseded(self, by: RunSuperseded) -> None:
        """Notes that another process has begun the run anew."""
        ...

    def limited(self, size: int) -> None:
        """Notes how many bytes an event may have."""
        ...


class EventSender(Protocol):
    """Carries the events of one run, one call at a time."""

    @property
    def url(self) -> str:
        """Where they go, without credentials."""
        ...

    @property
    def shared(self) -> Any:
        """The connection, for the senders of other runs."""
        ...

    @property
    def incarnation(self) -> str:
        """The incarnation of the run that was begun last."""
        ...

    async def connect(self) -> None:
        """Returns once there is a connection, however long that takes."""
        ...

    async def serve(self, host: Host) -> None:
        """Connects, holds the run's lease and hears requests to stop, until cancelled."""
        ...

    async def send(self, items: Sequence[Queued], revive: Callable[[], Queued]) -> Sent:
        """Stores events in their order: the first of them, or more. Returns within seconds, whatever the server does."""
        ...

    async def check(self) -> None:
        """Asks whether the run still lives where its lease may have run out meanwhile, and tells the host."""
        ...

    async def resume(self, revive: Callable[[], Queued]) -> Sent:
        """Begins the life that goes on where this one was ended since its lease ran out: before what is left of it is sent.

        For who delivers what a process has left behind; nothing happens where the run lives, or is over by itself.
        """
        ...

    async def last_stored(self, incarnations: frozenset[str]) -> int:
        """The number of the run's last event that is stored of these incarnations; 0 where that is not known."""
        ...

    async def release(self) -> None:
        """Gives up the lease of a run that has ended, and closes what was opened for it."""
        ...
