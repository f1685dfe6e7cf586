"""Makes the record of an event that a webhook is sent, with the cursor of its place."""

from __future__ import annotations

from router.cursor import Cursor, VectorCursor, shard_epoch, token
from router.event_place import locate
from router.position import Position, of_one
from router.record import Record


def event_record(place: int, subject: str, payload: bytes, epoch: str | None = None) -> Record:
    """The record of the event at a place; its bytes need not be those that are stored there.

    Without an `epoch`, that of the event's stream, the cursor is made by who shows the record, as where all events are in one stream.
    The cursor of an event in one of several shards says nothing of the others: who begins there reads those from their beginning.
    """
    where = locate(place)
    record = Record(where.sequence, subject, payload, shard=where.shard)
    if where.generation:
        part = Cursor(epoch or shard_epoch(where.generation, where.index), where.sequence, record.check)
        record.place(Position(where.generation, ()), str(VectorCursor((part,))))
    elif epoch is not None:
        record.place(of_one(where.sequence), token(epoch, where.sequence, record.check))
    return record
