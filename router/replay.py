"""Reads the past: pages of stored events in stream order, shared by all who ask for the same, and where a reader begins."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from router.broker import PAGE_EVENTS, Broker, Page, StreamState
from router.checks import Checks, stored_at
from router.codec import rfc3339
from router.cursor import FOREIGN, UNKNOWN, Cursor, Start, TimeMark, VectorCursor
from router.record import Record

# 64 full pages are kept, at most 64 MiB: a crowd that reconnects reads the store once.
CACHED_PAGES = 64
# How far producers' clocks may be ahead of the store's for `since` to find all that was published since a moment, and how many
# events are looked at for it.
AHEAD = timedelta(seconds=60)
MAX_AHEAD = 5000
# Seconds after which decoding a page lets others have their turn.
SLICE = 0.002
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Stretch(NamedTuple):
    """All matching records after one sequence, up to and with `upto`; `more` says that the store has further ones."""

    records: list[Record]
    upto: int
    more: bool


class Gap(NamedTuple):
    """What a reader asked for and cannot have any more; sequences, both ends lost. `reset` says another life of the stream."""

    first: int
    last: int
    reset: bool


class Place(NamedTuple):
    """Where a reader begins: everything up to and with `after` is behind it."""

    after: int
    gap: Gap | None


class Replay:
    """Reads EVENTS for many readers at once."""

    def __init__(
        self, broker: Broker, undecodable: Callable[[Record], None] = lambda _record: None, slice: float = SLICE
    ) -> None:
        """`undecodable` is called with each record that was read and is no event; the reader passes it over."""
        self._slice = slice
        self._broker = broker
        self._undecodable = undecodable
        self.checks = Checks(broker.connection)
        self._pages: OrderedDict[tuple[str, int], Page] = OrderedDict()
        self._reading: dict[tuple[str, int, int], asyncio.Future[Page | None]] = {}

    def forget(self) -> None:
        """Drops what is cached, as after the stream was recreated or an older state of it was restored."""
        self._pages.clear()
        self.checks.clear()

    async def stretch(self, patterns: tuple[str, ...], after: int, known: int) -> Stretch:
        """Reads the next matching records after a sequence.

        `known` is a sequence that the stream had reached before this call: where no more matches are found, everything
        up to it has been read. Raises BrokerError.
        """
        pages = await asyncio.gather(*(self._page(pattern, after, known) for pattern in patterns))
        # Of a page that has more behind it only what lies up to its end is known; the shortest such page sets the bound.
        bound = min((page.records[-1].sequence for page in pages if page.more and page.records), default=None)
        if len(pages) == 1:
            records = pages[0].records
        else:
            merged = {record.sequence: record for page in pages for record in page.records}
            records = [merged[key] for key in sorted(merged) if bound is None or key <= bound]
        if bound is not None:
            return Stretch(records, bound, True)
        return Stretch(records, max(known, records[-1].sequence if records else 0), False)

    async def _page(self, pattern: str, after: int, known: int) -> Page:
        key = (pattern, after)
        if (page := self._pages.get(key)) is not None:
            self._pages.move_to_end(key)
            return page
        # Only a read that was begun with the same knowledge is shared: an older one may end before what is known by now.
        read = (pattern, after, known)
        while (reading := self._reading.get(read)) is not None:
            # None: who read it left. Then it is read here, or by another who was quicker.
            if (shared := await asyncio.shield(reading)) is not None:
                return shared
        future: asyncio.Future[Page | None] = asyncio.get_running_loop().create_future()
        self._reading[read] = future
        try:
            page = await self._broker.read(pattern, after, PAGE_EVENTS, upto=known)
            await self._decode(page)
        except BaseException as fault:
            # Others wait on this read: they get its error, and none where this reader merely left.
            if isinstance(fault, asyncio.CancelledError):
                future.set_result(None)
            else:
                future.set_exception(fault)
                future.exception()
            raise
        finally:
            del self._reading[read]
        future.set_result(page)
        # Only a full page can never change.
        if page.more and page.records:
            self._pages[key] = page
            if len(self._pages) > CACHED_PAGES:
                self._pages.popitem(last=False)
        return page

    async def _decode(self, page: Page) -> None:
        """Decodes the records of a page; others have their turn meanwhile, for those of a full page take some 20 ms."""
        begun = time.perf_counter()
        for record in page.records:
            if record.event is None:
                self._undecodable(record)
            if time.perf_counter() - begun > self._slice:
                await asyncio.sleep(0)
                begun = time.perf_counter()

    async def place(self, start: Start, patterns: tuple[str, ...], state: StreamState | None = None) -> Place:
        """Finds where a reader begins, and what it has missed for ever. Raises BrokerError."""
        state = state or await self._broker.state()
        if isinstance(start.cursor, VectorCursor):
            # Of several shards, and these are read from one.
            return place_of(_foreign(start.cursor.parts[0]), state)
        if start.cursor is not None:
            return place_of(start.cursor if await self.fits(start.cursor, state) else _foreign(start.cursor), state)
        if start.mark is not None:
            marked = Cursor(state.epoch, start.mark.sequence)
            return place_of(marked if await self._is_of(start.mark, state) else _foreign(marked), state)
        if start.since is not None:
            return Place(await self._since(start.since, patterns, state), None)
        if start.last is not None:
            return Place(await self._before_last(patterns, start.last, state), None)
        return Place(max(state.first - 1, 0) if start.earliest else state.last, None)

    async def fits(self, cursor: Cursor, state: StreamState) -> bool:
        """Says whether the stream still holds at a cursor's place what it held when the cursor was given out.

        False after an older state of the stream was restored, when its sequences are given to other events. What cannot be
        checked is believed: a cursor without a check, and a place of which nothing is kept. Raises BrokerError.
        """
        if cursor.check == UNKNOWN or cursor.epoch != state.epoch or not state.first <= cursor.sequence <= state.last:
            return True
        return await self.checks.find(cursor.sequence) in (cursor.check, UNKNOWN)

    async def _is_of(self, mark: TimeMark, state: StreamState) -> bool:
        """Says whether a time with a place in it was given out in this life of the stream, by the time of the event there."""
        if not mark.is_of(state.epoch):
            return False
        if not state.first <= mark.sequence <= state.last:
            return True
        payload = await stored_at(self._broker.connection, mark.sequence)
        event = None if payload is None else Record(mark.sequence, "", payload).event
        return event is None or rfc3339(event.time).removesuffix("Z") == mark.moment

    async def _since(self, moment: datetime, patterns: tuple[str, ...], state: StreamState) -> int:
        """Finds the sequence behind which no event that was published or stored since a moment is left out.

        Where producers' clocks are ahead, an event may say a later time than the one at which it was stored.
        """
        stored = await self._stored(moment, patterns, state)
        after = await self._stored(moment - AHEAD, patterns, state)
        since_ns = (moment - _EPOCH) // timedelta(microseconds=1) * 1000
        scanned = 0
        while after < stored and scanned < MAX_AHEAD:
            stretch = await self.stretch(patterns, after, stored)
            for record in stretch.records:
                if record.sequence > stored:
                    break
                if record.event is not None and record.event.time >= since_ns:
                    return record.sequence - 1
            scanned += len(stretch.records)
            if stretch.upto <= after:
                break
            after = stretch.upto
        return stored

    async def _stored(self, moment: datetime, patterns: tuple[str, ...], state: StreamState) -> int:
        """Finds the sequence after which come the events that were stored at a moment or later."""
        pages = await asyncio.gather(*(self._broker.read(pattern, 0, 1, since=moment) for pattern in patterns))
        firsts = [page.records[0].sequence for page in pages if page.records]
        return min(firsts) - 1 if firsts else state.last

    async def _before_last(self, patterns: tuple[str, ...], count: int, state: StreamState) -> int:
        """Finds the sequence after which `count` matching events remain, by looking back in doubling windows."""
        if count == 0:
            return state.last
        window = max(count * 2, PAGE_EVENTS)
        while True:
            after = max(state.last - window, state.first - 1, 0)
            found: list[int] = []
            at = after
            while at < state.last:
                stretch = await self.stretch(patterns, at, state.last)
                found.extend(record.sequence for record in stretch.records if record.sequence <= state.last)
                at = stretch.upto
            if len(found) >= count:
                return found[-count] - 1
            if after <= max(state.first - 1, 0):
                return after
            window *= 4


def _foreign(cursor: Cursor) -> Cursor:
    """A cursor at whose place the stream holds another event is worth as much as one of another stream."""
    return Cursor(FOREIGN, cursor.sequence)


def place_of(cursor: Cursor, state: StreamState) -> Place:
    """Where a client's cursor leads in the stream as it is now."""
    before_first = max(state.first - 1, 0)
    if cursor.epoch != state.epoch or cursor.sequence > state.last:
        # The sequences of another life say nothing here: all that is kept is news to this client. A place past the end is of
        # another life, too: an older state was restored, and what was stored since then may already lie before that place.
        return Place(before_first, Gap(0, before_first, reset=True))
    if cursor.sequence < before_first:
        return Place(before_first, Gap(cursor.sequence + 1, before_first, reset=False))
    return Place(cursor.sequence, None)
