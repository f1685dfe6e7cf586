"""A batch knows its size, its last place and how late it is, and keeps what encoders made of it."""

from __future__ import annotations

import time

from edge.types import Batch
from router.codec import encode
from router.event import Event
from router.position import of_one
from router.record import Record


def record(sequence: int, at: int | None = None) -> Record:
    event = Event.new("job.a.output", {"n": sequence}, time_ns=at)
    return Record(sequence, str(event.subject), encode(event))


def test_a_batch_stands_at_its_last_event() -> None:
    records = [record(3), record(8)]

    batch = Batch(records, "5f3a9c1e")

    assert (len(batch), batch.last) == (2, of_one(8))
    assert batch.size == sum(len(each.payload) for each in records)
    assert batch.encoded == {} and not batch.replayed


def test_a_batch_is_as_old_as_its_newest_event_and_never_younger_than_now() -> None:
    hour = 3_600_000_000_000
    old = Batch([record(1, time.time_ns() - 2 * hour), record(2, time.time_ns() - hour)], "5f3a9c1e")

    assert 3600 <= old.age() < 7200
    assert Batch([record(1, time.time_ns() + hour)], "5f3a9c1e").age() == 0.0
    assert Batch([Record(1, "job.a.output", b"\xc1")], "5f3a9c1e").age() == 0.0
