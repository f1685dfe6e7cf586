"""The types that the parts of the edge hand to one another."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from socket import socket as Socket
from typing import Any, Protocol

from edge.dialects.dialect import Dialect
from edge.dialects.folding import Folding
from edge.disconnect import Disconnect
from edge.stats import Stats
from edge.view import View
from router.position import Position
from router.record import Record


class State(Enum):
    """What a reader is at."""

    CONNECTING = "connecting"
    REPLAYING = "replaying"
    LIVE = "live"
    LAGGING = "lagging"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the server says about the connection itself: ready, gap, position, heartbeat or bye."""

    control: str
    body: dict[str, Any]


class Encoder(Protocol):
    """One form in which events are written, named by dialect and framing.

    That of a shared dialect is one for all readers. That of a folding one belongs to a reader, or to a write group of readers that
    agree, and must be handed their batches in order.
    """

    @property
    def name(self) -> str:
        """Its dialect and framing."""

    @property
    def opening(self) -> bytes:
        """What is written before everything."""

    @property
    def dialect(self) -> Dialect:
        """Whose conversation it encodes."""

    @property
    def over(self) -> bool:
        """Whether the conversation ends behind what was encoded last."""

    def shares(self, position: Position) -> bool:
        """Whether a reader that is at this position can be written the same bytes as others."""

    def agrees(self, other: Encoder) -> bool:
        """Whether both make the same of all that comes."""

    def fork(self) -> Encoder:
        """One for a write group that goes on from here."""

    def read_along(self, other: Encoder, leave: Callable[[], None]) -> None:
        """Its reader is in a write group with this encoder; `leave` is called where its own must be true again."""

    def follow(self, other: Encoder) -> None:
        """Goes to where the encoder of a write group is, which its reader leaves."""

    def encode(self, batch: Batch) -> Any:
        """The batch in this form; made at the first call."""

    def notice(self, notice: Notice) -> Any:
        """A notice in this form."""


class Batch:
    """What one tick, or one page of replay, has for a view. Shared by its readers, so each encoder's form is made once."""

    __slots__ = ("encoded", "epoch", "records", "replayed", "size", "unencodable")

    def __init__(
        self,
        records: list[Record],
        epoch: str,
        replayed: bool = False,
        unencodable: Callable[[Record, Exception], None] = lambda _record, _fault: None,
    ) -> None:
        """`replayed` says that the events are older than their readers: how late they come says nothing of us.

        `unencodable` is called with each record that an encoder fails on, and the failure.
        """
        self.records = records
        self.replayed = replayed
        self.unencodable = unencodable
        self.epoch = epoch
        # Most are one event, for which a sum takes longer than all else here.
        self.size = len(records[0].payload) if len(records) == 1 else sum([len(record.payload) for record in records])
        # What encoders have made of it, by their names.
        self.encoded: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.records)

    @property
    def last(self) -> Position:
        """The position of one who has had it."""
        return self.records[-1].position

    def of(self, records: list[Record]) -> Batch:
        """Another one of some of its records, or of copies of them."""
        return Batch(records, self.epoch, self.replayed, self.unencodable)

    def age(self) -> float:
        """Seconds since the newest event was published; never negative, whatever the clocks of producers say."""
        event = self.records[-1].event
        return max(0.0, time.time() - event.time / 1e9) if event else 0.0


class Authorized(Protocol):
    """What an authorization needs of the reader that it is attached to."""

    def change(self, view: View) -> None:
        """Takes another view."""

    def close(self, reason: Disconnect) -> None:
        """Ends with a `bye`."""

    def notify(self, control: str, body: dict[str, Any]) -> bool:
        """Sends the client a notice; says whether it could."""


class Authorization(Protocol):
    """By whose right a connection reads: it changes the reader's view, or ends it, when that right does."""

    def attach(self, reader: Authorized) -> None:
        """The reader has begun; from now on its view follows the authorization."""

    def leave(self) -> None:
        """The reader has ended. Harmless the second time."""

    def refresh(self, token: object) -> dict[str, Any]:
        """Takes a new token over the connection itself; returns what to answer."""


# Takes a message of a client and its reader, and returns the messages that answer it.
Hear = Callable[[str | bytes, Authorized], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What a connection reads: a session's events under a view, in a dialect, and by whose right where there is authentication."""

    session_id: str
    view: View
    dialect: Dialect
    authorization: Authorization | None = None
    # The state of this connection's conversation, where its dialect has one.
    folding: Folding | None = None
    # Answers what the client says over a WebSocket; without it, that are our own controls.
    hear: Hear | None = None
    # Makes the encoder of its server-sent events, in chunked coding or not, where the dialect alone does not say it.
    encoder: Callable[[bool], Encoder] | None = None


class HeartbeatGroup(Protocol):
    """Readers that have had the same events, and are written the same heartbeats."""

    # Up to where all of them have had everything.
    position: Position

    @property
    def reported(self) -> Position:
        """The position whose cursor all were sent with the last events."""


class Subscriber(Protocol):
    """One reader, as the hub knows it. None of its methods waits."""

    # In which life of the stream it stands.
    epoch: str
    # In which slice of the heartbeats of its process it is; -1: in none.
    beats: int
    # And where in a share of that, with which its heartbeats are written; -1: it sends them by itself.
    share_place: int

    @property
    def session_id(self) -> str:
        """The session that it reads."""

    @property
    def transport_name(self) -> str:
        """What metrics call its transport."""

    @property
    def authorization(self) -> Authorization | None:
        """By whose right it reads, where there is authentication."""

    @property
    def view(self) -> View:
        """The view under which it is served just now."""

    @property
    def state(self) -> State:
        """What it is at."""

    @property
    def started(self) -> float:
        """When it connected, on the monotonic clock."""

    @property
    def position(self) -> Position:
        """Up to where all has been written, or was not for it."""

    @property
    def queued(self) -> tuple[int, int]:
        """How many events wait in its mailbox, and their bytes."""

    @property
    def rotates(self) -> float:
        """When it is asked to come back elsewhere, on the monotonic clock."""

    @property
    def group(self) -> HeartbeatGroup | None:
        """The write group that it is in; None while it is handed batches by itself."""

    def offer(self, batch: Batch) -> None:
        """Takes a batch, or falls back to reading from the store."""

    def lag(self) -> None:
        """Leaves the live feed, and reads from the store what it has not written."""

    def slow(self) -> None:
        """Leaves the live feed because its filter is over its budget; `resume_slowed` must follow."""

    def resume_slowed(self, tell: bool) -> None:
        """Goes on where it was slowed; the client may get a notice."""

    def rewind(self, position: Position) -> None:
        """Sends the client back to a place that it was led past too soon."""

    def change(self, view: View) -> None:
        """Takes another view from here on."""

    def beat(self) -> None:
        """Writes a heartbeat, or makes one due, or asks to come back elsewhere; all that was received has been handed out."""

    def close(self, reason: Disconnect) -> None:
        """Ends with a `bye`."""


class DirectWriter(Subscriber, Protocol):
    """A subscriber that has taken over its socket: bytes that are shared with others are written to it at once."""

    # The position whose cursor its client was told last by itself; of one in a share of heartbeats the share knows it.
    told: Position
    # When its next heartbeat is more than one: it is due for a ping, or for its rotation. On the monotonic clock.
    differs_at: float

    @property
    def stats(self) -> Stats:
        """What is counted of its session."""

    @property
    def reported(self) -> Position:
        """The position whose cursor its client was sent last."""

    @property
    def socket(self) -> Socket | None:
        """Where it is written to; None where the connection is gone."""

    @property
    def descriptor(self) -> int:
        """That of its socket; negative where the connection is gone."""

    def encoded_heartbeat(self, control: str, position: Position) -> bytes:
        """A heartbeat or a position, as it and all others of its write group get it."""

    def remainder(self, form: bytes, sent: int) -> None:
        """Writes what its socket has not taken of some bytes."""

    def leave_group(self) -> None:
        """Leaves its write group, and is handed batches by itself."""
