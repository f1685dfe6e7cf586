"""Tests of router/deadletter.py."""

from __future__ import annotations

from router.codec import encode
from router.deadletter import (
    DeadLetterStats,
    Origin,
    actor_subject,
    ingest_subject,
    label,
    read_headers,
    webhook_subject,
)
from router.event import Event


def test_an_origin_is_read_as_it_was_written() -> None:
    origin = Origin("EVENTS", 42, "ev.orders.1.placed")

    assert str(origin) == "EVENTS:42:ev.orders.1.placed"
    assert Origin.parse(str(origin)) == origin
    assert Origin.parse("nonsense") == Origin("nonsense", 0, "")


def test_subjects_are_escaped() -> None:
    assert actor_subject("stock") == "dead.actor.stock"
    assert webhook_subject("sess.1") == "dead.webhook.sess=2E1"
    assert ingest_subject("EVENTS") == "dead.ingest.EVENTS"


def test_headers_that_are_missing_or_unreadable_leave_their_defaults() -> None:
    found = read_headers({"Dead-Attempts": "\u00b2", "Dead-Origin": "HOOKS:7:hook.q.0.s"}, "dead.webhook.s=2E1.gone", 3)

    assert (found.attempts, found.redrives, found.reason, found.stored) == (0, 0, "", "")
    assert (found.kind, found.name, found.event_subject) == ("webhook", "s.1", "")
    assert found.origin == Origin("HOOKS", 7, "hook.q.0.s")


def test_the_event_inside_is_decoded_where_there_is_one() -> None:
    event = Event.new("orders.1.placed", {"sku": "tea"})

    assert read_headers({}, "dead.actor.stock.rejected", 1, encode(event)).event() == event
    assert read_headers({}, "dead.actor.stock.rejected", 1, b"\x00").event() is None


def test_a_reason_outside_the_closed_set_is_other_in_metrics() -> None:
    assert label("gone") == "gone"
    assert label("a reason of an actor") == "other"


def test_a_stream_without_a_limit_is_never_full() -> None:
    stats = DeadLetterStats({}, True, first=1, last=2, messages=2, bytes=50, max_bytes=200, oldest="")

    assert stats.fullness == 0.25
    assert DeadLetterStats({}, True, 1, 2, 2, 50, -1, "").fullness == 0.0
