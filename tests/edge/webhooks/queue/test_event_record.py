"""The record of an event that a webhook is sent, and its cursor."""

from __future__ import annotations

from edge.webhooks.queue.event_record import event_record
from router.cursor import Cursor, VectorCursor, check_of, parse_cursor, shard_epoch
from router.event_place import place_in
from router.layout import generation

SHARD = generation(3, 4).shards[2]


def test_where_all_events_are_in_one_stream_whoever_shows_the_record_says_its_life() -> None:
    record = event_record(7, "job.a.said", b"x")

    assert (record.sequence, record.shard.stream, record.cursor("0000abcd")[:10]) == (7, "EVENTS", "1-0000abcd")


def test_of_a_stream_that_was_resharded_the_cursor_is_that_of_its_own_life() -> None:
    record = event_record(7, "job.a.said", b"x", "0000abcd")

    assert parse_cursor(record.cursor("1111,2222")) == Cursor("0000abcd", 7, check_of(b"x"))


def test_the_cursor_in_one_of_several_shards_says_that_one_alone() -> None:
    place = place_in(SHARD, 9)

    record, unknown = event_record(place, "job.a.said", b"x", "3.2.abc"), event_record(place, "job.a.said", b"x")

    assert (record.sequence, record.shard.stream) == (9, "EVENTS_3_2")
    assert parse_cursor(record.cursor("1111,2222")) == VectorCursor((Cursor("3.2.abc", 9, check_of(b"x")),))
    assert parse_cursor(unknown.cursor("")).parts[0].epoch == shard_epoch(3, 2)
