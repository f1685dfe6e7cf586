"""Gathers pictures of H.264 into fragments of MP4 of at most half a second, at the times of the capture clock."""

from __future__ import annotations

from typing import NamedTuple

from router.mp4 import IndexEntry, Sample, fragment, index

# 90 kHz: a time in milliseconds is exact to 6 µs.
TIMESCALE = 90_000
TICKS_PER_MS = TIMESCALE // 1000
FRAGMENT_MS = 500.0
# How long a picture is shown whose successor has not come, where nothing says how fast they come.
LAST_MS = 40.0


class MadeFragment(NamedTuple):
    """A fragment: when its first picture was captured and when its last one is over (ms since the epoch)."""

    time: float
    until: float
    body: bytes
    frames: int
    key: bool


class _Gathered(NamedTuple):
    ticks: int
    data: bytes
    key: bool


class FragmentWriter:
    """The fragments of one file, whose media time 0 is `began` (ms since the epoch)."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._gathered: list[_Gathered] = []
        self._last = -1
        self._interval = round(LAST_MS * TICKS_PER_MS)
        self._number = 0

    def add(self, time: float, key: bool, data: bytes) -> MadeFragment | None:
        """Takes a picture; returns the fragment before it once that is half a second long, or where this one is a key.

        A picture of the same time as the one before (a key that was asked for while the source stood still) follows 1 ms later.
        """
        ticks = max(round((time - self._began) * TICKS_PER_MS), self._last + TICKS_PER_MS if self._last >= 0 else 0)
        made = None
        if self._gathered:
            if key or ticks - self._gathered[0].ticks >= FRAGMENT_MS * TICKS_PER_MS:
                made = self._make(ticks)
            self._interval = min(ticks - self._last, round(FRAGMENT_MS * TICKS_PER_MS))
        self._gathered.append(_Gathered(ticks, data, key))
        self._last = ticks
        return made

    def flush(self, until: float | None = None) -> MadeFragment | None:
        """Returns what is gathered; its last picture is taken to last until then, or as long as the one before."""
        if not self._gathered:
            return None
        end = self._last + self._interval
        if until is not None:
            end = max(self._last + TICKS_PER_MS, round((until - self._began) * TICKS_PER_MS))
        return self._make(end)

    def drop(self) -> int:
        """Forgets what is gathered; returns how many pictures that were."""
        lost, self._gathered = len(self._gathered), []
        return lost

    def _make(self, end: int) -> MadeFragment:
        gathered, self._gathered = self._gathered, []
        ends = [*(each.ticks for each in gathered[1:]), end]
        samples = [Sample(stop - each.ticks, each.data, each.key) for each, stop in zip(gathered, ends, strict=True)]
        self._number += 1
        first = gathered[0]
        body = fragment(self._number, first.ticks, samples)
        return MadeFragment(self._moment(first.ticks), self._moment(end), body, len(gathered), first.key)

    def _moment(self, ticks: int) -> float:
        return self._began + ticks / TICKS_PER_MS


class FragmentMark(NamedTuple):
    """What the index of a file says of a fragment: its bytes, when it begins (ms since the epoch), whether with a key."""

    size: int
    time: float
    key: bool


def file_index(began: float, marks: list[FragmentMark], ended: float) -> bytes:
    """The index of a file's fragments. Pauses between them belong to the fragment before.

    A fragment that does not begin with a key is one entry with the one before it: a player that seeks reads from an entry on.
    """
    joined: list[FragmentMark] = []
    for mark in marks:
        if mark.key or not joined:
            joined.append(mark)
        else:
            joined[-1] = joined[-1]._replace(size=joined[-1].size + mark.size)
    begins = [round((mark.time - began) * TICKS_PER_MS) for mark in joined]
    ends = [*begins[1:], round((ended - began) * TICKS_PER_MS)]
    entries = [
        IndexEntry(mark.size, max(0, stop - start), mark.key)
        for mark, start, stop in zip(joined, begins, ends, strict=True)
    ]
    return index(TIMESCALE, entries)
