"""A poll that comes back with a cursor confirms the answer that had it, once."""

from __future__ import annotations

import time

import pytest
from prometheus_client import REGISTRY

from edge.transports import receipts
from edge.transports.polling import Polled
from edge.transports.receipts import PollReceipts
from router.codec import encode
from router.event import Event
from router.record import Record

HOUR = 3_600_000_000_000


def polled(following: str, count: int = 1, waited: bool = False) -> Polled:
    event = Event.new("job.a.output", {}, time_ns=time.time_ns() - HOUR)
    records = [Record(n, "job.a.output", encode(event)) for n in range(1, count + 1)]
    return Polled(records, following, False, None, waited)


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(name, {"transport": "polling"}) or 0.0


ACKNOWLEDGED = "edge_publish_to_acknowledge_seconds"


def test_an_answer_is_acknowledged_by_the_poll_that_comes_with_its_cursor_and_by_no_other() -> None:
    kept = PollReceipts()
    before = counted(f"{ACKNOWLEDGED}_count"), counted(f"{ACKNOWLEDGED}_sum")
    kept.polled("s1", "", polled("c1"), 100)

    kept.polled("s2", "c1", polled("c2", count=0), 0)
    kept.polled("s1", "other", polled("c2", count=0), 0)
    assert counted(f"{ACKNOWLEDGED}_count") == before[0]
    kept.polled("s1", "c1", polled("c2", count=0), 0)
    kept.polled("s1", "c1", polled("c2", count=0), 0)

    assert counted(f"{ACKNOWLEDGED}_count") == before[0] + 1
    assert counted(f"{ACKNOWLEDGED}_sum") - before[1] >= 3600


def test_events_and_bytes_are_counted_and_only_a_poll_that_waited_was_live() -> None:
    names = (
        "edge_delivered_events_total",
        "edge_publish_to_write_seconds_count",
        "edge_publish_to_replay_seconds_count",
    )
    before = [counted(name) for name in names]
    kept = PollReceipts()

    kept.polled("s1", "", polled("c1", count=3), 100)
    kept.polled("s1", "c1", polled("c2", count=2, waited=True), 100)

    assert [counted(name) - was for name, was in zip(names, before, strict=True)] == [5, 1, 1]


def test_the_oldest_answer_is_forgotten_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "MAX_AWAITED", 2)
    kept = PollReceipts()
    for number in range(3):
        kept.polled("s1", "", polled(f"c{number}"), 0)
    before = counted(f"{ACKNOWLEDGED}_count")

    for number in range(3):
        kept.polled("s1", f"c{number}", polled("end", count=0), 0)

    assert counted(f"{ACKNOWLEDGED}_count") == before + 2
