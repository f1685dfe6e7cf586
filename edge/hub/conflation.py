"""Conflates events: leaves out those that a newer one replaces, without making the cursor wrong.

Only events of the class `latest` are superseded (by the next of the same key) and only neighbours of the class `append` are
joined; the order of what remains is the stream's, and the last event keeps its sequence. So a cursor goes on meaning
"everything up to here was written or superseded". Where the type declares reducers, the event that stays has what the superseded
ones amount to: the sum of their deltas, say (`router.reduce`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from router.catalogue import Delivery, find
from router.codec import encode
from router.event import Event
from router.record import Record
from router.reduce import merge

# 64 kB: past this a joined text is written as it is and the next begins anew.
MAX_JOINED = 64 * 1024


def conflate(records: list[Record]) -> list[Record]:
    """Leaves out what is superseded and joins neighbouring deltas; each result says how many events it stands for."""
    windows: dict[_Key, _Window] = {}
    keys: list[_Key | None] = [_key(record) for record in records]
    for key, record in zip(keys, records, strict=True):
        if key is not None:
            windows.setdefault(key, _Window()).add(record)
    kept: list[Record] = []
    for key, record in zip(keys, records, strict=True):
        event = record.event
        if event is None:
            continue
        if key is not None:
            if windows[key].newest is record:
                kept.append(windows[key].standing())
        elif event.delivery is Delivery.APPEND and kept and (joined := _join(kept[-1], record)) is not None:
            kept[-1] = joined
        else:
            kept.append(record)
    return kept


# What events supersede one another by; those of a type with reducers only where type and kind are the same.
_Key = tuple[str, str, bool]


def _key(record: Record) -> _Key | None:
    """What an event is superseded by; None for one that always stays."""
    event = record.event
    if event is None or event.delivery is not Delivery.LATEST:
        return None
    reduced = bool(find(event.type, event.subject.domain).reduce)
    return event.conflation_key, event.type if reduced else "", event.test and reduced


class _Window:
    """The events of one key: the newest, how many it stands for, and what their data amount to."""

    __slots__ = ("_count", "_data", "newest")

    def __init__(self) -> None:
        self._count = 0
        self._data: Mapping[str, Any] | None = None
        self.newest: Record | None = None

    def add(self, record: Record) -> None:
        event = record.event
        assert event is not None
        if self.newest is not None and (reducers := find(event.type, event.subject.domain).reduce):
            before = self.newest.event
            assert before is not None
            self._data = merge(reducers, before.data if self._data is None else self._data, event.data)
        self._count += 1 + record.superseded
        self.newest = record

    def standing(self) -> Record:
        """The newest record, for all of them. Records are shared and may not be changed: it is a copy where it says more."""
        newest = self.newest
        assert newest is not None
        superseded = self._count - 1
        if superseded == newest.superseded:
            return newest
        payload = None
        if self._data is not None:
            assert newest.event is not None
            payload = encode(msgspec.structs.replace(newest.event, data=self._data))
        return newest.standing_for(superseded, payload)


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
    return second.standing_for(superseded, encode(joined))
