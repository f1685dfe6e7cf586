"""The live copy of an event that this process has published is not decoded again."""

from __future__ import annotations

import msgpack
import pytest

from router import own_events
from router.codec import decode, encode
from router.event import Event
from router.live_copy import record_of
from router.own_events import MAX_BYTES, MAX_EVENTS, encode_own, take_own

HEADERS = b"NATS/1.0\r\nNats-Stream: EVENTS\r\nNats-Sequence: 7\r\nNats-Last-Sequence: 6\r\n\r\n"


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    own_events._events.clear()


def test_it_is_packed_as_every_other_event() -> None:
    event = Event.new("job.1.output", {"n": 1, "text": "ü"}, key="k", test=True)

    assert encode_own(event) == encode(event)


def test_the_live_copy_has_the_event_as_it_would_be_decoded() -> None:
    when = msgpack.Timestamp(1_700_000_000, 123_456_789)
    payload = encode_own(Event.new("job.1.output", {"when": when, "list": (1, 2)}))

    record = record_of("live.ev.job.1.output", payload, HEADERS)

    assert record is not None
    assert record._event is not None
    assert record.event == decode(payload)


def test_each_is_taken_once() -> None:
    payload = encode_own(Event.new("job.1.output"))

    assert take_own(payload) is not None
    assert take_own(payload) is None


def test_the_copy_of_another_ones_event_is_decoded_when_it_is_asked_for() -> None:
    payload = encode(Event.new("job.1.output", {"n": 2}))

    record = record_of("live.ev.job.1.output", payload, HEADERS)

    assert record is not None
    assert record._event is None
    assert record.event == decode(payload)


def test_what_no_copy_comes_of_is_forgotten_and_large_events_are_not_kept() -> None:
    encode_own(Event.new("job.1.output", {"text": "x" * MAX_BYTES}))
    assert not own_events._events

    for n in range(MAX_EVENTS + 10):
        encode_own(Event.new("job.1.output", {"n": n}))

    assert len(own_events._events) == 10
