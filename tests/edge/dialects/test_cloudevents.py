"""Encodes events as CloudEvents: their attributes, the headers of the binary mode, and the structured form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.dialects.cloudevents import (
    CLOUDEVENTS_SOCKET,
    attributes,
    binary,
    cloudevents,
    header_value,
    heard,
    notice_event,
)
from edge.dialects.dialect import with_controls
from edge.webhooks.client.payload import build_payload
from router.codec import encode
from router.errors import BadEvent
from router.event import Event
from router.layout import generation
from router.position import BEYOND
from router.record import Record

EPOCH = "5f3a9c1e"


def record(**more: Any) -> Record:
    event = Event.new("job.a.output", more.pop("data", {"n": 1}), **more)
    return Record(7, event.subject, encode(event))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("a b", "a%20b"),
        ('"', "%22"),
        ("100%", "100%25"),
        ("ü€😀", "%C3%BC%E2%82%AC%F0%9F%98%80"),
        ("a\r\nX: y", "a%0D%0AX:%20y"),
        (True, "true"),
        (7, "7"),
    ],
)
def test_a_value_is_encoded_for_a_header_as_the_binding_says(value: object, text: str) -> None:
    assert header_value(value) == text


def test_what_an_attribute_may_not_hold_is_left_out() -> None:
    found = attributes(record(key="a\r\nb\x00", source="über\x07"), EPOCH)
    headers, _ = binary(record(key="a\r\nb\x00"), EPOCH, {})

    assert found["partitionkey"] == "ab" and found["source"] == "%C3%BCber"
    assert headers["ce-partitionkey"] == "ab"
    assert not any("\r" in value or "\n" in value for value in headers.values())


def test_an_event_is_encoded_once_and_says_what_it_stands_for() -> None:
    one = record(cause="before", test=True, trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    one.superseded = 4

    said = json.loads(cloudevents(one, EPOCH))

    assert cloudevents(one, EPOCH) is cloudevents(one, EPOCH)
    assert (said["causeid"], said["callboardtest"], said["callboardconflated"]) == ("before", True, 4)
    assert said["traceparent"].startswith("00-0af7") and said["sequence"] == f"{7:020d}"
    assert build_payload([one], EPOCH, "sess_1", "cloudevents", False).body != cloudevents(one, EPOCH)


def test_sequences_of_an_entity_sort_as_text_also_where_its_events_go_to_another_stream() -> None:
    event = Event.new("job.a.output", {})
    old = [Record(sequence, event.subject, encode(event)) for sequence in (7, 99, BEYOND)]
    new = [
        Record(sequence, event.subject, encode(event), shard=generation(number, 3).shard_of("job.a.output"))
        for number, sequence in ((1, 1), (1, 8), (2, 3), (12, 2))
    ]

    sequences = [attributes(each, EPOCH)["sequence"] for each in (*old, *new)]

    assert sequences == sorted(set(sequences)) and {len(each) for each in sequences} == {20}
    assert sequences[:2] == ["00000000000000000007", "00000000000000000099"]


def test_a_notice_is_an_event_of_a_type_of_ours_and_silence_is_none() -> None:
    said = json.loads(notice_event("gap", {"from": "a", "to": "b", "cursor": "c"}))

    assert said.pop("id") != json.loads(notice_event("gap", {}))["id"] and said.pop("time").endswith("Z")
    assert said == {
        "specversion": "1.0",
        "source": "callboard",
        "type": "callboard.gap",
        "datacontenttype": "application/json",
        "callboardcursor": "c",
        "data": {"from": "a", "to": "b", "cursor": "c"},
    }
    assert CLOUDEVENTS_SOCKET.messages(None, "heartbeat", {"cursor": "c"}) == ()
    assert len(with_controls(CLOUDEVENTS_SOCKET).messages(None, "position", {"cursor": "c"})) == 1


@pytest.mark.parametrize(
    ("said", "control"),
    [
        ({"type": "callboard.ping", "data": {"id": 1, "control": "refresh"}}, {"id": 1, "control": "ping"}),
        ({"type": "callboard.ping"}, {"control": "ping"}),
        ({"type": "order", "data": [1]}, {"control": None}),
        ({"type": 7}, {"control": None}),
    ],
)
def test_what_a_client_says_is_read_of_its_type_and_data(said: dict[str, Any], control: dict[str, Any]) -> None:
    assert heard(json.dumps({"specversion": "1.0", **said})) == control


@pytest.mark.parametrize("said", ['{"control":"ping"}', "[]", "{", '{"specversion":"0.3","type":"callboard.ping"}'])
def test_what_is_no_cloudevent_is_refused(said: str) -> None:
    with pytest.raises(BadEvent):
        heard(said)
