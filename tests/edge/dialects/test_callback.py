"""The callback dialect has the guide's fields, leaves out those that an event lacks, and encodes an event once."""

from __future__ import annotations

import json
from typing import Any

from edge.dialects.callback import callback
from router.codec import encode
from router.event import Event
from router.record import Record

EPOCH = "5f3a9c1e"
TIME = 1_700_000_000_123_456_789


def record(superseded: int = 0, **more: Any) -> Record:
    event = Event.new("job.a.output", {"n": 1}, id="one", source="here", time_ns=TIME, **more)
    return Record(7, str(event.subject), encode(event), superseded=superseded)


def test_an_event_has_the_fields_of_the_guide_and_no_others() -> None:
    one = record()

    assert json.loads(callback(one, EPOCH)) == {
        "id": "one",
        "event_type": "output",
        "subject": "job.a.output",
        "source": "here",
        "timestamp": "2023-11-14T22:13:20.123456Z",
        "data": {"n": 1},
        "cursor": one.cursor(EPOCH),
    }


def test_key_cause_test_and_what_it_stands_for_are_said_where_there_are_any() -> None:
    said = json.loads(callback(record(superseded=3, key="k", cause="before", test=True), EPOCH))

    assert {name: said[name] for name in ("key", "cause", "test", "conflated")} == {
        "key": "k", "cause": "before", "test": True, "conflated": 3
    }  # fmt: skip


def test_an_event_is_encoded_once_on_one_line() -> None:
    one = record(key="a\nb")

    assert callback(one, EPOCH) is callback(one, EPOCH)
    assert b"\n" not in callback(one, EPOCH)
