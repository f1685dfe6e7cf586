"""Reads the past: pages of stored events in the order of each shard, shared by all who ask for the same."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from router.broker import PAGE_EVENTS, Broker, Page
from router.checks import Checks
from router.layout import FIRST, ORIGINAL, Generation, Shard
from router.position import Position, beginning, end, of_one
from router.record import Record
from router.trail import Trail

# 64 full pages are kept, at most 64 MiB: a crowd that reconnects reads the store once.
CACHED_PAGES = 64
# Seconds after which decoding a page lets others have their turn.
SLICE = 0.002


class Stretch(NamedTuple):
    """All matching records after one position, up to and with `upto`; `more` says that the store has further ones."""

    records: list[Record]
    upto: Position
    more: bool


class ShardStretch(NamedTuple):
    """The same of one shard, by sequences."""

    records: list[Record]
    upto: int
    more: bool


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
        # Which streams are read.
        self.layout = FIRST
        self._pages: OrderedDict[tuple[str, str, int], Page] = OrderedDict()
        self._reading: dict[tuple[str, str, int, int], asyncio.Future[Page | None]] = {}

    def forget(self) -> None:
        """Drops what is cached, as after the stream was recreated or an older state of it was restored."""
        self._pages.clear()
        self.checks.clear()

    async def stretch(self, patterns: tuple[str, ...], after: Position, known: Position) -> Stretch:
        """Reads the next matching records after a position.

        `known` is a position that the streams had reached before this call: where no more matches are found, everything
        up to it has been read. A sealed generation is read to its end, and then the next. Raises BrokerError.
        """
        generation = self.layout.generation(after.generation)
        if generation is None:
            # Deleted meanwhile, for all of it is beyond retention: what is kept comes next.
            return Stretch([], beginning(self.layout.generations[0]), True)
        if generation.number == 0 and generation is self.layout.current:
            found = await self.of_shard(ORIGINAL, patterns, after.of(ORIGINAL), known.of(ORIGINAL))
            return Stretch(found.records, of_one(found.upto), found.more)
        sealed = generation is not self.layout.current
        return await self._of_generation(generation, patterns, after, (end(generation) or after) if sealed else known)

    async def _of_generation(
        self, generation: Generation, patterns: tuple[str, ...], after: Position, known: Position
    ) -> Stretch:
        """Reads the shards that may hold matching events at once; of each as far as is read by now, of the others all."""
        shards = generation.shards_of(patterns)
        found = await asyncio.gather(
            *(self.of_shard(shard, patterns, after.of(shard), known.of(shard)) for shard in shards)
        )
        read = {shard.index: stretch.upto for shard, stretch in zip(shards, found, strict=True)}
        # Nothing for these patterns is in the other shards.
        away = Position(
            generation.number,
            tuple(after.of(shard) if shard.index in read else known.of(shard) for shard in generation.shards),
        )
        trail = Trail(after.joined(away), self.layout)
        records: list[Record] = []
        for record in merged([stretch.records for stretch in found]):
            # Pages are shared by readers who come from different positions.
            copy = record.copied()
            trail.add(copy)
            records.append(copy)
        upto = trail.position.joined(
            Position(
                generation.number,
                tuple(read.get(shard.index, known.of(shard)) for shard in generation.shards),
            )
        )
        more = any(stretch.more for stretch in found)
        if not more and generation is not self.layout.current:
            return Stretch(records, beginning(self.layout.after(generation)), True)
        return Stretch(records, upto, more)

    async def of_shard(self, shard: Shard, patterns: tuple[str, ...], after: int, known: int) -> ShardStretch:
        """Reads the next matching records of one shard after a sequence, as `stretch`. Raises BrokerError."""
        pages = await asyncio.gather(*(self._page(shard, pattern, after, known) for pattern in patterns))
        # Of a page that has more behind it only what lies up to its end is known; the shortest such page sets the bound.
        bound = min((page.records[-1].sequence for page in pages if page.more and page.records), default=None)
        if len(pages) == 1:
            records = pages[0].records
        else:
            merged = {record.sequence: record for page in pages for record in page.records}
            records = [merged[key] for key in sorted(merged) if bound is None or key <= bound]
        if bound is not None:
            return ShardStretch(records, bound, True)
        return ShardStretch(records, max(known, records[-1].sequence if records else 0), False)

    async def _page(self, shard: Shard, pattern: str, after: int, known: int) -> Page:
        key = (shard.stream, pattern, after)
        if (page := self._pages.get(key)) is not None:
            self._pages.move_to_end(key)
            return page
        # Only a read that was begun with the same knowledge is shared: an older one may end before what is known by now.
        read = (shard.stream, pattern, after, known)
        while (reading := self._reading.get(read)) is not None:
            # None: who read it left. Then it is read here, or by another who was quicker.
            if (shared := await asyncio.shield(reading)) is not None:
                return shared
        future: asyncio.Future[Page | None] = asyncio.get_running_loop().create_future()
        self._reading[read] = future
        try:
            page = await self._broker.shard(shard).read(pattern, after, PAGE_EVENTS, upto=known)
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


def merged(runs: Sequence[list[Record]]) -> list[Record]:
    """The events of several shards as one list: those of each in their order, and all by time as far as that allows."""
    if len(runs) == 1:
        return runs[0]
    return list(heapq.merge(*runs, key=_time))


def _time(record: Record) -> int:
    return record.event.time if record.event is not None else 0
