"""Says how far events have been read: a generation of EVENTS, and a sequence in each of its shards.

Positions of one generation are compared part by part, so two of them may each be behind the other. A generation begins when the
one before it takes no more events: a position of an older generation is behind every position of a newer one.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import ge
from typing import Protocol

import msgspec

from router.layout import Generation, Layout, Shard

# A sequence that no stream comes to; one more fits 12 hexadecimal digits, as a cursor has them.
BEYOND = 2**48 - 2


class Placed(Protocol):
    """An event that has a place in EVENTS."""

    @property
    def shard(self) -> Shard:
        """Where it is stored."""

    @property
    def sequence(self) -> int:
        """Its sequence there."""


class Position(msgspec.Struct, frozen=True, gc=False):
    """Everything up to and with these sequences has been read, and everything of older generations."""

    generation: int
    # By the index of the shard.
    sequences: tuple[int, ...]

    def covers(self, record: Placed) -> bool:
        """Says whether an event lies at or before this position."""
        shard = record.shard
        if shard.generation != self.generation:
            return shard.generation < self.generation
        return record.sequence <= self.sequences[shard.index]

    def after(self, record: Placed) -> Position:
        """The position once an event has been read, too; the same where that had been read already."""
        shard = record.shard
        if shard.generation != self.generation:
            return self if shard.generation < self.generation else placed(shard, record.sequence)
        sequences, index = self.sequences, shard.index
        if record.sequence <= sequences[index]:
            return self
        if len(sequences) == 1:
            return Position(self.generation, (record.sequence,))
        return Position(self.generation, (*sequences[:index], record.sequence, *sequences[index + 1 :]))

    def joined(self, other: Position) -> Position:
        """The position of one who has read what either has: the farther sequence in each shard."""
        if self.generation != other.generation:
            return self if self.generation > other.generation else other
        if self.sequences == other.sequences:
            return self
        return Position(self.generation, tuple(map(max, self.sequences, other.sequences)))

    def met(self, other: Position) -> Position:
        """The position of one who has read what both have: the nearer sequence in each shard."""
        if self.generation != other.generation:
            return self if self.generation < other.generation else other
        return Position(self.generation, tuple(map(min, self.sequences, other.sequences)))

    def reaches(self, other: Position) -> bool:
        """Says whether everything up to another position has been read."""
        if self.generation != other.generation:
            return self.generation > other.generation
        ours, theirs = self.sequences, other.sequences
        if len(ours) == 1:
            return ours >= theirs
        return all(map(ge, ours, theirs))

    def behind(self, other: Position) -> bool:
        """Says whether something up to another position has not been read."""
        return not self.reaches(other)

    def at(self, shard: Shard, sequence: int) -> Position:
        """The same with another sequence in one shard; in a newer generation of the others nothing has been read."""
        if shard.generation != self.generation:
            return placed(shard, sequence)
        return Position(
            self.generation, tuple(sequence if k == shard.index else each for k, each in enumerate(self.sequences))
        )

    def of(self, shard: Shard) -> int:
        """The sequence in one shard."""
        if shard.generation != self.generation:
            return BEYOND if shard.generation < self.generation else 0
        return self.sequences[shard.index]

    def ahead_of(self, other: Position, layout: Layout) -> int:
        """How many sequences lie between another position and this one, those of sealed generations of the layout among them."""
        if other.generation > self.generation:
            return 0
        between = 0
        for generation in layout.generations:
            if other.generation <= generation.number < self.generation and (reached := end(generation)) is not None:
                between += reached._ahead_in_its_generation(other)
        return between + self._ahead_in_its_generation(other)

    def _ahead_in_its_generation(self, other: Position) -> int:
        ours = self.sequences
        theirs = other.sequences if other.generation == self.generation else (0,) * len(ours)
        return sum(max(0, our - their) for our, their in zip(ours, theirs, strict=True))


def lacking(shard: Shard, sequence: int) -> Position:
    """The position of one who has read all but what comes after a sequence of one shard."""
    return Position(
        shard.generation, tuple(sequence if index == shard.index else BEYOND for index in range(shard.count))
    )


def within(position: Position, shards: Iterable[Shard]) -> Position:
    """A position in some of its shards; in the others everything has been read."""
    return reduce(Position.met, [lacking(shard, position.of(shard)) for shard in shards])


def of_one(sequence: int) -> Position:
    """A position in generation 0, which has one shard."""
    return Position(0, (sequence,))


def beginning(generation: Generation) -> Position:
    """The position before the first event of a generation."""
    return Position(generation.number, (0,) * len(generation.shards))


def end(generation: Generation) -> Position | None:
    """The position of one who has read a sealed generation to its end; None for one that takes events."""
    return None if generation.ends is None else Position(generation.number, generation.ends)


def placed(shard: Shard, sequence: int) -> Position:
    """The position of one who has read a shard up to a sequence, and of the others of its generation nothing."""
    return Position(shard.generation, tuple(sequence if index == shard.index else 0 for index in range(shard.count)))
