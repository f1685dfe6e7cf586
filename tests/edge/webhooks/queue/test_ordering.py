from __future__ import annotations

import time
from typing import cast

from edge.webhooks.queue.job import Job
from edge.webhooks.queue.ordering import ALL, OrderedQueue, PendingJob, queue_of
from router.codec import encode
from router.event import Event
from router.nats.connection import Connection
from router.nats.consumer import Message


def job(n: int, key: str | None = None, subject: str = "orders.1.placed") -> Job:
    event = Event.new(subject, {"n": n}, key=key)
    return Job("sess_1", 0, event.id, subject, n, encode(event), 1)


def new(n: int) -> PendingJob:
    """A job as it comes from a consumer."""
    message = Message("hook.q.0.sess_1", b"", {}, n, 1, 0, 0, "", cast(Connection, None))
    return PendingJob(job(n), 0.0, message)


def parked(n: int) -> PendingJob:
    """A job as it comes from a log."""
    return PendingJob(job(n), 0.0, parked_at=n)


def places(lane: OrderedQueue) -> tuple[list[int], list[int]]:
    return [held.job.sequence for held in lane.queue], [held.job.sequence for held in lane.stowing]


def test_in_a_serial_lane_one_goes_at_a_time():
    lane = OrderedQueue("all", serial=True)
    lane.queue.append(new(1))

    assert lane.may_begin(time.time())
    lane.under_way = 1
    assert not lane.may_begin(time.time())
    lane.serial = False
    assert lane.may_begin(time.time())


def test_what_waits_is_parked_in_its_order():
    lane = OrderedQueue("all", serial=True)
    lane.queue.extend(new(n) for n in (1, 2, 3))

    assert lane.stow() == []

    assert (places(lane), lane.behind, lane.stored) == (([], [1, 2, 3]), 3, 0)


def test_what_came_out_of_the_log_is_there_still():
    lane = OrderedQueue("all", serial=True)
    lane.after = 12
    lane.queue.extend([parked(11), parked(12), new(13)])

    assert lane.stow() == []

    assert (places(lane), lane.behind, lane.after) == (([], [13]), 3, 10)


def test_what_stands_before_the_log_stays_in_hand():
    lane = OrderedQueue("all", serial=True, behind=5)
    front = new(1)
    lane.queue.append(front)

    assert lane.stow() == [front]
    assert (places(lane), lane.behind) == (([1], []), 5)

    # And so does what stands before one that came out of it.
    lane.behind, lane.after = 0, 5
    lane.queue.extend([parked(5), new(6)])
    assert lane.stow() == [front]
    assert (places(lane), lane.behind, lane.after) == (([1], [6]), 2, 4)


def test_a_key_has_a_lane_of_its_own_and_where_there_is_none_the_subject_has():
    keyed = {queue_of(job(n, key), "keyed") for n in range(3) for key in ("a", "b", None)}

    assert len(keyed) == 3 and all(serial for _, serial in keyed)
    assert queue_of(job(1, subject="orders.2.placed"), "keyed") != queue_of(job(1), "keyed")
    assert queue_of(job(1, "a"), "fifo") == (ALL, True)
    assert queue_of(job(1, "a"), "unordered") == (ALL, False)
