"""Reads the newest event of each subject and key whose type is of class `latest`: what a late joiner needs to know what is the case."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import NamedTuple

from router.broker import Broker
from router.catalogue import Delivery, find
from router.events_state import EventsState
from router.keyed_past import KeyedPast, ReadBudget, is_keyed, is_named_by_key
from router.layout import Generation
from router.position import Position
from router.record import Record, age
from router.trail import Trail

# A snapshot that is a second old serves a crowd that comes at once: what came since then follows it as it does any other.
REUSED_SECONDS = 1.0
# Who reads one in pages, or goes on in one, finds it here for some time. 8 of 16 MiB at most.
CACHED_SNAPSHOTS = 8
# What a snapshot may have, and how many subjects are looked at for it; the newest of its events are kept.
MAX_EVENTS = 10_000
MAX_BYTES = 16 * 1024 * 1024
MAX_SUBJECTS = 100_000


class StreamSnapshot(NamedTuple):
    """The newest event of each subject, and of each key where its type has some, as of the position `upto`, in `snapshot_order`.

    `left_out` counts the older ones that are not in it because there were more than a snapshot may have, `unsearched` the
    subjects of which older keys may be missing because their past is longer than what is read for a snapshot.
    """

    records: list[Record]
    upto: Position
    left_out: int = 0
    unsearched: int = 0


class Snapshots:
    """Reads snapshots of EVENTS for many readers at once."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._past = KeyedPast(broker)
        # When each was the newest, by patterns, life and position; the one read last at the end.
        self._known: OrderedDict[tuple[tuple[str, ...], int, Position], tuple[float, StreamSnapshot]] = OrderedDict()
        # One is read at a time.
        self._reading = asyncio.Lock()

    async def newest(self, patterns: tuple[str, ...], upto: Position, life: int, state: EventsState) -> StreamSnapshot:
        """A snapshot as of a position, or one up to a second older of the same `life` of the streams.

        Raises BrokerError.
        """
        async with self._reading:
            for key, (read, found) in reversed(self._known.items()):
                if key[:2] == (patterns, life) and time.monotonic() - read <= REUSED_SECONDS:
                    return found
            return await self._read(patterns, upto, life, state, time.monotonic())

    async def at(self, patterns: tuple[str, ...], upto: Position, life: int, state: EventsState) -> StreamSnapshot:
        """The snapshot as of a position. Raises BrokerError."""
        async with self._reading:
            return await self._read(patterns, upto, life, state)

    async def _read(
        self, patterns: tuple[str, ...], upto: Position, life: int, state: EventsState, read: float = -math.inf
    ) -> StreamSnapshot:
        key = patterns, life, upto
        found = self._known[key][1] if key in self._known else await self._read_stored(patterns, upto, life, state)
        self._known[key] = max(read, self._known.get(key, (read,))[0]), found
        self._known.move_to_end(key)
        if len(self._known) > CACHED_SNAPSHOTS:
            self._known.popitem(last=False)
        return found

    async def _read_stored(
        self, patterns: tuple[str, ...], upto: Position, life: int, state: EventsState
    ) -> StreamSnapshot:
        newest: dict[str, Record] = {}
        left_out = size = 0
        async for page in self._pages(patterns, upto, state):
            for record in page:
                if record.subject not in newest and _is_of_latest(record):
                    newest[record.subject] = record
                    size += len(record.payload)
            if len(newest) > 2 * MAX_EVENTS or size > 2 * MAX_BYTES:
                kept, dropped = _bounded(newest.values())
                newest = {record.subject: record for record in kept}
                left_out += dropped
                size = sum(len(record.payload) for record in newest.values())
            # Decoding a page takes some milliseconds.
            await asyncio.sleep(0)
        records, unsearched = await self._with_keys(list(newest.values()), upto, life, state)
        records, dropped = _bounded(records)
        return StreamSnapshot(list(_placed(records, upto, state)), upto, left_out + dropped, unsearched)

    async def _pages(
        self, patterns: tuple[str, ...], upto: Position, state: EventsState
    ) -> AsyncIterator[list[Record]]:
        """The newest of every subject as of a position; of one that is in several generations the newest of each, newest first."""
        for generation in reversed(state.layout.generations):
            for shard in generation.shards_of(patterns):
                last = min(upto.of(shard), state.last_of(generation.number).of(shard))
                # Not of one that begins behind the position, or holds nothing.
                if last:
                    async for page in self._broker.shard(shard).latest_pages(patterns, last, MAX_SUBJECTS):
                        yield page

    async def _with_keys(
        self, records: list[Record], upto: Position, life: int, state: EventsState
    ) -> tuple[list[Record], int]:
        """The records, and those of the other keys of their subjects; and of how many subjects some may be missing."""
        found = list(records)
        unsearched, budget = 0, ReadBudget()
        keyed = [(record, record.event) for record in records if record.event is not None and is_keyed(record.event)]
        # Where several keys are to be expected first, and of these the newest.
        for record, _ in sorted(keyed, key=lambda each: (is_named_by_key(each[1]), -each[0].sequence)):
            others, whole = await self._past.newest(record, upto, state, life, budget)
            found += [each for each in others if snapshot_order(each) < snapshot_order(record)]
            unsearched += not whole
        return found, unsearched


def _is_of_latest(record: Record) -> bool:
    """Whether its type is of class `latest`, even where the event itself ends a run and may not be superseded."""
    # One that cannot be decoded is told of where all events are read.
    event = record.event
    return event is not None and find(event.type, event.subject.domain).delivery is Delivery.LATEST


def snapshot_order(record: Record) -> tuple[int, int, int]:
    """The order in which a snapshot is shown, so that a client may go on in one: by generation, shard and sequence."""
    return record.shard.generation, record.shard.index, record.sequence


def _placed(records: list[Record], upto: Position, state: EventsState) -> Iterator[Record]:
    """Records in `snapshot_order`, with the places of a client that was shown them up to there: who goes on at one misses nothing."""
    if state.layout.current.number == 0:
        # In one stream each says its own.
        yield from records
        return
    for generation in state.layout.generations:
        shown = [record for record in records if record.shard.generation == generation.number]
        if shown:
            trail = Trail(_before(shown, generation, upto, state), state.layout)
            for record in shown:
                # Others come to it from elsewhere.
                placed = record.copied()
                trail.add(placed)
                yield placed


def _before(shown: list[Record], generation: Generation, upto: Position, state: EventsState) -> Position:
    """The position in a generation behind which lies nothing up to `upto` but what is shown, and what that supersedes."""
    last = state.last_of(generation.number)
    first = {record.shard.index: record.sequence for record in reversed(shown)}
    return Position(
        generation.number,
        tuple(
            first[shard.index] - 1 if shard.index in first else min(upto.of(shard), last.of(shard))
            for shard in generation.shards
        ),
    )


def _bounded(newest: Iterable[Record]) -> tuple[list[Record], int]:
    """The newest of some records that a snapshot may have, in the order in which they are shown, and how many were left out."""
    ordered = sorted(newest, key=age)
    first, size = len(ordered), 0
    while first and len(ordered) - first < MAX_EVENTS:
        size += len(ordered[first - 1].payload)
        if size > MAX_BYTES and first < len(ordered):
            break
        first -= 1
    return sorted(ordered[first:], key=snapshot_order), first
