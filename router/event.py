"""Defines the event: an immutable fact with an id, a subject and a time."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from router.catalogue import Delivery, find_at
from router.errors import BadEvent
from router.event_types.declaration import TYPE_NAME
from router.subject import Subject

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,200}\Z")

is_type = TYPE_NAME.match
is_id = _ID.match

# The wire of SSE and of browsers' sockets gives these names a meaning of its own.
# A server event named `error` runs a page's onerror and has taken whole clients down.
WIRE_NAMES = frozenset({"error", "open", "message"})


class _Clock:
    """The state behind `new_id`: one counter a process, so that ids made in one millisecond still sort."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.last = 0

    def next(self) -> int:
        with self.lock:
            # 60 bits: milliseconds, then 12 bits that count up inside one millisecond (RFC 9562, 6.2, method 1).
            now = time.time_ns() // 1_000_000 << 12
            self.last = max(self.last + 1, now)
            return self.last


_clock = _Clock()


def new_id() -> str:
    """Makes a UUIDv7 (RFC 9562): sortable by time, strictly increasing within a process."""
    ticks = _clock.next()
    value = (ticks >> 12) << 80 | 0x7 << 76 | (ticks & 0xFFF) << 64 | 0x2 << 62
    value |= int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Event(msgspec.Struct, frozen=True, gc=False):
    """A fact that somebody published. `time` is ns since the epoch, UTC; `subject` has no wire prefix."""

    id: str
    type: str
    source: str
    subject: Subject
    time: int
    data: Mapping[str, Any] = {}
    key: str | None = None
    cause: str | None = None
    trace: str | None = None
    test: bool = False

    @classmethod
    def new(
        cls,
        subject: str,
        data: Mapping[str, Any] | None = None,
        *,
        type: str | None = None,
        source: str = "callboard",
        id: str | None = None,
        time_ns: int | None = None,
        key: str | None = None,
        cause: str | None = None,
        trace: str | None = None,
        test: bool = False,
    ) -> Event:
        """Makes an event from parts that may come from outside; raises BadEvent or BadSubject.

        The type is the last token of the subject where it is not given.
        """
        address = Subject.check(subject)
        kind = type if type is not None else address[address.rindex(".") + 1 :]
        if not isinstance(kind, str) or not is_type(kind):
            raise BadEvent(f"{str(kind)[:80]!r} is no event type: lower-case letters, digits and _, at most 64")
        if id is not None and (not isinstance(id, str) or not _ID.match(id)):
            raise BadEvent(f"{str(id)[:80]!r} is no event id: 1 to 200 of A-Z, a-z, 0-9, -, _, . and :")
        if data is not None and not isinstance(data, Mapping):
            raise BadEvent("data must be a map")
        return cls(
            id=id or new_id(),
            type=kind,
            source=source,
            subject=address,
            time=time_ns if time_ns is not None else time.time_ns(),
            data=data if data is not None else {},
            key=key,
            cause=cause,
            trace=trace,
            test=test,
        )

    @property
    def delivery(self) -> Delivery:
        """The class of its type; LOG for an event that ends its run, which no other may stand for."""
        declared = find_at(self.type, self.subject)
        if declared.terminal is not None and declared.ending(self.data) is not None:
            return Delivery.LOG
        return declared.delivery

    @property
    def partial(self) -> bool:
        """Whether it is a partial result: of an intermediate type, and not the end of its run."""
        declared = find_at(self.type, self.subject)
        return declared.intermediate and declared.ending(self.data) is None

    @property
    def conflation_key(self) -> str:
        """What LATEST events supersede one another by: the publisher's key, else the subject with the type's key fields."""
        if self.key:
            return self.key
        declared = find_at(self.type, self.subject)
        if not declared.key:
            return self.subject
        return "\0".join((self.subject, *map(str, declared.key_of(self.data))))
