"""Places events in the order in which they are read: the position after each, and the cursor of a client that has it."""

from __future__ import annotations

from router.checks import Checks
from router.cursor import part_token, token, vector_token
from router.layout import Layout
from router.position import Position
from router.record import Record


class Trail:
    """A position that moves on with each event. What it says of one holds for all who come from the same position."""

    __slots__ = ("_layout", "_parts", "position")

    def __init__(self, position: Position, layout: Layout, checks: Checks) -> None:
        self.position = position
        self._layout = layout
        self._parts = _parts(position, layout, checks)

    def add(self, record: Record) -> None:
        """Places the next event. Nobody may have it yet."""
        index, parts = record.shard.index, self._parts
        if parts is None:
            # A record of the only stream makes its cursor by itself, once somebody asks for it.
            self.position = position = Position(0, (record.sequence,))
            record.place(position)
            return
        self.position = position = self.position.after(record)
        # With its epoch, which is not known where it is read.
        record.shard = shard = self._layout.by_stream[record.shard.stream]
        if shard.generation == 0:
            record.place(position, token(shard.epoch, record.sequence, record.check))
            return
        parts[index] = part_token(shard.epoch, record.sequence, record.check)
        record.place(position, vector_token(parts))


def _parts(position: Position, layout: Layout, checks: Checks) -> list[str] | None:
    generation = layout.generation(position.generation)
    if generation is None or layout.current.number == 0:
        return None
    return [
        part_token(shard.epoch, sequence, checks.known(sequence, shard))
        for shard, sequence in zip(generation.shards, position.sequences, strict=True)
    ]
