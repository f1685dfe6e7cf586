"""Recovers readers that are behind: finds where they begin, and reads for them what is stored, in pages that they share."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NamedTuple, TypeVar

from edge import metrics
from edge.filters.evaluation import Filtering
from edge.hub.feed import UNSETTLED, Feed, Unsettled
from edge.hub.integrity import Integrity
from edge.hub.places import EventPlaces
from edge.hub.published import PublishedCursors
from edge.hub.recent import Recent
from edge.settings import SessionSettings
from edge.types import Batch
from edge.view import View
from router.beginning import Beginnings
from router.broker import Broker
from router.cursor import UNKNOWN, Cursor, Start, VectorCursor, token
from router.errors import BrokerError
from router.events_state import EventsState
from router.layout import ORIGINAL, Shard
from router.nats.stream import Ack
from router.place import Gap, Place, cursor_of, place_of
from router.position import Position, end
from router.record import Record
from router.replay import Replay, Stretch
from router.snapshots import Snapshots, StreamSnapshot, snapshot_order

log = logging.getLogger(__name__)

# Seconds: a plain request fails sooner than a stream where the event store is away.
REQUEST_TIMEOUT = 5.0

T = TypeVar("T")


class FoundSnapshot(NamedTuple):
    """What a view shows of a snapshot and a client has not had, and what a client that goes on in one cannot have any more."""

    records: list[Record]
    upto: Position
    left_out: int
    gap: Gap | None
    unsearched: int = 0

    @property
    def said(self) -> dict[str, int]:
        """What a client is told of it: its events, the older ones left out, and the subjects that may lack older keys, if any."""
        unsearched = {"unsearched": self.unsearched} if self.unsearched else {}
        return {"events": len(self.records), "left_out": self.left_out, **unsearched}


class ReaderRecovery:
    """Reads the stream's past for the readers of one process."""

    def __init__(
        self,
        broker: Broker,
        replay: Replay,
        recent: Recent,
        integrity: Integrity,
        filtering: Filtering,
        settings: SessionSettings,
        *,
        flush: Callable[[], None],
        unencodable: Callable[[Record, Exception], None],
    ) -> None:
        """`flush` hands out what this tick has received; `unencodable` is called with records that an encoder fails on."""
        self._replay = replay
        self._beginnings = Beginnings(broker, replay)
        self._snapshots = Snapshots(broker)
        self._recent = recent
        self._integrity = integrity
        self._filtering = filtering
        self._settings = settings
        self._flush = flush
        self._unencodable = unencodable
        # The cursor of an event that was just stored, as `published`, where nothing has to be asked; else None.
        self.published_now = PublishedCursors(integrity).cursor
        self.places = EventPlaces(integrity)

    # Cursors

    def check(self, sequence: int, shard: Shard = ORIGINAL) -> int:
        """The check of a place, where it is at hand, else UNKNOWN."""
        checks = self._replay.checks
        check = checks.known(sequence, shard)
        if check == UNKNOWN and self._integrity.is_steady and (record := self._recent.at(sequence, shard)) is not None:
            check = record.check
            checks.note_event(record)
        return check

    def place_at(self, position: Position, epoch: str | None = None) -> Cursor | VectorCursor:
        """The cursor of a position in this life of the streams, or in the one of a reader."""
        generation = self._integrity.generation(position.generation)
        if generation is None or epoch not in (None, self._integrity.epoch):
            return cursor_of(position, epoch or self._integrity.epoch)
        if (last := end(generation)) is not None:
            # One that has had all of some shards may say more of them than there is.
            position = position.met(last)
        for shard in generation.shards:
            self.check(position.of(shard), shard)
        own = self._replay.checks.newest_of(position, generation.shards)
        return cursor_of(position, generation.epoch, own)

    def cursor(self, position: Position, epoch: str | None = None) -> str:
        """The same as its clients have it."""
        if position.generation == 0 and self._integrity.layout.current.number == 0:
            # The short way for most: this is done for each connection.
            ours, sequence = self._integrity.epoch, position.sequences[0]
            epoch = ours if epoch is None else epoch
            return token(epoch, sequence, self.check(sequence) if epoch == ours else UNKNOWN)
        return str(self.place_at(position, epoch))

    def earliest(self) -> str:
        """The cursor before the oldest event that is kept."""
        return self.cursor(self._integrity.begin)

    async def find_cursor(self, position: Position) -> str:
        """The same; where a check is not at hand, the store is asked. Without an answer the cursor has none."""
        integrity = self._integrity
        generation = integrity.layout.generation(position.generation)
        if integrity.is_steady and generation is not None:
            try:
                await self._find_checks(position, generation.shards, integrity.state(position))
            except BrokerError as fault:
                log.debug("the check of a cursor was not found; the cursor has none", extra={"fault": str(fault)})
        return self.cursor(position)

    def place_alone(self, record: Record) -> None:
        """Gives an event that was read by itself the place of a client that has it, and of other shards all that was received."""
        if self._integrity.layout.current.number:
            position = self._integrity.position.at(record.shard, record.sequence)
            record.place(position, self.cursor(position))

    async def published(self, ack: Ack, check: int) -> str:
        """The cursor of an event that was just stored, whose bytes have this check; a repeat has that of the first."""
        integrity = self._integrity
        shard = await integrity.shard_named(ack.stream or ORIGINAL.stream, REQUEST_TIMEOUT)
        if shard is None:
            # Behind this comes the event, and maybe some before it.
            return self.cursor(integrity.position)
        position = integrity.position.at(shard, ack.sequence)
        generation = integrity.layout.generation(shard.generation)
        if ack.duplicate or generation is None:
            return await self.find_cursor(position)
        # Not noted: the check of what lies past the end that was read last tells a stream that was rolled back.
        return str(cursor_of(position, generation.epoch, (shard.index, check)))

    async def _find_checks(self, position: Position, shards: tuple[Shard, ...], state: EventsState) -> None:
        """Asks for the checks of a position's places that are not at hand, since a client is given its cursor. Raises BrokerError."""
        begin, last = state.begin_of(position.generation), state.last_of(position.generation)
        for shard in shards:
            sequence = position.of(shard)
            if begin.of(shard) < sequence <= last.of(shard) and self.check(sequence, shard) == UNKNOWN:
                await self._replay.checks.find(sequence, shard)

    # Where a reader begins

    async def place(self, start: Start, feed: Feed) -> Place:
        """Finds where a reader begins, in this life of the stream. Raises BrokerError."""
        place = await self._place(start, feed)
        if start.foreign and place.gap is None:
            # What its client has read is not known, so all before it may be missing.
            return Place(place.after, _all_before(place.after))
        return place

    async def _place(self, start: Start, feed: Feed) -> Place:
        integrity = self._integrity
        while True:
            await integrity.steady(self._settings.store_patience)
            if (known := self._place_now(start)) is not None:
                return known
            incarnation = integrity.incarnation
            place = await self._ask(lambda: self._find(start, feed.view))
            if incarnation == integrity.incarnation:
                return place

    async def back(self, start: Start, view: View, count: int) -> Position:
        """Finds a position up to `count` events before a place; that place's own where nothing older is kept. Raises BrokerError."""
        return await self._ask(lambda: self._find_back(start, view, count))

    async def _find_back(self, start: Start, view: View, count: int) -> Position:
        state = await self._integrity.events_state()
        place = await self._beginnings.place(start, view.patterns, state)
        found = await self._beginnings.back(place.after, count, state)
        await self._find_checks(found, self._shards(found, state), state)
        return found

    def place_now(self, start: Start) -> Place | None:
        """The same without waiting, for most who come back; None where the store must be asked."""
        if start.snapshot or start.foreign or not self._integrity.is_steady:
            return None
        return self._place_now(start)

    def _place_now(self, start: Start) -> Place | None:
        integrity, cursor = self._integrity, start.cursor
        if cursor is None:
            return None
        if isinstance(cursor, Cursor) and cursor.epoch == integrity.epoch:
            return self._place_in_one(cursor)
        found = place_of(cursor, integrity.state(integrity.position))
        if found.gap is not None or found.after.generation != integrity.layout.current.number:
            return None
        begin, by_epoch = integrity.begins[-1], integrity.layout.by_epoch
        for part in cursor.parts:
            shard = by_epoch.get(part.epoch)
            # Of the place before the first event nothing is kept that could be compared.
            if shard is None or (
                part.sequence > begin.of(shard) and part.check not in (UNKNOWN, self.check(part.sequence, shard))
            ):
                return None
        return found

    def _place_in_one(self, cursor: Cursor) -> Place | None:
        """The same where all new events are in one stream: this is done for each connection."""
        sequence, begin = cursor.sequence, self._integrity.begins[-1].sequences[0]
        if not begin <= sequence <= self._integrity.position.sequences[0]:
            return None
        shard = self._integrity.layout.current.shards[0]
        if sequence > begin and cursor.check not in (UNKNOWN, self.check(sequence, shard)):
            return None
        return Place(Position(shard.generation, (sequence,)), None)

    async def begin(self, start: Start, view: View) -> Place:
        """Finds where a session that is made now begins. Raises BrokerError."""
        return await self._ask(lambda: self._find(start, view), REQUEST_TIMEOUT)

    async def _find(self, start: Start, view: View) -> Place:
        state = await self._integrity.events_state()
        place = await self._beginnings.place(start, view.patterns, state)
        await self._find_checks(place.after, self._shards(place.after, state), state)
        return place

    @staticmethod
    def _shards(position: Position, state: EventsState) -> tuple[Shard, ...]:
        generation = state.layout.generation(position.generation)
        return generation.shards if generation is not None else ()

    async def snapshot(self, start: Start, view: View) -> FoundSnapshot:
        """Reads the snapshot that a reader begins with; all that it is to be shown after that comes behind `upto`.

        Raises BrokerError.
        """
        integrity = self._integrity
        while True:
            await integrity.steady(self._settings.store_patience)
            incarnation = integrity.incarnation
            found, gap = await self._ask(lambda: self._read_snapshot(start, view))
            shown = await self._filtering.select(view, found.records)
            if incarnation == integrity.incarnation:
                break
        if start.foreign and gap is None:
            gap = _all_before(found.upto)
        fresh = start.cursor is None or gap is not None
        records = shown if fresh else [record for record in shown if snapshot_order(record) > start.shown]
        return FoundSnapshot(records, found.upto, found.left_out, gap, found.unsearched)

    async def _read_snapshot(self, start: Start, view: View) -> tuple[StreamSnapshot, Gap | None]:
        state = await self._integrity.events_state()
        gap: Gap | None = None
        renewals = self._integrity.renewals
        if start.cursor is not None:
            place = await self._beginnings.place(Start(cursor=start.cursor), view.patterns, state)
            if place.gap is None:
                return await self._snapshots.at(view.patterns, place.after, renewals, state), None
            gap = place.gap
        found = await self._snapshots.newest(view.patterns, state.last, renewals, state)
        await self._find_checks(found.upto, self._shards(found.upto, state), state)
        return found, gap

    def moved(self, position: Position, epoch: str) -> Place | None:
        """Where a reader that lags goes on in this life of the streams, and what it has lost for ever; None where it stands."""
        integrity = self._integrity
        ours = epoch == integrity.epoch
        if ours and any(
            begin.generation == position.generation and position.reaches(begin) for begin in integrity.begins
        ):
            return None
        if ours and integrity.layout.generation(position.generation) is None:
            return self._deleted(position)
        cursor = self.place_at(position) if ours else cursor_of(position, epoch)
        return place_of(cursor, integrity.state(position))

    def _deleted(self, position: Position) -> Place:
        """Where a reader goes on whose generation was deleted, since all of it is beyond retention."""
        integrity = self._integrity
        generation = integrity.generation(position.generation)
        last = None if generation is None else end(generation)
        if last is None:
            return Place(integrity.begin, _all_before(integrity.begin))
        if position.reaches(last):
            return Place(integrity.begin, None)
        first = tuple(at + (at < upto) for at, upto in zip(position.sequences, last.sequences, strict=True))
        return Place(integrity.begin, Gap(Position(position.generation, first), last, reset=False))

    # What is stored

    async def last(self, patterns: tuple[str, ...], count: int) -> list[Record]:
        """Reads the newest events under some patterns, oldest first. Raises BrokerError."""
        place = await self._ask(lambda: self._beginnings.place(Start(last=count), patterns), REQUEST_TIMEOUT)
        found: list[Record] = []
        async with contextlib.aclosing(self.since(patterns, place.after)) as pages:
            async for records in pages:
                found += records
                if len(found) >= count:
                    break
        return found[-count:]

    async def since(self, patterns: tuple[str, ...], after: Position) -> AsyncGenerator[list[Record]]:
        """Reads what is stored under some patterns behind a position, page by page. Raises BrokerError."""
        more = True
        while more:
            at = after
            stretch = await self._ask(
                lambda: self._replay.stretch(patterns, at, self._integrity.position),  # noqa: B023
                REQUEST_TIMEOUT,
            )
            yield stretch.records
            after, more = stretch.upto, stretch.more

    def remembered(self, feed: Feed, position: Position) -> Stretch | None:
        """What comes next for a reader of the events received last; None where it must read from the store first.

        Where the stretch says that there is no more, the reader has had all that was received, and may go live at once.
        """
        if not self._integrity.is_steady or not (position.reaches(self._recent.since) and position.reaches(feed.since)):
            return None
        # A feed's pending records come with the next flush and must not come twice: hand them out first.
        self._flush()
        limits = self._settings
        return self._recent.after(position, limits.mailbox_events, limits.mailbox_bytes, self._integrity.live.trail)

    async def stretch(self, feed: Feed, after: Position) -> Stretch:
        """Reads the next matching records from the store. Raises BrokerError."""
        metrics.replays.inc()
        integrity = self._integrity
        # The stream is known to have come so far; without the feed's own mark a reader of a new pattern could stay
        # for ever below the place from which the pattern is received.
        known = integrity.position.joined(self._recent.since).joined(feed.since)
        renewals = integrity.renewals
        stretch = await self._ask(lambda: self._replay.stretch(feed.view.patterns, after, known))
        if stretch.records and renewals == integrity.renewals and integrity.is_steady:
            self._replay.checks.note_event(stretch.records[-1])
        return stretch

    async def page(self, feed: Feed, after: Position, stretch: Stretch) -> Batch | None:
        """What a view shows of a stretch, as one batch that all its readers share; None where that is nothing.

        Raises BrokerError where the filter cannot be evaluated.
        """
        async with feed.lock:
            key = (after, stretch.upto)
            if key not in feed.pages:
                renewals = self._integrity.renewals
                records = await self._filtering.select(feed.view, stretch.records)
                if renewals != self._integrity.renewals:
                    # All began anew meanwhile: this page is not for others.
                    return self._page_of(records)
                feed.keep(key, self._page_of(records))
            return feed.pages[key]

    def page_now(self, feed: Feed, after: Position, stretch: Stretch) -> Batch | Unsettled | None:
        """The same without waiting; UNSETTLED where the filter is over its budget."""
        key = (after, stretch.upto)
        if key not in feed.pages:
            records = self._filtering.select_now(feed.view, stretch.records)
            if records is None:
                return UNSETTLED
            feed.keep(key, self._page_of(records))
        return feed.pages[key]

    def _page_of(self, records: list[Record]) -> Batch | None:
        return Batch(records, self._integrity.epoch, True, self._unencodable) if records else None

    async def _ask(self, question: Callable[[], Awaitable[T]], timeout: float | None = None) -> T:
        return await self._integrity.ask(question, self._settings.store_patience if timeout is None else timeout)


def _all_before(position: Position) -> Gap:
    """What a client may have missed of which it is not known what it has read."""
    return Gap(Position(position.generation, (0,) * len(position.sequences)), position, reset=True)
