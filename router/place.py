"""Finds where a client's cursor leads: a position in EVENTS as it is now, and what the client cannot have any more."""

from __future__ import annotations

from typing import NamedTuple

from router.cursor import FOREIGN, UNKNOWN, Cursor, VectorCursor, shard_epoch
from router.events_state import EventsState
from router.layout import Generation
from router.position import Position


class Gap(NamedTuple):
    """What a reader asked for and cannot have any more: from the first to the last event of each shard, both ends lost.

    Where a shard has lost none, both are where the reader stands in it. `reset` says another life of a stream.
    """

    first: Position
    last: Position
    reset: bool


class Place(NamedTuple):
    """Where a reader begins: everything up to and with `after` is behind it."""

    after: Position
    gap: Gap | None


def place_of(cursor: Cursor | VectorCursor, state: EventsState) -> Place:
    """Where a client's cursor leads."""
    by_epoch = state.layout.by_epoch
    known = [by_epoch[part.epoch] for part in cursor.parts if part.epoch in by_epoch]
    generation = state.layout.generation(max((shard.generation for shard in known), default=-1))
    if generation is None or 2 * len(known) < len(cursor.parts):
        # The sequences of another life say nothing here: all that is kept is news to this client. Epochs of shards are short, so
        # one that fits among many that do not may do so by chance.
        return Place(state.begin, Gap(_nowhere(state.begin), state.begin, reset=True))
    begin, last = state.begin_of(generation.number).sequences, state.last_of(generation.number).sequences
    after, first = list(begin), list(begin)
    lost = reset = False
    for index, part in _parts(cursor, generation):
        if part is None or part.sequence > last[index]:
            # A place past the end is of another life, too: an older state was restored, and what was stored since then may already
            # lie before that place.
            lost, reset, first[index] = True, True, 0
        elif part.sequence < begin[index]:
            lost, first[index] = True, part.sequence + 1
        else:
            after[index] = first[index] = part.sequence
    place = Position(generation.number, tuple(after))
    return Place(place, Gap(Position(generation.number, tuple(first)), place, reset) if lost else None)


def _parts(cursor: Cursor | VectorCursor, generation: Generation) -> list[tuple[int, Cursor | None]]:
    """The part of each shard that a cursor has one of, None where that is of another life; shards it has none of are left out."""
    parts = {part.epoch: part for part in cursor.parts}
    found: list[tuple[int, Cursor | None]] = [
        (shard.index, parts.pop(shard.epoch)) for shard in generation.shards if shard.epoch in parts
    ]
    there = {index for index, _ in found}
    if parts:
        found += [(shard.index, None) for shard in generation.shards if shard.index not in there]
    return found


def _nowhere(position: Position) -> Position:
    return Position(position.generation, (0,) * len(position.sequences))


def foreign(cursor: Cursor | VectorCursor) -> Cursor:
    """A cursor at whose places the streams hold other events is worth as much as one of other streams."""
    return Cursor(FOREIGN, cursor.parts[0].sequence)


def cursor_of(position: Position, epoch: str, own: tuple[int, int] | None = None) -> Cursor | VectorCursor:
    """The cursor of a position in one life of its generation (`Generation.epoch`).

    `own` is the index of the shard that holds the newest event up to there, and its check, if they are known.
    """
    generation, sequences = position.generation, position.sequences
    epochs = epoch.split(",")
    if len(epochs) != len(sequences):
        epochs = [shard_epoch(generation, index) if generation else FOREIGN for index in range(len(sequences))]
    parts = tuple(
        Cursor(epoch, sequence, own[1] if own is not None and own[0] == index else UNKNOWN)
        for index, (epoch, sequence) in enumerate(zip(epochs, sequences, strict=True))
    )
    return VectorCursor(parts) if generation else parts[0]
