"""This file is where an event becomes bytes: msgpack on NATS, JSON toward people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgpack
import msgspec

from router.errors import BadEvent, BadSubject
from router.event import Event
from router.subject import Subject

# 64 levels: deeper than any data a person made, shallower than any parser's stack.
MAX_DEPTH = 64


def encode(event: Event) -> bytes:
    """Packs an event for NATS. Raises BadEvent for data that msgpack cannot hold."""
    record: dict[str, Any] = {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "time": event.time,
        "data": event.data,
    }
    for name in ("key", "cause", "trace"):
        if (value := getattr(event, name)) is not None:
            record[name] = value
    if event.test:
        record["test"] = True
    try:
        return msgpack.packb(record, use_bin_type=True, datetime=True, default=_extension)  # type: ignore[no-any-return]
    except (TypeError, ValueError, OverflowError, RecursionError) as fault:
        raise BadEvent(f"data cannot be packed: {fault}") from None


def _extension(value: object) -> object:
    """What another producer packed as an extension goes out as it came in."""
    if isinstance(value, msgspec.msgpack.Ext):
        return msgpack.ExtType(value.code, bytes(value.data))
    raise TypeError(f"{type(value).__name__} has no form in msgpack")


class _Packed(msgspec.Struct, gc=False):
    """What lies on NATS: the fields that must be there are checked, of the others what is no text is passed over."""

    id: str
    type: str
    source: str
    subject: str
    time: int
    data: dict[Any, Any] = {}
    key: Any = None
    cause: Any = None
    trace: Any = None
    test: Any = False


# Compiled once: a third of a microsecond an event, where unpacking to a map and looking into it took six.
_unpack = msgspec.msgpack.Decoder(_Packed).decode


def decode(payload: bytes) -> Event:
    """Unpacks an event from NATS. Raises BadEvent; unknown fields are passed over."""
    try:
        packed = _unpack(payload)
        return Event(
            packed.id,
            packed.type,
            packed.source,
            Subject.check(packed.subject),
            packed.time,
            packed.data,
            packed.key if isinstance(packed.key, str) else None,
            packed.cause if isinstance(packed.cause, str) else None,
            packed.trace if isinstance(packed.trace, str) else None,
            packed.test is True,
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError, OverflowError) as fault:
        raise BadEvent(f"not a msgpack event: {fault}") from None
    except BadSubject as fault:
        raise BadEvent(str(fault)) from None


def _foreign(value: object) -> object:
    return str(value)


_json = msgspec.json.Encoder(enc_hook=_foreign)


def to_json(value: object) -> bytes:
    """Writes JSON; bytes become base64, NaN and infinities null, foreign objects their text."""
    try:
        return _json.encode(value)
    except TypeError:
        # msgpack maps may have keys that JSON objects cannot (msgspec takes str, int and float).
        return _json.encode(_plain(value))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def from_json(payload: bytes | str) -> Any:
    """Reads JSON. Raises BadEvent with the place of the fault."""
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise BadEvent(f"not JSON: {fault}") from None


def check_depth(value: object, limit: int = MAX_DEPTH) -> None:
    """Raises BadEvent for data nested deeper than any reader should have to follow."""
    level: list[object] = [value]
    for _ in range(limit):
        inner: list[object] = []
        for item in level:
            if isinstance(item, Mapping):
                inner.extend(item.values())
            elif isinstance(item, (list, tuple)):
                inner.extend(item)
        if not inner:
            return
        level = inner
    raise BadEvent(f"data is nested deeper than {limit} levels")


def rfc3339(time_ns: int) -> str:
    """Writes a time as RFC 3339 UTC with microseconds: `2026-11-21T03:42:00.123456Z`."""
    return f"{_second(time_ns // 1_000_000_000)}.{time_ns // 1000 % 1_000_000:06d}Z"


# The events of one second share most of their time; a calendar is slow.
@lru_cache(256)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
