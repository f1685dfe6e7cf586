"""This file is where an event becomes bytes: msgpack on NATS, JSON toward people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
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
        return msgpack.packb(record, use_bin_type=True)  # type: ignore[no-any-return]
    except (TypeError, ValueError, OverflowError, RecursionError) as fault:
        raise BadEvent(f"data cannot be packed: {fault}") from None


def decode(payload: bytes) -> Event:
    """Unpacks an event from NATS. Raises BadEvent; unknown fields are passed over."""
    try:
        record = msgpack.unpackb(payload, raw=False, strict_map_key=False, timestamp=0)
    except (ValueError, msgpack.UnpackException, RecursionError) as fault:
        raise BadEvent(f"not a msgpack event: {fault}") from None
    match record:
        case {"id": str(id), "type": str(kind), "source": str(source), "subject": str(subject), "time": int(time)}:
            data = record.get("data", {})
            if not isinstance(data, dict):
                raise BadEvent("data must be a map")
            try:
                address = Subject.check(subject)
            except BadSubject as fault:
                raise BadEvent(str(fault)) from None
            return Event(
                id=id,
                type=kind,
                source=source,
                subject=address,
                time=time,
                data=data,
                key=_text(record, "key"),
                cause=_text(record, "cause"),
                trace=_text(record, "trace"),
                test=record.get("test") is True,
            )
    raise BadEvent("an event on NATS needs id, type, source, subject and time")


def _text(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    return value if isinstance(value, str) else None


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
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns // 1000 % 1_000_000:06d}Z"
