"""One stored event, shared by all who read it."""

from __future__ import annotations

from router.codec import encode
from router.cursor import check_of, token
from router.event import Event
from router.record import Record


def test_a_record_is_decoded_once() -> None:
    record = Record(7, "job.a.x", encode(Event.new("job.a.x", {"n": 1})))

    assert record.event is not None and record.event is record.event
    assert record.event.data == {"n": 1} and record.fault == ""


def test_bytes_that_are_no_event_say_why() -> None:
    record = Record(7, "job.a.x", b"\xc1")

    assert record.event is None and record.fault


def test_its_cursor_has_the_check_of_its_bytes_or_of_what_is_stored_in_their_place() -> None:
    payload = encode(Event.new("job.a.x", {"n": 1}))

    assert Record(7, "job.a.x", payload).cursor("0badcafe") == token("0badcafe", 7, check_of(payload))
    assert Record(7, "job.a.x", b"joined", check=5).cursor("0badcafe") == token("0badcafe", 7, 5)
