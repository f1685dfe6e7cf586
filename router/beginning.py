"""Finds where a reader begins in EVENTS: behind a cursor, a time or the last so many events, at the oldest event kept, or now."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from router.broker import PAGE_EVENTS, Broker
from router.checks import stored_at
from router.codec import rfc3339
from router.cursor import FOREIGN, UNKNOWN, Cursor, Start, TimeMark, VectorCursor
from router.events_state import EventsState
from router.layout import Generation, Shard
from router.place import Place, foreign, place_of
from router.position import Position
from router.record import Record
from router.replay import Replay, merged

# How far producers' clocks may be ahead of the store's for `since` to find all that was published since a moment, and how many
# events are looked at for it.
AHEAD = timedelta(seconds=60)
MAX_AHEAD = 5000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Beginnings:
    """Finds the places where readers begin."""

    def __init__(self, broker: Broker, replay: Replay) -> None:
        self._broker = broker
        self._replay = replay

    async def place(self, start: Start, patterns: tuple[str, ...], state: EventsState | None = None) -> Place:
        """Finds where a reader begins, and what it has missed for ever. Raises BrokerError."""
        state = state or await self._broker.events_state()
        if start.cursor is not None:
            return place_of(await self.fitting(start.cursor, state), state)
        if start.mark is not None:
            return await self._marked(start, start.mark, patterns, state)
        if start.since is not None:
            return Place(await self._since(start.since, patterns, state), None)
        if start.last is not None:
            return Place(await self._before_last(patterns, start.last, state), None)
        return Place(state.begin if start.earliest else state.last, None)

    async def fitting(self, cursor: Cursor | VectorCursor, state: EventsState) -> Cursor | VectorCursor:
        """A cursor, foreign where the stream does not hold any more what it held when the cursor was given out.

        That is so after an older state of the stream was restored, when its sequences are given to other events. What cannot be
        checked is believed: a cursor without a check, and a place of which nothing is kept. Of several shards one place has a check,
        that of the newest event; where that is not what it was, the others are not believed either. Raises BrokerError.
        """
        for part in cursor.parts:
            if not await self.fits(part, state):
                return foreign(cursor)
        return cursor

    async def fits(self, part: Cursor, state: EventsState) -> bool:
        """Says whether a shard still holds at a place what it held when the cursor was given out, as far as that can be told."""
        shard = state.layout.by_epoch.get(part.epoch)
        if part.check == UNKNOWN or shard is None:
            return True
        if not _kept(part.sequence, shard, state):
            # Of one shard, whoever looks where it leads finds out that it lies past the end.
            return shard.count == 1 or part.sequence <= state.last_of(shard.generation).of(shard)
        return await self._replay.checks.find(part.sequence, shard) in (part.check, UNKNOWN)

    async def back(self, position: Position, count: int, state: EventsState) -> Position:
        """Finds a position up to `count` events before another: the end of the former generation where that one begins its own.

        Several shards are gone back in to about the same time, in none of them by more than its share of the count, and in one of
        them by that. The position itself where nothing older is kept. Raises BrokerError.
        """
        if not count:
            return position
        begin, generations = state.begin_of(position.generation), state.layout.generations
        if begin.reaches(position):
            former = [each.number for each in generations if each.number < position.generation]
            return state.last_of(former[-1]) if former else position
        shards = next(each for each in generations if each.number == position.generation).shards
        share = -(-count // len(shards))
        least = [max(begin.of(shard), position.of(shard) - share) for shard in shards]
        if len(shards) > 1 and (moment := await self._newest_behind(shards, least, begin)) is not None:
            stored = await asyncio.gather(
                *(self._stored(shard, moment, (">",), position.of(shard)) for shard in shards)
            )
            found = [max(least[k], min(stored[k], position.of(shard))) for k, shard in enumerate(shards)]
            if tuple(found) != position.sequences:
                least = found
        return Position(position.generation, tuple(least))

    async def _newest_behind(self, shards: tuple[Shard, ...], after: list[int], begin: Position) -> datetime | None:
        """The newest of the times of the events that come next in shards that are not at their beginnings."""
        places = [
            (shard, sequence) for shard, sequence in zip(shards, after, strict=True) if sequence > begin.of(shard)
        ]
        pages = await asyncio.gather(*(self._broker.shard(shard).read(">", sequence, 1) for shard, sequence in places))
        times = [page.records[0].event.time for page in pages if page.records and page.records[0].event is not None]
        return _EPOCH + timedelta(microseconds=max(times) // 1000) if times else None

    async def _marked(self, start: Start, mark: TimeMark, patterns: tuple[str, ...], state: EventsState) -> Place:
        """Finds the place that was printed into a time; of the other shards it says the time alone."""
        shard = next((shard for shard in state.layout.by_epoch.values() if mark.is_of(shard.epoch)), None)
        if shard is None or not await self._is_there(mark, shard, state):
            return place_of(Cursor(FOREIGN, mark.sequence), state)
        if shard.count == 1:
            return place_of(Cursor(shard.epoch, mark.sequence), state)
        generation = state.layout.generation(shard.generation)
        assert start.since is not None and generation is not None
        others = await self._since_in(generation, start.since, patterns, state)
        epochs = [each.epoch for each in generation.shards]
        sequences = [mark.sequence if index == shard.index else each for index, each in enumerate(others.sequences)]
        return place_of(VectorCursor(tuple(map(Cursor, epochs, sequences))), state)

    async def _is_there(self, mark: TimeMark, shard: Shard, state: EventsState) -> bool:
        """Says whether a time with a place in it was given out for the event that is there."""
        if not _kept(mark.sequence, shard, state):
            return True
        payload = await stored_at(self._broker.connection, mark.sequence, shard)
        event = None if payload is None else Record(mark.sequence, "", payload).event
        return event is None or rfc3339(event.time).removesuffix("Z") == mark.moment

    async def _since(self, moment: datetime, patterns: tuple[str, ...], state: EventsState) -> Position:
        """Finds the position behind which no event that was published or stored since a moment is left out."""
        for generation in state.layout.generations[:-1]:
            found = await self._since_in(generation, moment, patterns, state)
            if found.behind(state.last_of(generation.number)):
                return found
        return await self._since_in(state.layout.current, moment, patterns, state)

    async def _since_in(
        self, generation: Generation, moment: datetime, patterns: tuple[str, ...], state: EventsState
    ) -> Position:
        read = generation.shards_of(patterns)
        last = state.last_of(generation.number)
        found = await asyncio.gather(*(self._since_of(shard, moment, patterns, last.of(shard)) for shard in read))
        sequences = list(last.sequences)
        for shard, sequence in zip(read, found, strict=True):
            sequences[shard.index] = sequence
        return Position(generation.number, tuple(sequences))

    async def _since_of(self, shard: Shard, moment: datetime, patterns: tuple[str, ...], last: int) -> int:
        """The same in one shard. Where producers' clocks are ahead, an event may say a later time than the one of its storing."""
        stored = await self._stored(shard, moment, patterns, last)
        after = await self._stored(shard, moment - AHEAD, patterns, last)
        since_ns = (moment - _EPOCH) // timedelta(microseconds=1) * 1000
        scanned = 0
        while after < stored and scanned < MAX_AHEAD:
            stretch = await self._replay.of_shard(shard, patterns, after, stored)
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

    async def _stored(self, shard: Shard, moment: datetime, patterns: tuple[str, ...], last: int) -> int:
        """Finds the sequence after which come the events that were stored at a moment or later."""
        store = self._broker.shard(shard)
        pages = await asyncio.gather(*(store.read(pattern, 0, 1, since=moment) for pattern in patterns))
        firsts = [page.records[0].sequence for page in pages if page.records]
        return min(firsts) - 1 if firsts else last

    async def _before_last(self, patterns: tuple[str, ...], count: int, state: EventsState) -> Position:
        """Finds the position after which `count` matching events remain; of fewer the beginning of all."""
        if count == 0:
            return state.last
        for generation in reversed(state.layout.generations):
            found = await self._last_of(generation, patterns, count, state)
            last = state.last_of(generation.number)
            if len(found) >= count:
                return _before(found[-count:], last)
            count -= len(found)
        return state.begin

    async def _last_of(
        self, generation: Generation, patterns: tuple[str, ...], count: int, state: EventsState
    ) -> list[Record]:
        read = generation.shards_of(patterns)
        begin, last = state.begin_of(generation.number), state.last_of(generation.number)
        found = await asyncio.gather(
            *(self._last_of_shard(shard, patterns, count, begin.of(shard), last.of(shard)) for shard in read)
        )
        return merged(found)

    async def _last_of_shard(
        self, shard: Shard, patterns: tuple[str, ...], count: int, begin: int, last: int
    ) -> list[Record]:
        """The last matching events of one shard, by looking back in doubling windows: at least `count`, or all there are."""
        window = max(count * 2, PAGE_EVENTS)
        while True:
            after = max(last - window, begin)
            found: list[Record] = []
            at = after
            while at < last:
                stretch = await self._replay.of_shard(shard, patterns, at, last)
                found += [record for record in stretch.records if record.sequence <= last]
                at = stretch.upto
            if len(found) >= count or after <= begin:
                return found
            window *= 4


def _before(records: list[Record], last: Position) -> Position:
    """The position after which exactly these events remain, the last ones up to another position."""
    sequences = list(last.sequences)
    for record in reversed(records):
        sequences[record.shard.index] = record.sequence - 1
    return Position(last.generation, tuple(sequences))


def _kept(sequence: int, shard: Shard, state: EventsState) -> bool:
    """Whether a stream keeps what is at a sequence."""
    return state.begin_of(shard.generation).of(shard) < sequence <= state.last_of(shard.generation).of(shard)
