"""Keeps the events that one process received last, so that a reader that is a little behind does not read the store."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from router.record import Record
from router.replay import Stretch

# 16 MiB, and 512 bytes for each event as an object: some 20,000 small ones, half a second of the busiest stream.
MAX_BYTES = 16 * 1024 * 1024
EVENT_BYTES = 512
# Pages end at multiples of this sequence: readers that fell behind at different places soon read the same pages.
SPAN = 512
# So many dropped places are freed at once.
SLACK = 4096


class Recent:
    """Records in stream order. Complete for what was subscribed and comes after `since`."""

    __slots__ = ("_begin", "_bytes", "_most", "_records", "since")

    def __init__(self, most: int = MAX_BYTES) -> None:
        self.since = 0
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
            self.since = oldest.sequence
        if self._begin > SLACK:
            del self._records[: self._begin]
            self._begin = 0

    def forget(self) -> None:
        """Drops all."""
        self._records.clear()
        self._begin = self._bytes = 0

    def sequences(self) -> set[int]:
        """The sequences of all that is kept."""
        return {_sequence(record) for record in self._records[self._begin :]}

    def next(self, sequence: int) -> Record | None:
        """The first record behind a sequence that is kept; safe to ask from another thread, which may miss the newest."""
        records = self._records[self._begin :]
        place = bisect_right([record.sequence if record else 0 for record in records], sequence)
        return next((record for record in records[place:] if record), None)

    def at(self, sequence: int) -> Record | None:
        """The record at a sequence, where it is kept."""
        place = bisect_left(self._records, sequence, lo=self._begin, key=_sequence)
        found = self._records[place] if place < len(self._records) else None
        return found if found is not None and found.sequence == sequence else None

    def newest(self) -> Record | None:
        """The record that was added last; None where all were dropped."""
        return self._records[-1] if len(self) else None

    def after(self, sequence: int, most: int, most_bytes: int) -> Stretch:
        """The page of records behind a sequence, which may not be before `since`.

        It holds at most so many records, and so many bytes where it holds more than one. `more` says that further ones
        were received, or that these are more bytes than that.
        """
        records = self._records
        begin = bisect_right(records, sequence, lo=self._begin, key=_sequence)
        if begin == len(records):
            return Stretch([], sequence, False)
        bound = (_sequence(records[begin]) // SPAN + 1) * SPAN
        end = bisect_right(records, bound, lo=begin, hi=min(len(records), begin + most), key=_sequence)
        page: list[Record] = []
        size = 0
        for record in records[begin:end]:
            assert record is not None
            if page and size + len(record.payload) > most_bytes:
                break
            size += len(record.payload)
            page.append(record)
        return Stretch(page, page[-1].sequence, begin + len(page) < len(records) or size > most_bytes)


def _sequence(record: Record | None) -> int:
    assert record is not None
    return record.sequence
