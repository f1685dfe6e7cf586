"""Conflates events: leaves out those that a newer one replaces, without making the cursor wrong.

Only events of the class `latest` are superseded (by the next of the same key) and only neighbours of the class `append` are
joined; the order of what remains is the stream's, and the last event keeps its sequence. So a cursor goes on meaning
"everything up to here was written or superseded".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from router.catalogue import Delivery, find
from router.codec import encode
from router.event import Event
from router.record import Record

# 64 kB: past this a joined text is written as it is and the next begins anew.
MAX_JOINED = 64 * 1024


def conflate(records: list[Record]) -> list[Record]:
    """Leaves out what is superseded and joins neighbouring deltas; each result says how many events it stands for."""
    newest: dict[str, int] = {}
    for place, record in enumerate(records):
        event = record.event
        if event is not None and event.delivery is Delivery.LATEST:
            newest[event.conflation_key] = place
    stands_for: dict[str, int] = {}
    kept: list[Record] = []
    for place, record in enumerate(records):
        event = record.event
        if event is None:
            continue
        if event.delivery is Delivery.LATEST:
            key = event.conflation_key
            stands_for[key] = stands_for.get(key, 0) + 1 + record.superseded
            if newest[key] != place:
                continue
            kept.append(_standing(record, stands_for[key] - 1))
        elif event.delivery is Delivery.APPEND and kept and (joined := _join(kept[-1], record)) is not None:
            kept[-1] = joined
        else:
            kept.append(record)
    return kept


def _standing(record: Record, superseded: int) -> Record:
    if superseded == record.superseded:
        return record
    # A record is shared and may not be changed; this one is for this reader alone.
    return Record(record.sequence, record.subject, record.payload, record.previous, superseded, record.check)


def _join(first: Record, second: Record) -> Record | None:
    """Two neighbouring deltas of one text as one; None where they are not that."""
    one, other = first.event, second.event
    if one is None or other is None or one.delivery is not Delivery.APPEND:
        return None
    if (one.subject, one.type, one.test) != (other.subject, other.type, other.test):
        return None
    if one.conflation_key != other.conflation_key:
        return None
    name = find(one.type, one.subject.domain).text_field(one.data)
    if name is None or not isinstance(other.data.get(name), str):
        return None
    text = one.data[name] + other.data[name]
    if len(text) > MAX_JOINED:
        return None
    data: Mapping[str, Any] = {**other.data, name: text}
    joined: Event = msgspec.structs.replace(other, data=data)
    superseded = first.superseded + second.superseded + 1
    return Record(second.sequence, second.subject, encode(joined), second.previous, superseded, second.check)
