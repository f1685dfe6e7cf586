"""Lets clients poll on from the time of an event: `since=` with a `timestamp` that an answer had.

In answers to polls without a cursor each event's time has the event's place behind its microseconds (see
`router.cursor.marked`), so a client that sends the text back as it came goes on exactly behind that event. A client that
reads the time and prints it anew loses those digits. For it the last answers of a session are remembered: it goes on from
the first event of that printed time, so it gets some events again and misses none.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce

import msgspec

from edge.hub.hub import Hub
from edge.hub.reader import Reader
from router.codec import rfc3339
from router.cursor import Start, marked
from router.errors import BrokerError
from router.nats.bucket import Bucket
from router.position import Position, lacking
from router.record import Record

log = logging.getLogger(__name__)

KEYS = "polled"
# An hour: a client that polls comes back within seconds.
KEEP = 3600.0
# A client is behind the newest answer where one or more were lost on their way to it.
KEPT = 4
# Sessions whose last answers this process need not ask the bucket for.
MAX_SESSIONS = 4096

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES = (b'"timestamp":"', b'"time":"')


@dataclass(frozen=True)
class Again:
    """Where a client that printed a time anew goes on: it has had everything up to `had`, and maybe no more than `after`."""

    after: Position
    had: Position


# The sequences of a position, by the index of the shard; of generation 0 the one as it is.
_Sequences = int | tuple[int, ...]


class _Answer(msgspec.Struct, array_like=True, frozen=True):
    """The stretch of the streams whose events an answer had for the first time."""

    after: _Sequences
    upto: _Sequences
    generation: int = 0


class _Answers(msgspec.Struct, array_like=True):
    """The last answers to a session's polls, oldest first, in one life of the streams; `written` in seconds.

    `epoch` is that of the generation that took new events then.
    """

    epoch: str
    written: float
    answers: list[_Answer]


class PollHistory:
    """What the last answers to polls without a cursor had, for every replica."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._known: OrderedDict[str, _Answers] = OrderedDict()

    async def note(self, hub: Hub, session_id: str, epoch: str, after: Position, upto: Position) -> None:
        """Notes that an answer had the events behind one position up to another. A store that is away is passed over."""
        answers = _valid(hub, self._known.get(session_id))
        found = _Answers(epoch, time.time(), [*answers, _answer(after, upto)][-KEPT:])
        self._know(session_id, found)
        try:
            await self._bucket.put(f"{KEYS}.{session_id}", msgspec.json.encode(found), KEEP)
        except BrokerError as fault:
            log.debug("an answer to a poll was not noted", extra={"fault": str(fault)})

    async def find(self, hub: Hub, session_id: str, reader: Reader, start: Start) -> Again | None:
        """Finds the event whose time a client printed anew; None where the last answers had none of that time.

        Raises BrokerError.
        """
        assert start.since is not None
        wanted = (start.since - _EPOCH) // timedelta(microseconds=1)
        found = [
            record
            for answer in await self._answers(hub, session_id)
            for record in await self._records(hub, reader, answer)
            if record.event is not None and abs(record.event.time // 1000 - wanted) <= start.exactness
        ]
        # Several events may say that time, and which one the client means is not known: it had maybe none but the first.
        if not found:
            return None
        generation = found[-1].shard.generation
        found = [record for record in found if record.shard.generation == generation]
        had = reduce(Position.joined, [record.position for record in found])
        return Again(
            reduce(Position.met, [lacking(record.shard, record.sequence - 1) for record in found]).met(had), had
        )

    async def _answers(self, hub: Hub, session_id: str) -> list[_Answer]:
        kept = self._known.get(session_id)
        entry = await self._bucket.get(f"{KEYS}.{session_id}")
        if entry is not None and entry.value is not None:
            stored = msgspec.json.decode(entry.value, type=_Answers)
            if kept is None or stored.written > kept.written:
                kept = stored
                self._know(session_id, stored)
        return _valid(hub, kept)

    def _know(self, session_id: str, found: _Answers) -> None:
        self._known[session_id] = found
        self._known.move_to_end(session_id)
        if len(self._known) > MAX_SESSIONS:
            self._known.popitem(last=False)

    @staticmethod
    async def _records(hub: Hub, reader: Reader, answer: _Answer) -> list[Record]:
        """The events that an answer had, read again."""
        records: list[Record] = []
        after, upto = _position(answer.after, answer), _position(answer.upto, answer)
        while after.behind(upto):
            stretch = await hub.recovery.stretch(reader.feed, after)
            records += [
                record
                for record in await hub.filtering.select(reader.feed.view, stretch.records)
                if upto.covers(record)
            ]
            if not stretch.more or after.reaches(stretch.upto):
                break
            after = stretch.upto
        return records


def _valid(hub: Hub, kept: _Answers | None) -> list[_Answer]:
    """The answers that are of streams which are still there, also where a reshard has sealed these."""
    if kept is None or all(kept.epoch != generation.epoch for generation in hub.integrity.layout.generations):
        return []
    return kept.answers


def _answer(after: Position, upto: Position) -> _Answer:
    after = after if after.generation == upto.generation else Position(upto.generation, (0,) * len(upto.sequences))
    if not upto.generation:
        return _Answer(after.sequences[0], upto.sequences[0])
    return _Answer(after.sequences, upto.sequences, upto.generation)


def _position(sequences: _Sequences, answer: _Answer) -> Position:
    return Position(answer.generation, (sequences,) if isinstance(sequences, int) else sequences)


def place_of_time(record: Record, epoch: str) -> tuple[str, int]:
    """The place that is printed into an event's time: the epoch of its shard, and its sequence there."""
    return record.shard.epoch or epoch, record.sequence


def with_places(made: bytes, record: Record, epoch: str) -> bytes:
    """An event in a dialect's form, with its place printed into its time."""
    event = record.event
    assert event is not None
    moment = rfc3339(event.time)
    for name in _NAMES:
        # Quotes inside of texts are escaped, so this is the field and no part of a value; it comes before the data.
        plain = name + moment.encode() + b'"'
        if (at := made.find(plain)) >= 0:
            return b'%b%b%b"%b' % (
                made[:at],
                name,
                marked(moment, *place_of_time(record, epoch)).encode(),
                made[at + len(plain) :],
            )
    return made
