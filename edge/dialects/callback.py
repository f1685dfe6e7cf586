"""Encodes an event in the shape of the callback guide, the default of every session.

`{"id","event_type","subject","source","timestamp","data","cursor"}`, and `key`, `cause`, `test` where the event has them,
`conflated` where it stands for that many older ones.
Nothing in it depends on the session, so that one encoding serves every reader.
"""

from __future__ import annotations

from typing import Any

from edge.dialects.dialect import SharedDialect
from router.codec import rfc3339, to_json
from router.record import Record


def callback(record: Record, epoch: str) -> bytes:
    """The event as one JSON object in UTF-8, without a line break. The record's bytes must decode."""
    made: bytes | None = record.encoded.get("callback")
    if made is None:
        event = record.event
        assert event is not None
        shape: dict[str, Any] = {
            "id": event.id,
            "event_type": event.type,
            "subject": record.subject,
            "source": event.source,
            "timestamp": rfc3339(event.time),
            "data": event.data,
            "cursor": record.cursor(epoch),
        }
        if event.key is not None:
            shape["key"] = event.key
        if event.cause is not None:
            shape["cause"] = event.cause
        if event.test:
            shape["test"] = True
        if record.superseded:
            shape["conflated"] = record.superseded
        made = record.encoded["callback"] = to_json(shape)
    return made


CALLBACK = SharedDialect(name="callback", encode=callback, for_sessions=True, tells_period=True)
