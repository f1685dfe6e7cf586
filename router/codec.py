"""Events as bytes: msgpack on NATS, JSON for clients.

`decode` is the one law of what an event is, and of what the data of a known type are (`router/catalogue.py`). Whatever it
returns can be written as JSON, filtered, compared and shown, so that no loop over records fails on one of them; all else
raises BadEvent. `encode` applies the same law to what it packed:
no event is published that a reader could not decode. ADR 0015 says what becomes of dates, ext types and map keys.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any

import msgpack
import msgspec

from router.catalogue import find_at
from router.errors import BadEvent, BadInput
from router.event import Event, is_id, is_type
from router.subject import Subject

# 64 levels: deeper than any data a person made, shallower than any parser's stack.
MAX_DEPTH = 64
# Characters of `source`, `key`, `cause` and `trace`: they are copied into headers, subjects and logs.
MAX_FIELD = 1024
# The years 1 to 9999: others neither datetime nor RFC 3339 can say.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799

# What msgspec raises for bytes that are no event: its own errors; UnicodeDecodeError, and a plain ValueError for a timestamp
# that rounds up into the year 10000; TypeError for map keys that cannot be hashed; and what hostile nesting or sizes cause.
DECODE_FAULTS = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError, MemoryError)


def encode(event: Event) -> bytes:
    """Packs an event for NATS. Raises BadEvent for data that msgpack cannot hold, or that `decode` would refuse."""
    return encode_checked(event)[0]


def encode_checked(event: Event) -> tuple[bytes, Event]:
    """As `encode`, and the event as all who decode these bytes have it."""
    record: dict[str, Any] = {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "time": event.time,
        "data": event.data,
    }
    if event.key is not None:
        record["key"] = event.key
    if event.cause is not None:
        record["cause"] = event.cause
    if event.trace is not None:
        record["trace"] = event.trace
    if event.test:
        record["test"] = True
    try:
        packed: bytes = msgpack.packb(record, use_bin_type=True, datetime=True, default=_extension)
    except (TypeError, ValueError, OverflowError, RecursionError) as fault:
        raise BadEvent(f"data cannot be packed: {fault}") from None
    return packed, decode(packed)


def _extension(value: object) -> object:
    """What another producer packed as an extension goes out as it came in."""
    if isinstance(value, msgspec.msgpack.Ext):
        return msgpack.ExtType(value.code, bytes(value.data))
    raise TypeError(f"{type(value).__name__} has no form in msgpack")


class _Packed(msgspec.Struct, gc=False):
    """What lies on NATS: the fields that must be there are checked, of the others what is no text is passed over."""

    id: str
    type: str
    source: Annotated[str, msgspec.Meta(max_length=MAX_FIELD)]
    subject: str
    # An int of msgpack ends in the year 2554, as ns; so every time from 1970 on can be written.
    time: Annotated[int, msgspec.Meta(ge=0)]
    data: dict[Any, Any] = {}
    key: Any = None
    cause: Any = None
    trace: Any = None
    test: Any = False


def _plain_data(levels: int) -> Any:
    """The type of data that JSON has too, with maps and lists nested in so many levels; their keys are texts."""
    scalar = str | int | float | bool | None
    plain: Any = scalar
    for _ in range(levels):
        plain = scalar | list[plain] | dict[str, plain]
    return dict[str, plain]


# msgspec checks these types while it unpacks, at no cost to be measured; a look at each container afterwards takes as long as
# the unpacking. Data with bytes, timestamps, other keys or deeper levels are unpacked once more, and looked at then.
_Plain = msgspec.defstruct("_Plain", [("data", _plain_data(8), {})], bases=(_Packed,), gc=False)
# Compiled once: a third of a microsecond an event, where unpacking to a map and looking into it took six.
_unpack_plain: Callable[[bytes], _Packed] = msgspec.msgpack.Decoder(_Plain).decode  # type: ignore[assignment]
_unpack_any = msgspec.msgpack.Decoder(_Packed).decode
# Types that were found right; forgotten all at once.
MAX_TYPES = 1000
_types: set[str] = set()


def decode(payload: bytes) -> Event:
    """Unpacks an event from NATS and checks its data against its type.

    Raises BadEvent, for data that are not of a known type BadData, and nothing else; unknown fields are passed over.
    """
    event = unpack(payload)
    declared = find_at(event.type, event.subject)
    if declared.schema is not None:
        declared.check(event.data)
    return event


def unpack(payload: bytes) -> Event:
    """Unpacks an event, and takes its data whatever its type. Raises BadEvent, and nothing else."""
    try:
        try:
            packed = _unpack_plain(payload)
        except msgspec.ValidationError:
            packed = _unpack_any(payload)
            _check_data(packed.data)
        event = Event(
            packed.id,
            packed.type,
            packed.source,
            Subject.check(packed.subject),
            packed.time,
            packed.data,
            _text(packed.key, "key") if packed.key is not None else None,
            _text(packed.cause, "cause") if packed.cause is not None else None,
            _text(packed.trace, "trace") if packed.trace is not None else None,
            packed.test is True,
        )
    except BadInput as fault:
        raise BadEvent(str(fault)) from None
    except DECODE_FAULTS as fault:
        if payload[:64].lstrip()[:1] in (b"{", b"["):
            raise BadEvent("not a msgpack event: it looks like JSON, and events on NATS are msgpack") from None
        raise BadEvent(f"not a msgpack event: {fault}") from None
    if not is_id(event.id):
        raise BadEvent(f"{event.id[:80]!r} is no event id: 1 to 200 of A-Z, a-z, 0-9, -, _, . and :")
    if event.type not in _types:
        _check_type(event.type)
    return event


def _check_type(kind: str) -> None:
    if not is_type(kind):
        raise BadEvent(f"{kind[:80]!r} is no event type: lower-case letters, digits and _, at most 64")
    if len(_types) >= MAX_TYPES:
        _types.clear()
    _types.add(kind)


def _text(value: object, field: str) -> str | None:
    if not isinstance(value, str):
        return None
    if len(value) > MAX_FIELD:
        raise BadEvent(f"{field} has more than {MAX_FIELD} characters")
    return value


_CONTAINERS = frozenset((dict, list))
_SCALARS = frozenset((str, int, float, bool, type(None)))
_KEYS = frozenset((str, int, float, bool, type(None), bytes, datetime))


def _check_data(data: dict[Any, Any]) -> None:
    """Raises BadEvent for decoded data nested too deep, or with map keys that have no text in JSON."""
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            values = item
            if type(item) is dict:
                if not _KEYS.issuperset(map(type, item)):
                    raise BadEvent("a map's key must be a text, a number, true, false, null, bytes or a timestamp")
                values = item.values()
            # Most maps and lists hold no others: to ask for all at once is faster than to go through them.
            if not _CONTAINERS.isdisjoint(map(type, values)):
                inner += [value for value in values if type(value) in _CONTAINERS]
        if not inner:
            return
        level = inner
    raise BadEvent(f"data is nested deeper than {MAX_DEPTH} levels")


def _foreign(value: object) -> object:
    """The JSON form of what JSON does not know: an ext type is `{"$ext": <its number>, "data": <base64>}`."""
    if isinstance(value, (msgspec.msgpack.Ext, msgpack.ExtType)):
        return {"$ext": value.code, "data": b64encode(bytes(value.data)).decode()}
    if isinstance(value, msgpack.Timestamp):
        return f"{value.seconds}.{value.nanoseconds:09d}"
    if value is None or isinstance(value, bool):  # a map's key; as a value JSON knows them
        return "null" if value is None else str(value).lower()
    kind = type(value)
    if kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        return f"<{kind.__qualname__}>"  # without the address in memory, which no two processes share
    return str(value)


_json = msgspec.json.Encoder(enc_hook=_foreign)
# A decoder that is kept takes half the time of one made for each call.
_from_json = msgspec.json.Decoder().decode


def to_json(value: object) -> bytes:
    """Writes JSON; bytes become base64, NaN and infinities null, ext types a map (see `_foreign`), other objects their text."""
    try:
        return _json.encode(value)
    except TypeError:
        # msgpack maps may have keys that JSON objects cannot (msgspec takes str, int and float).
        return _json.encode(_plain(value))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _key(key: object) -> str:
    """A map's key as JSON has it."""
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, (bool, bytes, datetime)):
        return _json.encode(key).decode().strip('"')
    return str(key)


def from_json(payload: bytes | str) -> Any:
    """Reads JSON. Raises BadEvent with the place of the fault."""
    try:
        return _from_json(payload)
    except DECODE_FAULTS as fault:
        raise BadEvent(f"not JSON: {fault}") from None


def check_depth(value: object, limit: int = MAX_DEPTH) -> None:
    """Raises BadEvent for data nested deeper than any reader should have to follow."""
    # Most data are a map of plain values; to ask for all at once is faster than to go through them.
    if type(value) is dict and limit > 1 and _SCALARS.issuperset(map(type, value.values())):
        return
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
    """Writes a time as RFC 3339 UTC with microseconds: `2026-11-21T03:42:00.123456Z`.

    A time outside the years 1 to 9999 is written as the nearest second in them: showing one must never fail.
    """
    return f"{_second(time_ns // 1_000_000_000)}.{time_ns // 1000 % 1_000_000:06d}Z"


# The events of one second share most of their time; a calendar is slow.
@lru_cache(256)
def _second(seconds: int) -> str:
    within = max(_FIRST_SECOND, min(seconds, _LAST_SECOND))
    # Not strftime, which writes the year 1 as `1`.
    return datetime.fromtimestamp(within, UTC).isoformat()[:19]
