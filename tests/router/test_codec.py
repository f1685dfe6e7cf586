"""What may lie on NATS as an event: dates, ext types, keys and depth; `decode` raises BadEvent and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.codec import MAX_DEPTH, MAX_FIELD, decode, encode, from_json, rfc3339, to_json
from router.errors import BadEvent
from router.event import Event
from router.filter import Filter
from tests.fuzz import mutated_events

LAST_SECOND = 253_402_300_799
# Half a microsecond before the year 10000: .NET's "never", and the maximum of protobuf's Timestamp.
NEVER = msgpack.Timestamp(LAST_SECOND, 999_999_900)


def packed(data: Any = None, **fields: Any) -> bytes:
    """An event as some other client may pack it."""
    event = {"id": "x1", "type": "output", "source": "other", "subject": "job.j.output", "time": 1, **fields}
    return msgpack.packb({**event, "data": {} if data is None else data})


@pytest.mark.parametrize(
    "moment",
    [
        NEVER,
        msgpack.Timestamp(LAST_SECOND + 1, 0),
        msgpack.Timestamp(-62_135_596_801, 0),
        msgpack.Timestamp(2**62, 0),
        msgpack.Timestamp(-(2**62), 999_999_999),
    ],
)
def test_a_date_outside_the_years_1_to_9999_is_refused(moment: msgpack.Timestamp) -> None:
    for data in ({"at": moment}, {"list": [{"at": moment}]}, {moment: "as a key"}):
        with pytest.raises(BadEvent):
            decode(packed(data))
        with pytest.raises(BadEvent):
            encode(Event.new("job.j.output", data))


def test_the_first_and_the_last_date_are_taken() -> None:
    event = decode(packed({"first": msgpack.Timestamp(-62_135_596_800, 0), "last": msgpack.Timestamp(LAST_SECOND, 0)}))

    assert from_json(to_json(event.data)) == {"first": "0001-01-01T00:00:00Z", "last": "9999-12-31T23:59:59Z"}


def test_an_ext_type_has_one_form_in_json_and_goes_on_as_it_came() -> None:
    payload = packed({"own": msgpack.ExtType(5, b"xyz"), "deep": [msgpack.ExtType(127, b"")]})
    written = [to_json(decode(payload).data) for _ in range(2)]

    assert written[0] == written[1]
    assert from_json(written[0]) == {
        "own": {"$ext": 5, "data": "eHl6"},
        "deep": [{"$ext": 127, "data": ""}],
    }
    assert encode(decode(payload)) == payload


@pytest.mark.parametrize("key", [msgpack.ExtType(5, b"x"), (1, 2), (msgpack.ExtType(5, b"x"),)])
def test_a_map_with_a_key_that_json_has_no_text_for_is_refused(key: object) -> None:
    for data in ({key: 1}, {"list": [{key: 1}]}):
        with pytest.raises(BadEvent):
            decode(packed(data))


@pytest.mark.parametrize("payload", [b'{"type": "progress"}', b' [{"type": "x"}]\n', b"{"])
def test_json_is_told_to_be_json(payload: bytes) -> None:
    with pytest.raises(BadEvent, match="looks like JSON, and events on NATS are msgpack"):
        decode(payload)


def test_such_a_key_is_refused_at_every_depth_and_beside_every_kind_of_value() -> None:
    for beside in (1, "text", b"bytes", msgpack.Timestamp(0, 0), [], {}, {7: 8}):
        data: Any = {(1, 2): 1}
        for level in range(MAX_DEPTH - 1):
            data = {"beside": beside, "in": data} if level % 2 else {"in": [data]}
            with pytest.raises(BadEvent):
                decode(packed(data))


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9)
foreign = st.binary(max_size=9) | st.builds(msgpack.Timestamp, st.integers(0, LAST_SECOND), st.just(0))
keys = st.text(max_size=9) | st.integers(-(2**63), 2**64 - 1) | st.none() | st.binary(max_size=9)


@given(
    st.dictionaries(
        keys,
        st.recursive(
            scalars | foreign,
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
            max_leaves=20,
        ),
        max_size=4,
    )
)
def test_data_comes_out_as_it_was_packed_with_every_type(data: dict[Any, Any]) -> None:
    # Of a type without a schema: hypothesis also tries strings of the source, such as "text".
    payload = packed(data, type="remark", subject="thing.x.remark")
    expected = msgpack.unpackb(payload, strict_map_key=False, timestamp=3)["data"]

    assert repr(decode(payload).data) == repr(expected)


def test_keys_that_are_no_text_have_one_form_in_json() -> None:
    data = decode(packed({None: 1, True: 2, 7: 3, 1.5: 4, b"x": 5, msgpack.Timestamp(0, 0): 6})).data

    assert from_json(to_json(data)) == {"null": 1, "true": 2, "7": 3, "1.5": 4, "eA==": 5, "1970-01-01T00:00:00Z": 6}


def test_data_that_is_nested_too_deep_is_refused_and_the_deepest_that_is_taken_can_be_written() -> None:
    data: Any = {}
    for _ in range(MAX_DEPTH - 1):
        data = {"in": data}

    assert to_json(decode(packed(data)).data)
    for deeper in ({"in": data}, {"in": [[[data]]]}):
        with pytest.raises(BadEvent):
            decode(packed(deeper))


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "with blank"},
        {"id": "two\r\nlines"},
        {"id": ""},
        {"id": "x" * 201},
        {"type": "Not A Type"},
        {"type": ""},
        {"time": -1},
        {"time": 2**64 - 1, "type": "x" * 65},
        {"source": "x" * (MAX_FIELD + 1)},
        {"key": "x" * (MAX_FIELD + 1)},
        {"cause": "x" * (MAX_FIELD + 1)},
        {"trace": "x" * (MAX_FIELD + 1)},
        {"subject": "ev..x"},
    ],
)
def test_fields_that_could_not_be_used_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadEvent):
        decode(packed(**fields))


def test_every_time_can_be_written() -> None:
    assert rfc3339(2**64 - 1).startswith("2554-")
    assert rfc3339(10**40).startswith("9999-12-31T23:59:59.")
    assert rfc3339(-(10**40)).startswith("0001-01-01T00:00:00.")
    assert decode(packed(time=2**64 - 1)).time == 2**64 - 1


def test_an_object_without_a_text_of_its_own_is_written_without_its_address() -> None:
    class Thing:
        pass

    assert b" at 0x" not in to_json({"thing": Thing(), "when": datetime(2026, 1, 1, tzinfo=UTC)})


@given(mutated_events())
def test_whatever_comes_it_is_an_event_that_can_be_used_or_bad(payload: bytes) -> None:
    try:
        event = decode(payload)
    except BadEvent:
        return
    shape = from_json(to_json({"id": event.id, "time": rfc3339(event.time), "data": event.data, "key": event.key}))
    Filter.compile("data.n == 1 || data.m.all(k, size(k) > 0) || time < timestamp('2026-01-01T00:00:00Z')").matches(
        event
    )

    assert isinstance(shape["data"], dict)
    assert decode(encode(event)).id == event.id


@given(st.binary(max_size=300))
def test_whatever_bytes_come_nothing_but_bad_event_is_raised(payload: bytes) -> None:
    try:
        decode(payload)
    except BadEvent as fault:
        assert str(fault)
