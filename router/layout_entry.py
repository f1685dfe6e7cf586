"""Defines the entry that says which streams hold the events, and the steps by which a reshard changes it.

The entry lies under one key of the bucket LAYOUT. An installation that was never resharded has none, and the layout `FIRST`.
A reshard goes through three entries: without `next`, with it (its streams are there, and those of the current generation are being
sealed), and with it as the newest of `generations`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from router.layout import Layout, generation

# The key of the entry.
KEY = "events"
# Sealed generations that may exist at once; each is read through by every reader that comes from before it.
MAX_GENERATIONS = 8


class KeptGeneration(msgspec.Struct, frozen=True, omit_defaults=True):
    """A generation as the entry has it."""

    number: int
    shards: int
    # When it became the current one, in ns since the epoch; 0 for one that was so from the beginning.
    began: int = 0
    # The last sequence of each shard, once they are sealed.
    ends: tuple[int, ...] | None = None


class LayoutEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which generations exist, oldest first, and which one is being made."""

    generations: tuple[KeptGeneration, ...] = (KeptGeneration(0, 1),)
    next: KeptGeneration | None = None

    @property
    def current(self) -> KeptGeneration:
        """The generation that takes new events."""
        return self.generations[-1]

    @property
    def layout(self) -> Layout:
        """The layout that it describes. Raises ValueError for an entry that describes none."""
        return _layout(self)


@lru_cache(16)
def _layout(entry: LayoutEntry) -> Layout:
    numbers = [each.number for each in entry.generations]
    if not numbers or numbers != sorted(set(numbers)):
        raise ValueError("an entry of the layout needs generations with ascending numbers")
    return Layout(tuple(generation(each.number, each.shards, each.ends) for each in entry.generations))


def parse(value: bytes) -> LayoutEntry:
    """Reads the value of the entry. Raises ValueError where it is none, or of a later version."""
    try:
        entry = msgspec.json.decode(value, type=LayoutEntry)
    except msgspec.MsgspecError as fault:
        raise ValueError(f"the layout of the events cannot be read: {fault}") from None
    entry.layout  # noqa: B018  raises
    return entry


def begun(entry: LayoutEntry, shards: int) -> LayoutEntry:
    """The entry once a generation of so many shards is being made."""
    return msgspec.structs.replace(entry, next=KeptGeneration(entry.current.number + 1, shards))


def finished(entry: LayoutEntry, ends: Sequence[int], now: int) -> LayoutEntry:
    """The entry once the next generation is the current one. `ends` are the last sequences of the one before, `now` is in ns."""
    assert entry.next is not None
    *older, sealed = entry.generations
    return LayoutEntry(
        (
            *older,
            msgspec.structs.replace(sealed, ends=tuple(ends)),
            msgspec.structs.replace(entry.next, began=now),
        )
    )


def without(entry: LayoutEntry, number: int) -> LayoutEntry:
    """The entry once the oldest generation is dropped, which has this number."""
    assert len(entry.generations) > 1 and entry.generations[0].number == number
    return msgspec.structs.replace(entry, generations=entry.generations[1:])
