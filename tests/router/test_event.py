"""Events and their two encodings."""

import os
import uuid
from datetime import UTC, datetime

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.catalogue import Delivery
from router.codec import check_depth, decode, encode, from_json, rfc3339, to_json
from router.errors import BadEvent, BadInput, BadSubject
from router.event import Event, new_id

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**63), max_value=2**64 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(max_size=50),
)
DATA = st.dictionaries(
    st.text(max_size=10),
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_size=5,
)


def test_ids_are_uuid_7_and_strictly_increasing() -> None:
    ids = [new_id() for _ in range(5000)]

    assert ids == sorted(set(ids))
    assert {uuid.UUID(each).version for each in ids} == {7}
    assert {uuid.UUID(each).variant for each in ids} == {uuid.RFC_4122}
    # The last 62 bits are random, and none come again.
    assert len({each[19:] for each in ids}) == 5000


def test_a_forked_process_makes_ids_of_its_own() -> None:
    new_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, " ".join(new_id()[19:] for _ in range(20)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 4096).decode().split()
    os.close(reading)
    os.close(writing)

    assert len(theirs) == 20
    assert set(theirs).isdisjoint(new_id()[19:] for _ in range(20))


@given(DATA, st.booleans(), st.none() | st.text(max_size=20))
def test_an_event_survives_msgpack(data: dict, test: bool, key: str | None) -> None:
    # Of a type without a schema: hypothesis also tries strings of the source, such as "percent".
    event = Event.new("thing.x-1.remark", data, key=key, test=test, cause="x")

    assert decode(encode(event)) == event


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_and_never_crash(payload: bytes) -> None:
    with pytest.raises(BadEvent):
        decode(payload)


@given(DATA)
def test_whatever_an_event_holds_can_be_written_as_json(data: dict) -> None:
    assert isinstance(from_json(to_json(data)), dict)


def test_json_has_no_line_break_that_could_end_an_sse_field() -> None:
    written = to_json({"text": "a\nb\r\nc\u2028"})

    assert b"\n" not in written and b"\r" not in written


def test_maps_with_odd_keys_and_nan_become_json() -> None:
    assert from_json(to_json({(1, 2): float("nan")})) == {"(1, 2)": None}
    assert to_json({"n": float("inf")}) == b'{"n":null}'


def test_the_type_is_the_last_token_where_none_is_given() -> None:
    assert Event.new("job.j1.progress").type == "progress"
    assert Event.new("job.j1.progress", type="thinking").type == "thinking"


@pytest.mark.parametrize("kind", ["", "Progress", "a-b", "1x", "a" * 65, "a b", "x\n"])
def test_what_is_no_type_is_refused(kind: str) -> None:
    with pytest.raises(BadEvent):
        Event.new("job.j1.progress", type=kind)


def test_bad_parts_are_refused_with_a_code() -> None:
    with pytest.raises(BadSubject) as subject:
        Event.new("nope")
    with pytest.raises(BadEvent) as data:
        Event.new("a.b.c", [1])  # type: ignore[arg-type]
    with pytest.raises(BadEvent):
        encode(Event.new("a.b.c", {"n": 2**70}))
    with pytest.raises(BadEvent):
        Event.new("a.b.c", id="with blank")

    assert subject.value.code == "bad_subject"
    assert data.value.code == "bad_event"
    assert isinstance(data.value, BadInput)


def test_data_nested_too_deep_is_refused() -> None:
    data: dict = {}
    for _ in range(100):
        data = {"in": data}

    with pytest.raises(BadEvent):
        check_depth(data)
    check_depth({"a": [{"b": [1, 2, {"c": 3}]}]})


def test_times_are_rfc3339_with_microseconds() -> None:
    assert rfc3339(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456Z"


def test_delivery_classes_follow_the_type() -> None:
    assert Event.new("a.b.progress").delivery is Delivery.LATEST
    assert Event.new("a.b.token").delivery is Delivery.APPEND
    assert Event.new("a.b.completion").delivery is Delivery.LOG
    assert Event.new("a.b.progress", key="k").conflation_key == "k"
    assert Event.new("a.b.progress").conflation_key == "a.b.progress"


def test_what_only_msgpack_can_say_survives_being_packed_again() -> None:
    moment = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
    packed = encode(Event.new("a.b.said", {"at": moment, "raw": b"\x00\xff"}))
    foreign = msgpack.packb({**msgpack.unpackb(packed), "data": {"own": msgpack.ExtType(5, b"abc"), 7: "seven"}})

    assert encode(decode(packed)) == packed
    assert decode(packed).data["at"] == moment
    assert encode(decode(foreign)) == foreign
    assert to_json(decode(foreign).data) is not None
