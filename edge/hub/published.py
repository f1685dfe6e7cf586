"""Makes the cursors of events that were just stored, from their acknowledgements alone."""

from __future__ import annotations

from collections.abc import Callable

from edge.hub.integrity import Integrity
from router.cursor import part_token, token, vector_token
from router.layout import ORIGINAL, Generation, Shard
from router.nats.stream import Ack
from router.position import Position

CheckOf = Callable[[int, Shard], int]


class PublishedCursors:
    """Cursors of what this process stores: in its own shard an event's place, in the others all that was received here."""

    def __init__(self, integrity: Integrity, check: CheckOf) -> None:
        """`check` is that of a place in a shard, UNKNOWN where it is not at hand."""
        self._integrity = integrity
        self._check = check
        # The parts of the cursor of a position: many events are stored before the next one is received.
        self._generation: Generation | None = None
        self._position: Position | None = None
        self._parts: list[str] = []

    def cursor(self, ack: Ack, check: int) -> str | None:
        """The cursor of an event whose bytes have this check; None where the store, or a new layout, has to be asked."""
        integrity = self._integrity
        layout = integrity.layout
        shard = None if ack.duplicate else layout.by_stream.get(ack.stream or ORIGINAL.stream)
        if shard is None or shard.generation != layout.current.number:
            return None
        if not shard.generation:
            return token(integrity.epoch, ack.sequence, check)
        position = integrity.position
        if position is not self._position or layout.current is not self._generation:
            if position.generation != shard.generation:
                return None
            self._begin(layout.current, position)
        parts = self._parts.copy()
        parts[shard.index] = part_token(shard.epoch, ack.sequence, check)
        return vector_token(parts)

    def _begin(self, generation: Generation, position: Position) -> None:
        self._generation, self._position = generation, position
        self._parts = [
            part_token(shard.epoch, sequence, self._check(sequence, shard))
            for shard, sequence in zip(generation.shards, position.sequences, strict=True)
        ]
