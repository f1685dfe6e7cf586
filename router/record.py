"""One stored event, shared by all who read it: decoded once, encoded once per dialect, its check computed once."""

from __future__ import annotations

from typing import Any

from router.codec import decode
from router.cursor import FOREIGN, check_of, token
from router.errors import BadEvent, deadletter_reason
from router.event import Event
from router.layout import ORIGINAL, Shard
from router.position import Position, of_one


def age(record: Record) -> tuple[int, int, int]:
    """Orders records by age: those of one stream by their sequences, others by their times."""
    moment = record.event.time if record.shard.count > 1 and record.event is not None else 0
    return record.shard.generation, moment, record.sequence


class Record:
    """An event as EVENTS holds it: its shard and sequence, its subject, its bytes. Shared, so nobody may change it.

    `superseded` counts the events that this one stands for beside itself, where a reader asked for fewer.
    `encoded` is the place where dialects keep what they made of it, by dialect name. `fault` says why the bytes are no event,
    once `event` was asked for and is None, and `reason` is the reason of the dead letter that it becomes.
    """

    __slots__ = (
        "__weakref__",
        "_check",
        "_cursor",
        "_event",
        "_position",
        "encoded",
        "fault",
        "payload",
        "previous",
        "reason",
        "sequence",
        "shard",
        "subject",
        "superseded",
    )

    def __init__(
        self,
        sequence: int,
        subject: str,
        payload: bytes,
        previous: int = 0,
        superseded: int = 0,
        check: int | None = None,
        shard: Shard = ORIGINAL,
    ) -> None:
        """`check` is that of what is stored at the sequence, where `payload` is not the same bytes."""
        self.shard = shard
        self.sequence = sequence
        self.subject = subject
        self.payload = payload
        self.previous = previous
        self.superseded = superseded
        self.encoded: dict[str, Any] = {}
        self.fault = self.reason = ""
        self._event: Event | bool | None = None
        self._check = check
        self._cursor = ""
        self._position: Position | None = None

    @property
    def check(self) -> int:
        """CRC-32 of the stored payload (see `router.cursor`)."""
        if self._check is None:
            self._check = check_of(self.payload)
        return self._check

    @property
    def position(self) -> Position:
        """The position of one who has read everything up to and with this event."""
        if self._position is None:
            # Who hands out events of several shards says it by `place`.
            self._position = of_one(self.sequence)
        return self._position

    def decoded(self, event: Event | None) -> None:
        """Says the event that the bytes are, where that is known; before anybody else has it."""
        self._event = event

    def place(self, position: Position, cursor: str = "") -> None:
        """Says the position and the cursor, where these are about more than this event's shard; before anybody else has it."""
        self._position, self._cursor = position, cursor

    def copied(self) -> Record:
        """The same event for those who come to it from another position."""
        copy = Record(
            self.sequence, self.subject, self.payload, self.previous, self.superseded, self._check, self.shard
        )
        copy._event, copy.fault, copy.reason = self._event, self.fault, self.reason
        return copy

    def standing_for(self, superseded: int, payload: bytes | None = None) -> Record:
        """This event where it stands for others beside itself; `payload` is what they amount to, if it is not its own."""
        check = self._check if payload is None else self.check
        copy = Record(
            self.sequence, self.subject, payload or self.payload, self.previous, superseded, check, self.shard
        )
        copy._position, copy._cursor = self._position, self._cursor
        return copy

    def cursor(self, epoch: str) -> str:
        """The cursor of a client that has seen everything up to and with this event."""
        # What `encoded` holds is of one epoch, too: a stream that is recreated is read again.
        if not self._cursor:
            # Of several shards whoever hands it out says the cursor, except of one in a former stream that is not there any more.
            self._cursor = token(FOREIGN if "." in epoch else epoch, self.sequence, self.check)
        return self._cursor

    @property
    def event(self) -> Event | None:
        """The decoded event; None where the bytes are none (somebody published past the router)."""
        if self._event is None:
            try:
                self._event = decode(self.payload)
            except BadEvent as fault:
                self.fault, self.reason = str(fault), deadletter_reason(fault)
                self._event = False
        return self._event if isinstance(self._event, Event) else None

    def __repr__(self) -> str:
        return f"Record({self.sequence}, {self.subject!r})"
