"""Says which position and which cursor the place of an event is, under the layout that this process serves its readers by."""

from __future__ import annotations

from collections.abc import Iterable

from edge.hub.integrity import Integrity
from router.cursor import Cursor, VectorCursor
from router.event_place import BEFORE_ALL, PlaceNumber, locate, place_in
from router.layout import Generation
from router.place import cursor_of
from router.position import Position, end


class EventPlaces:
    """The places of events as positions and cursors, for readers of one entity or of few."""

    def __init__(self, integrity: Integrity) -> None:
        self._integrity = integrity

    def position(self, place: PlaceNumber) -> Position:
        """Up to a place in its shard, and in the other shards all that was received here.

        Of a generation that was deleted it is the position before the oldest event that is kept, of one that this process does not
        know yet up to where it has received.
        """
        integrity, found = self._integrity, locate(place)
        generation = integrity.layout.generation(found.generation)
        if generation is None:
            return integrity.begin if found.generation < integrity.layout.current.number else integrity.position
        last = end(generation) or integrity.position
        return last.at(generation.shards[found.index], found.sequence)

    def cursor(self, place: PlaceNumber) -> Cursor | VectorCursor:
        """The cursor of a place, without checks, for readers of its entity alone."""
        position = self.position(place)
        generation = self._integrity.layout.generation(position.generation)
        return cursor_of(position, generation.epoch if generation is not None else "")

    def cursor_in(self, subject: str, position: Position) -> Cursor | VectorCursor:
        """The cursor of those who read the entity of a subject alone, and have read it up to a position."""
        generation = self._integrity.layout.generation(position.generation)
        if generation is None:
            return self.cursor(BEFORE_ALL)
        shard = generation.shard_of(subject)
        return self.cursor(place_in(shard, position.of(shard)))

    def read(self, subject: str, cursor: Cursor | VectorCursor) -> PlaceNumber | None:
        """Up to which place a cursor says that the entity of a subject was read; None for one of other lives of the streams."""
        generation = self._generation(cursor)
        if generation is None:
            return None
        shard = generation.shard_of(subject)
        # Of a shard that it does not name nothing was read.
        return place_in(shard, next((part.sequence for part in cursor.parts if part.epoch == shard.epoch), 0))

    def _generation(self, cursor: Cursor | VectorCursor) -> Generation | None:
        layout = self._integrity.layout
        known = [layout.by_epoch[part.epoch].generation for part in cursor.parts if part.epoch in layout.by_epoch]
        return layout.generation(max(known)) if known else None

    def narrowed(self, position: Position, patterns: Iterable[str]) -> Position:
        """A position in the shards that may hold events under some patterns, and the beginning of the others.

        Who reads nothing else reaches it once all of these events were read.
        """
        generation = self._integrity.layout.generation(position.generation)
        if generation is None or len(generation.shards) == 1:
            return position
        read = {shard.index for shard in generation.shards_of(patterns)}
        return Position(
            position.generation,
            tuple(sequence if index in read else 0 for index, sequence in enumerate(position.sequences)),
        )
