"""One number for the place of an event in any shard of EVENTS, for what names an event by its place in one field.

The place of an event of generation 0 is its sequence. Within a shard places are in the order of the sequences, and those of a later
generation are greater: so those of the events of one entity, which has one shard in each generation, are in the order of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from router.cursor import Cursor, VectorCursor
from router.layout import ORIGINAL, SHARDED_PREFIX, Shard, stream_name
from router.position import Position

# The number of a place. One less is the place before it in its shard.
PlaceNumber = NewType("PlaceNumber", int)
# Before the first event of all.
BEFORE_ALL = PlaceNumber(0)

# 44 bits for the sequence are 17 trillion events in one stream, 6 for the shard are the 64 of a generation (`MAX_SHARDS`).
_SEQUENCE_BITS, _INDEX_BITS = 44, 6
_SEQUENCE, _INDEX = (1 << _SEQUENCE_BITS) - 1, (1 << _INDEX_BITS) - 1


@dataclass(frozen=True, slots=True)
class EventPlace:
    """Where an event is: which shard of which generation, and its sequence there."""

    generation: int
    index: int
    sequence: int

    @property
    def stream(self) -> str:
        """The stream that has it."""
        return stream_name(self.generation, self.index)

    @property
    def shard(self) -> Shard:
        """Its shard, as far as a place tells: not of how many."""
        if not self.generation:
            return ORIGINAL
        return Shard(self.generation, self.index, 0, self.stream, f"{SHARDED_PREFIX}{self.generation}.{self.index}.")


def place_in(shard: Shard, sequence: int) -> PlaceNumber:
    """The number of a place in a shard."""
    if not shard.generation:
        # The short way for most: readers of runs compare the place of each event.
        return sequence  # type: ignore[return-value]
    return PlaceNumber((((shard.generation << _INDEX_BITS) | shard.index) << _SEQUENCE_BITS) | sequence)


def place_of(stream: str, sequence: int) -> PlaceNumber:
    """The number of a place in a stream of events; of any other stream its sequence."""
    _, _, rest = stream.partition("_")
    generation, _, index = rest.partition("_")
    if not (generation.isdecimal() and index.isdecimal() and stream == stream_name(int(generation), int(index))):
        return PlaceNumber(sequence)
    return PlaceNumber((((int(generation) << _INDEX_BITS) | int(index)) << _SEQUENCE_BITS) | sequence)


def cursor_at(place: EventPlace, epoch: str) -> Cursor | VectorCursor:
    """The cursor behind an event, in this life of its stream; of one in several shards it says nothing of the others."""
    found = Cursor(epoch, place.sequence)
    return VectorCursor((found,)) if place.generation else found


def sequence_of(place: int) -> int:
    """The sequence of a place in its shard."""
    return place & _SEQUENCE


def locate(place: int) -> EventPlace:
    """Where the event with the number of a place is."""
    shard = place >> _SEQUENCE_BITS
    return EventPlace(shard >> _INDEX_BITS, shard & _INDEX, place & _SEQUENCE)


def reached(place: int) -> Position:
    """A position that is reached by whoever has read up to a place in its shard. Of its other shards nothing is said."""
    found = locate(place)
    return Position(found.generation, (0,) * found.index + (found.sequence,))
