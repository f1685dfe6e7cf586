"""Folds the events of one reader into the parts of a dialect with state, in silence up to where its client has been.

A step is pure, so readers that are at the same state when an event comes share what it becomes, and its bytes: of the readers of
one run all but the first find the step made. Live ones that agree on all that comes share even the fold, and are one write group.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge.dialects.dialect import Body, DialectPart, FoldedDialect
from router.position import Position
from router.record import Record

# Says of each event, in order, whether the stream ends behind it; None where the event is of another life and is passed over.
# One with state can be copied, and is equal to those that say the same of all that comes.
Ending = Callable[[Record], bool | None]


# States at which the steps of one record are kept: readers of one run have the same, those that chose channels have not.
MAX_SHARED = 8


# Cursors of several shards have dots of their own.
_PART_ID = re.compile(r"(?:(2-.+)_|(?!2-)(.+)\.)([1-9]\d{0,3})\Z")


def part_id(cursor: str, count: int) -> str:
    """The id of a client that has so many parts of an event, and not yet all; the cursor is behind the event."""
    return f"{cursor}_{count}" if cursor.startswith("2-") else f"{cursor}.{count}"


def read_part_id(said: str) -> tuple[str, int]:
    """The cursor of an event, and how many of its parts a client has; 0 where it has all."""
    found = _PART_ID.match(said)
    return (found[1] or found[2], int(found[3])) if found else (said, 0)


class Taken:
    """What an event became at one state. `forms` is the place where encoders keep what they made of it, by name."""

    __slots__ = ("forms", "had", "parts", "state")

    def __init__(self, state: Any, parts: Sequence[DialectPart], had: int = 0) -> None:
        self.state = state
        self.parts = parts
        # How many parts before these its client has.
        self.had = had
        self.forms: dict[str, bytes] = {}


def endless(_record: Record) -> bool | None:
    """Says of no event that the stream ends behind it."""
    return False


class Folding:
    """The state of one reader's conversation. It is moved only by what is written, so it is always at the reader's position."""

    __slots__ = ("_after", "_ending", "_had", "_leave", "_state", "dialect", "over")

    def __init__(
        self,
        dialect: FoldedDialect,
        parameters: Mapping[str, str],
        after: Position | None = None,
        ending: Ending = endless,
        had: int = 0,
    ) -> None:
        """Up to the position `after` the client has everything, of its last event the first `had` parts where these are not all: so
        far all is folded in silence."""
        self.dialect = dialect
        # Whether the event behind which the stream ends was taken; what comes after it says nothing.
        self.over = False
        self._after = after
        self._had = had
        self._ending = ending
        self._state = dialect.begin(parameters)
        # Ends that its reader is written what another fold makes, and that one is followed.
        self._leave: Callable[[], None] | None = None

    def take(self, record: Record, epoch: str) -> Taken | None:
        """What the next event became; None where the client is sent nothing of it.

        Where the dialect fails on it, the fold is as it was before.
        """
        if self.over or (ends := self._ending(record)) is None:
            return None
        try:
            taken = self._step(record, epoch)
        finally:
            # Also behind an end that the dialect fails on.
            self.over = ends
        self._state = taken.state
        if self._after is not None and self._after.covers(record):
            # Of no earlier generation: there `of` is beyond every sequence.
            if not self._had or self._after.of(record.shard) != record.sequence:
                return None
            taken = Taken(taken.state, taken.parts[self._had :], self._had)
        return taken if taken.parts else None

    def _step(self, record: Record, epoch: str) -> Taken:
        shared = record.encoded.get(self.dialect.name)
        if shared is None:
            shared = record.encoded[self.dialect.name] = {}
        taken: Taken | None = shared.get(self._state)
        if taken is None:
            taken = Taken(*self.dialect.step(self._state, record, epoch))
            if len(shared) < MAX_SHARED:
                shared[self._state] = taken
        return taken

    def shares(self, position: Position) -> bool:
        """Whether others can read along with a reader at this position: it is past its silence, and not at its end."""
        return not self.over and (self._after is None or position.reaches(self._after))

    def agrees(self, other: Folding) -> bool:
        """Whether both make the same of all that comes, once neither is silent."""
        return (
            self.dialect.name == other.dialect.name
            and self.over == other.over
            and bool(self._state == other._state)
            and self._ending == other._ending
        )

    def fork(self) -> Folding:
        """A fold of its own that goes on from here."""
        forked = copy.copy(self)
        forked.follow(self)
        return forked

    def read_along(self, other: Folding, leave: Callable[[], None]) -> None:
        """From here on another one that agrees is moved in its place, until `leave` is called, which must have it `follow`."""
        # The state of many is one object.
        self._state, self._leave = other._state, leave

    def follow(self, other: Folding) -> None:
        """Goes to where another one is, which its reader has read along with."""
        self._state, self.over, self._ending = other._state, other.over, copy.copy(other._ending)
        self._leave = None

    def tell(self, change: Callable[[Any], Any]) -> None:
        """Changes the state by what the client has said."""
        self._state = change(self.state)

    @property
    def state(self) -> Any:
        """The state as it is now; who asks may change it, and no other reader's."""
        if self._leave is not None:
            self._leave()
        return self._state

    def notices(self, control: str, body: Body) -> Sequence[DialectPart]:
        """What a notice is on SSE."""
        return self.dialect.notices(self._state, control, body)

    def messages(self, control: str, body: Body) -> Sequence[bytes]:
        """What a notice is on a WebSocket."""
        return self.dialect.messages(self._state, control, body)
