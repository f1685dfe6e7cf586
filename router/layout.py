"""Says which streams hold the events: generations of shards, and which shard takes a subject.

Generation 0 is the stream EVENTS, one shard with the subjects `ev.>`. A later generation g has n shards, the streams
`EVENTS_<g>_<k>` with the subjects `evs.<g>.<k>.>`. All events of a domain and entity are in one shard of a generation, so they
keep their order. Nothing in here asks a server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import msgspec

# The stream of generation 0, and what its subjects begin with.
ORIGINAL_STREAM = "EVENTS"
ORIGINAL_PREFIX = "ev."
SHARDED_PREFIX = "evs."
# A cursor has some eight bytes for each shard, and is sent with every event.
MAX_SHARDS = 64

_OFFSET, _PRIME, _MASK = 2166136261, 16777619, 0xFFFFFFFF


class Shard(msgspec.Struct, frozen=True, gc=False):
    """One stream of a generation that has `count` of them."""

    generation: int
    index: int
    count: int
    stream: str
    # What stored subjects begin with, up to and with the dot.
    prefix: str
    # Which life of the stream it is, as far as the server was asked (`router.cursor`).
    epoch: str = ""

    def stored(self, subject: str) -> str:
        """The subject under which an event is stored here; of a pattern the pattern."""
        return self.prefix + subject


ORIGINAL = Shard(0, 0, 1, ORIGINAL_STREAM, ORIGINAL_PREFIX)


@dataclass(frozen=True)
class Generation:
    """The streams that take events together. `ends` are the last sequences of one that is sealed and takes no more."""

    number: int
    shards: tuple[Shard, ...]
    ends: tuple[int, ...] | None = None

    @cached_property
    def epoch(self) -> str:
        """Which lives of the streams these are: the epochs of the shards, joined by commas."""
        return ",".join(shard.epoch for shard in self.shards)

    @cached_property
    def only(self) -> Shard | None:
        """The shard of a generation that has one."""
        return self.shards[0] if len(self.shards) == 1 else None

    def shard_of(self, subject: str) -> Shard:
        """The shard that holds the events of a subject; of a pattern with a literal domain and entity those that match it."""
        return self.only or self.shards[partition(subject, len(self.shards))]

    def shards_of(self, patterns: Iterable[str]) -> tuple[Shard, ...]:
        """The shards that may hold events of some patterns, in the order of their indexes."""
        if len(self.shards) == 1:
            return self.shards
        found: set[int] = set()
        for pattern in patterns:
            domain, entity, _ = (*pattern.split(".", 2), "", "")[:3]
            if not entity or {domain, entity} & {"*", ">"}:
                return self.shards
            found.add(partition(pattern, len(self.shards)))
        return tuple(self.shards[index] for index in sorted(found))

    def with_epochs(self, epochs: Iterable[str]) -> Generation:
        """The same with the epochs of its shards' streams, in the order of their indexes."""
        shards = tuple(
            msgspec.structs.replace(shard, epoch=epoch) for shard, epoch in zip(self.shards, epochs, strict=True)
        )
        return Generation(self.number, shards, self.ends)


def generation(number: int, count: int = 1, ends: tuple[int, ...] | None = None) -> Generation:
    """A generation of so many shards; raises ValueError for a number of shards that it cannot have."""
    if not 1 <= count <= (MAX_SHARDS if number else 1):
        raise ValueError(f"generation {number} cannot have {count} shards")
    if number == 0:
        return Generation(0, (ORIGINAL,), ends)
    shards = tuple(
        Shard(number, index, count, stream_name(number, index), f"{SHARDED_PREFIX}{number}.{index}.")
        for index in range(count)
    )
    return Generation(number, shards, ends)


def stream_name(number: int, index: int) -> str:
    """The name of a shard's stream."""
    return f"{ORIGINAL_STREAM}_{number}_{index}" if number else ORIGINAL_STREAM


@dataclass(frozen=True)
class Layout:
    """All generations that still exist, oldest first. The last is the current one; those before it are sealed."""

    generations: tuple[Generation, ...]

    @classmethod
    def of(cls, counts: Iterable[tuple[int, int]], ends: Mapping[int, tuple[int, ...]] | None = None) -> Layout:
        """A layout by the number of each generation and how many shards it has; `ends` by the numbers of those that are sealed."""
        ends = ends or {}
        return cls(tuple(generation(number, count, ends.get(number)) for number, count in counts))

    @cached_property
    def current(self) -> Generation:
        """The generation that takes new events."""
        return self.generations[-1]

    @cached_property
    def by_stream(self) -> dict[str, Shard]:
        """Every shard by the name of its stream."""
        return {shard.stream: shard for generation in self.generations for shard in generation.shards}

    @cached_property
    def by_epoch(self) -> dict[str, Shard]:
        """Every shard whose epoch is known, by that."""
        return {shard.epoch: shard for generation in self.generations for shard in generation.shards if shard.epoch}

    def generation(self, number: int) -> Generation | None:
        """A generation by its number; None where it does not exist any more, or not yet."""
        return next((found for found in self.generations if found.number == number), None)

    def after(self, generation: Generation) -> Generation:
        """The generation that follows one that is sealed."""
        return next(found for found in self.generations if found.number > generation.number)

    def shard_of(self, subject: str) -> Shard:
        """The shard that takes new events of a subject."""
        return self.current.shard_of(subject)

    def shards_of(self, patterns: Iterable[str]) -> tuple[Shard, ...]:
        """The shards of the current generation that may hold events of some patterns."""
        return self.current.shards_of(patterns)


# What an installation has that was never resharded.
FIRST = Layout.of([(0, 1)])


# 4,096 subjects: as many as a process publishes to again within a while.
@lru_cache(4096)
def partition(subject: str, count: int) -> int:
    """Which of so many shards takes a subject: what nats-server's `{{partition(count,1,2)}}` makes of its first two tokens.

    That is the 32-bit FNV-1a hash of the bytes of both tokens, without the dot between them, modulo the count.
    """
    domain, entity, *_ = subject.split(".", 2)
    value = _OFFSET
    for byte in (domain + entity).encode():
        value = ((value ^ byte) * _PRIME) & _MASK
    return value % count


def original_subject(stored: str) -> str:
    """The subject of an event from the one it is stored under, in any generation."""
    if stored.startswith(ORIGINAL_PREFIX):
        return stored[len(ORIGINAL_PREFIX) :]
    return stored.split(".", 3)[3]
