"""Places events in the order in which they are read: the position after each, and the cursor of a client that has it."""

from __future__ import annotations

from router.cursor import Blocks, token
from router.layout import Layout
from router.position import Position
from router.record import Record


class Trail:
    """A position that moves on with each event. What it says of one holds for all who come from the same position."""

    __slots__ = ("_blocks", "_layout", "position")

    def __init__(self, position: Position, layout: Layout) -> None:
        self.position = position
        self._layout = layout
        self._blocks = None if layout.current.number == 0 else _blocks(position, layout)

    def add(self, record: Record) -> None:
        """Places the next event. Nobody may have it yet."""
        if self._layout.current.number == 0:
            # A record of the only stream makes its cursor by itself, once somebody asks for it.
            self.position = position = Position(0, (record.sequence,))
            record.place(position)
            return
        former = self.position
        self.position = position = former.after(record)
        # With its epoch, which is not known where it is read.
        record.shard = shard = self._layout.by_stream[record.shard.stream]
        if shard.generation == 0:
            record.place(position, token(shard.epoch, record.sequence, record.check))
            return
        blocks, sequence = self._blocks, record.sequence
        if position is former:
            # Read before: the cursor is that of how far everything was read.
            record.place(position, str(blocks))
            return
        if blocks is not None and blocks.generation == position.generation and blocks.fits(sequence):
            blocks.move(shard.index, sequence)
        else:
            self._blocks = blocks = _blocks(position, self._layout)
        assert blocks is not None
        record.place(position, blocks.checked(shard.index, record.check))


def _blocks(position: Position, layout: Layout) -> Blocks | None:
    generation = layout.generation(position.generation)
    if generation is None or generation.number == 0:
        return None
    places = zip((shard.epoch for shard in generation.shards), position.sequences, strict=True)
    return Blocks(generation.number, 0, list(places))
