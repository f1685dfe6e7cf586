"""Makes the cursors of events that were just stored, from their acknowledgements alone."""

from __future__ import annotations

from edge.hub.integrity import Integrity
from router.cursor import Blocks, token
from router.layout import ORIGINAL, Generation
from router.nats.stream import Ack
from router.place import cursor_of
from router.position import Position


class PublishedCursors:
    """Cursors of what this process stores: in its own shard an event's place, in the others all that was received here."""

    def __init__(self, integrity: Integrity) -> None:
        self._integrity = integrity
        # The blocks of the cursor of a position: many events are stored before the next one is received.
        self._generation: Generation | None = None
        self._position: Position | None = None
        self._blocks: Blocks | None = None

    def cursor(self, ack: Ack, check: int) -> str | None:
        """The cursor of an event whose bytes have this check; None where the store, or a new layout, has to be asked."""
        integrity = self._integrity
        layout = integrity.layout
        shard = None if ack.duplicate else layout.by_stream.get(ack.stream or ORIGINAL.stream)
        if shard is None or shard.generation != layout.current.number:
            return None
        if not shard.generation:
            return token(integrity.epoch, ack.sequence, check)
        position, current = integrity.position, layout.current
        if position.generation != shard.generation:
            return None
        if self._blocks is None or position is not self._position or current is not self._generation:
            self._generation, self._position = current, position
            places = zip((each.epoch for each in current.shards), position.sequences, strict=True)
            self._blocks = Blocks(current.number, 0, list(places))
        # An event whose copy was received before its acknowledgement may lie before the position, and have fewer digits.
        if self._blocks.fits(ack.sequence) and ack.sequence >= position.sequences[shard.index]:
            return self._blocks.at(shard.index, ack.sequence, check)
        return str(cursor_of(position.at(shard, ack.sequence), current.epoch, (shard.index, check)))
