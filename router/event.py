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


# 2 kB, enough for 256 ids: to ask the system for eight bytes takes longer than all else that an id takes.
_RANDOM_BYTES = 2048
# The first hexadecimal digit of the random part, with the variant of RFC 9562 in its upper two bits.
_VARIANT = {f"{digit:x}": "89ab"[digit & 3] for digit in range(16)}


class _IdSource:
    """The state behind `new_id`: one counter a process, so that ids made in one millisecond still sort, and random digits."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.last = 0
        self.forget()
        # A child would make its ids of the same digits as its parent.
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Drops the random digits that are left."""
        self._digits: list[str] = []

    def next(self) -> tuple[int, str]:
        """The next count, and sixteen random hexadecimal digits that no other id gets."""
        with self.lock:
            # 60 bits: milliseconds, then 12 bits that count up inside one millisecond (RFC 9562, 6.2, method 1).
            now = time.time_ns() // 1_000_000 << 12
            self.last = last = now if now > self.last else self.last + 1
            if not self._digits:
                digits = os.urandom(_RANDOM_BYTES).hex()
                self._digits = [digits[at : at + 16] for at in range(0, len(digits), 16)]
            return last, self._digits.pop()


_ids = _IdSource()


def new_id() -> str:
    """Makes a UUIDv7 (RFC 9562): sortable by time, strictly increasing within a process."""
    ticks, random = _ids.next()
    count = f"{ticks:015x}"
    return f"{count[:8]}-{count[8:12]}-7{count[12:]}-{_VARIANT[random[0]]}{random[1:4]}-{random[4:]}"


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
        # Most are a dict; to ask whether a class is registered as Mapping takes longer.
        if data is not None and not isinstance(data, (dict, Mapping)):
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
