"""Keeps the events that one process received last, so that a reader that is a little behind does not read the store."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from router.layout import ORIGINAL, Shard
from router.position import Position, of_one
from router.record import Record
from router.replay import Stretch
from router.trail import Trail

# 16 MiB, and 512 bytes for each event as an object: some 20,000 small ones, half a second of the busiest stream.
MAX_BYTES = 16 * 1024 * 1024
EVENT_BYTES = 512
# Pages end at multiples of this sequence: readers that fell behind at different places soon read the same pages.
SPAN = 512
# So many dropped places are freed at once.
SLACK = 4096


class Recent:
    """Records in the order of their receipt. Complete for what was subscribed and comes after `since`."""

    __slots__ = ("_begin", "_bytes", "_most", "_records", "since")

    def __init__(self, most: int = MAX_BYTES) -> None:
        self.since = of_one(0)
        self._most = most
        # Those before `_begin` are dropped already: a list, because pages are slices of its middle.
        self._records: list[Record | None] = []
        self._begin = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._records) - self._begin

    def add(self, record: Record) -> None:
        """Keeps a record that comes after all others, and drops the oldest where there is no room."""
        self._records.append(record)
        self._bytes += len(record.payload) + EVENT_BYTES
        while self._bytes > self._most:
            oldest = self._records[self._begin]
            assert oldest is not None
            self._records[self._begin] = None
            self._begin += 1
            self._bytes -= len(oldest.payload) + EVENT_BYTES
            self.since = self.since.joined(oldest.position)
        if self._begin > SLACK:
            del self._records[: self._begin]
            self._begin = 0

    def forget(self) -> None:
        """Drops all."""
        self._records.clear()
        self._begin = self._bytes = 0

    def places(self) -> set[tuple[int, int]]:
        """The places of all that is kept: the index of the shard, and the sequence."""
        kept = [record for record in self._records[self._begin :] if record]
        return {(record.shard.index, record.sequence) for record in kept}

    def next(self, position: Position) -> Record | None:
        """The first record behind a position that is kept; safe to ask from another thread, which may miss the newest."""
        records = [record for record in self._records[self._begin :] if record]
        return next(
            (record for record in records[_behind(records, position, 0) :] if not position.covers(record)), None
        )

    def at(self, sequence: int, shard: Shard = ORIGINAL) -> Record | None:
        """The record at a place, where it is kept."""
        if (newest := self.newest()) is None or newest.shard.generation != shard.generation:
            return None
        place = bisect_left(self._records, sequence, lo=self._begin, key=_in(shard.index))
        found = self._records[place] if place < len(self._records) else None
        return found if found is not None and found.sequence == sequence and found.shard.index == shard.index else None

    def newest(self) -> Record | None:
        """The record that was added last; None where all were dropped."""
        return self._records[-1] if len(self) else None

    def after(self, position: Position, most: int, most_bytes: int, trail: Callable[[Position], Trail]) -> Stretch:
        """The page of records behind a position, which may not be before `since`.

        It holds at most so many records, and so many bytes where it holds more than one. `more` says that further ones
        were received, or that these are more bytes than that. A reader that has not had all that was received before the first
        of them, or more, gets copies, with positions that go on from its own by a new `trail`.
        """
        records = self._records
        begin = _behind(records, position, self._begin)
        if begin == len(records):
            return Stretch([], position, False)
        bound = (_order(records[begin]) // SPAN + 1) * SPAN
        end = bisect_right(records, bound, lo=begin, hi=min(len(records), begin + most), key=_order)
        page: list[Record] = []
        size, taken = 0, begin
        for record in records[begin:end]:
            assert record is not None
            if page and size + len(record.payload) > most_bytes:
                break
            taken += 1
            if not position.covers(record):
                size += len(record.payload)
                page.append(record)
        last = records[taken - 1]
        assert last is not None
        more = taken < len(records) or size > most_bytes
        if page and not page[0].position.reaches(position):
            page = _copies(page, trail(position))
        return Stretch(page, position.joined(last.position), more)


def _copies(records: list[Record], trail: Trail) -> list[Record]:
    copies = [record.copied() for record in records]
    for copy in copies:
        trail.add(copy)
    return copies


def _behind(records: Sequence[Record | None], position: Position, begin: int) -> int:
    """The index of the first record that a position does not cover, in the order of receipt."""
    first = records[begin] if begin < len(records) else None
    if first is None or first.shard.generation != position.generation:
        return begin if first is not None and not position.covers(first) else len(records)
    return min(
        bisect_right(records, sequence, lo=begin, key=_in(index)) for index, sequence in enumerate(position.sequences)
    )


def _in(index: int) -> Callable[[Record | None], int]:
    """Up to where one shard was received when a record was."""

    def key(record: Record | None) -> int:
        assert record is not None
        return record.position.sequences[index]

    return key


def _order(record: Record | None) -> int:
    """A number that grows with the order of receipt."""
    assert record is not None
    return sum(record.position.sequences)
