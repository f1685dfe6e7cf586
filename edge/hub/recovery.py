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
from edge.hub.recent import Recent
from edge.settings import SessionSettings
from edge.types import Batch
from edge.view import View
from router.broker import Broker, StreamState
from router.cursor import UNKNOWN, Cursor, Start, token
from router.errors import BrokerError
from router.record import Record
from router.replay import Gap, Place, Replay, Stretch, place_of
from router.snapshots import Snapshots, StreamSnapshot

log = logging.getLogger(__name__)

# Seconds: a plain request fails sooner than a stream where the event store is away.
REQUEST_TIMEOUT = 5.0

T = TypeVar("T")


class FoundSnapshot(NamedTuple):
    """What a view shows of a snapshot and a client has not had, and what a client that goes on in one cannot have any more."""

    records: list[Record]
    upto: int
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
        self._broker = broker
        self._replay = replay
        self._snapshots = Snapshots(broker)
        self._recent = recent
        self._integrity = integrity
        self._filtering = filtering
        self._settings = settings
        self._flush = flush
        self._unencodable = unencodable

    # Cursors

    def check(self, sequence: int) -> int:
        """The check of a place, where it is at hand, else UNKNOWN."""
        checks = self._replay.checks
        check = checks.known(sequence)
        if check == UNKNOWN and self._integrity.is_steady and (record := self._recent.at(sequence)) is not None:
            check = record.check
            checks.note(sequence, check)
        return check

    def cursor(self, sequence: int, epoch: str | None = None) -> str:
        """The cursor of a place in this life of the stream, or in the one of a reader."""
        ours = self._integrity.epoch
        epoch = ours if epoch is None else epoch
        return token(epoch, sequence, self.check(sequence) if epoch == ours else UNKNOWN)

    def earliest(self) -> str:
        """The cursor before the oldest event that is kept."""
        return self.cursor(max(self._integrity.first - 1, 0))

    async def find_cursor(self, sequence: int) -> str:
        """The same; where the check is not at hand, the store is asked. Without an answer the cursor has none."""
        integrity = self._integrity
        if integrity.is_steady and self.check(sequence) == UNKNOWN and integrity.first <= sequence:
            try:
                await self._replay.checks.find(sequence)
            except BrokerError as fault:
                log.debug("the check of a cursor was not found; the cursor has none", extra={"fault": str(fault)})
        return self.cursor(sequence)

    # Where a reader begins

    async def place(self, start: Start, feed: Feed) -> Place:
        """Finds where a reader begins, in this life of the stream. Raises BrokerError."""
        place = await self._place(start, feed)
        if start.foreign and place.gap is None:
            # What its client has read is not known, so all before it may be missing.
            return Place(place.after, Gap(0, place.after, reset=True))
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

    def place_now(self, start: Start) -> Place | None:
        """The same without waiting, for most who come back; None where the store must be asked."""
        if start.snapshot or start.foreign or not self._integrity.is_steady:
            return None
        return self._place_now(start)

    def _place_now(self, start: Start) -> Place | None:
        integrity, cursor = self._integrity, start.cursor
        if not isinstance(cursor, Cursor) or cursor.epoch != integrity.epoch:
            return None
        before_first = max(integrity.first - 1, 0)
        if not before_first <= cursor.sequence <= integrity.position:
            return None
        # Of the place before the first event nothing is kept that could be compared.
        if cursor.sequence > before_first and cursor.check not in (UNKNOWN, self.check(cursor.sequence)):
            return None
        return Place(cursor.sequence, None)

    async def begin(self, start: Start, view: View) -> Place:
        """Finds where a session that is made now begins. Raises BrokerError."""
        return await self._ask(lambda: self._find(start, view), REQUEST_TIMEOUT)

    async def _find(self, start: Start, view: View) -> Place:
        state = await self._broker.state()
        self._integrity.first = state.first
        place = await self._replay.place(start, view.patterns, state)
        if state.first <= place.after <= state.last and self.check(place.after) == UNKNOWN:
            # The client is given a cursor of this place.
            await self._replay.checks.find(place.after)
        return place

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
            gap = Gap(0, found.upto, reset=True)
        fresh = start.cursor is None or gap is not None
        records = shown if fresh else [record for record in shown if record.sequence > start.shown]
        return FoundSnapshot(records, found.upto, found.left_out, gap, found.unsearched)

    async def _read_snapshot(self, start: Start, view: View) -> tuple[StreamSnapshot, Gap | None]:
        state = await self._broker.state()
        self._integrity.first = state.first
        gap: Gap | None = None
        if start.cursor is not None:
            place = await self._replay.place(Start(cursor=start.cursor), view.patterns, state)
            if place.gap is None:
                return await self._snapshots.at(view.patterns, place.after, self._integrity.renewals, state.first), None
            gap = place.gap
        found = await self._snapshots.newest(view.patterns, state.last, self._integrity.renewals, state.first)
        if state.first <= found.upto and self.check(found.upto) == UNKNOWN:
            # The client is given a cursor of this place.
            await self._replay.checks.find(found.upto)
        return found, gap

    def moved(self, position: int, epoch: str) -> Place | None:
        """Where a reader that lags goes on in this life of the stream, and what it has lost for ever; None where it stands."""
        integrity = self._integrity
        if epoch == integrity.epoch and (position + 1 >= integrity.first or integrity.first <= 1):
            return None
        state = StreamState(integrity.epoch, integrity.first, max(integrity.position, position), 0, 0)
        return place_of(Cursor(epoch, position), state)

    # What is stored

    async def last(self, patterns: tuple[str, ...], count: int) -> list[Record]:
        """Reads the newest events under some patterns, oldest first. Raises BrokerError."""
        place = await self._ask(lambda: self._replay.place(Start(last=count), patterns), REQUEST_TIMEOUT)
        found: list[Record] = []
        async with contextlib.aclosing(self.since(patterns, place.after)) as pages:
            async for records in pages:
                found += records
                if len(found) >= count:
                    break
        return found[-count:]

    async def since(self, patterns: tuple[str, ...], after: int) -> AsyncGenerator[list[Record]]:
        """Reads what is stored under some patterns behind a sequence, page by page. Raises BrokerError."""
        more = True
        while more:
            at = after
            stretch = await self._ask(
                lambda: self._replay.stretch(patterns, at, self._integrity.position),  # noqa: B023
                REQUEST_TIMEOUT,
            )
            yield stretch.records
            after, more = stretch.upto, stretch.more

    def remembered(self, feed: Feed, position: int) -> Stretch | None:
        """What comes next for a reader of the events received last; None where it must read from the store first.

        Where the stretch says that there is no more, the reader has had all that was received, and may go live at once.
        """
        if not self._integrity.is_steady or position < max(self._recent.since, feed.since):
            return None
        # A feed's pending records come with the next flush and must not come twice: hand them out first.
        self._flush()
        return self._recent.after(position, self._settings.mailbox_events, self._settings.mailbox_bytes)

    async def stretch(self, feed: Feed, after: int) -> Stretch:
        """Reads the next matching records from the store. Raises BrokerError."""
        metrics.replays.inc()
        integrity = self._integrity
        # The stream is known to have come so far; without the feed's own mark a reader of a new pattern could stay
        # for ever below the place from which the pattern is received.
        known = max(integrity.position, self._recent.since, feed.since)
        renewals = integrity.renewals
        stretch = await self._ask(lambda: self._replay.stretch(feed.view.patterns, after, known))
        if stretch.records and renewals == integrity.renewals and integrity.is_steady:
            last = stretch.records[-1]
            self._replay.checks.note(last.sequence, last.check)
        return stretch

    async def page(self, feed: Feed, after: int, stretch: Stretch) -> Batch | None:
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

    def page_now(self, feed: Feed, after: int, stretch: Stretch) -> Batch | Unsettled | None:
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
