from __future__ import annotations

import time
from typing import cast

from edge.webhooks.queue.job import Job
from edge.webhooks.queue.ordering import ALL, OrderedQueue, queue_of
from edge.webhooks.queue.post import PendingJob
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
    """A job as it comes from a backlog."""
    return PendingJob(job(n), 0.0, parked_at=n)


def places(queue: OrderedQueue) -> tuple[list[int], list[int]]:
    return [pending.job.sequence for pending in queue.waiting], [pending.job.sequence for pending in queue.parking]


def test_in_a_serial_queue_one_post_goes_at_a_time():
    queue = OrderedQueue("all", serial=True)
    queue.waiting.append(new(1))

    assert queue.may_begin(time.time())
    queue.under_way = 1
    assert not queue.may_begin(time.time())
    queue.serial = False
    assert queue.may_begin(time.time())


def test_what_waits_is_parked_in_its_order():
    queue = OrderedQueue("all", serial=True)
    queue.waiting.extend(new(n) for n in (1, 2, 3))

    assert queue.park_waiting() == []

    assert (places(queue), queue.behind, queue.stored) == (([], [1, 2, 3]), 3, 0)


def test_what_came_out_of_the_log_is_there_still():
    queue = OrderedQueue("all", serial=True)
    queue.after = 12
    queue.waiting.extend([parked(11), parked(12), new(13)])

    assert queue.park_waiting() == []

    assert (places(queue), queue.behind, queue.after) == (([], [13]), 3, 10)


def test_what_stands_before_the_log_stays_in_hand():
    queue = OrderedQueue("all", serial=True, behind=5)
    front = new(1)
    queue.waiting.append(front)

    assert queue.park_waiting() == [front]
    assert (places(queue), queue.behind) == (([1], []), 5)

    # And so does what stands before one that came out of it.
    queue.behind, queue.after = 0, 5
    queue.waiting.extend([parked(5), new(6)])
    assert queue.park_waiting() == [front]
    assert (places(queue), queue.behind, queue.after) == (([1], [6]), 2, 4)


def test_a_key_has_a_queue_of_its_own_and_where_there_is_none_the_subject_has():
    keyed = {queue_of(job(n, key), "keyed") for n in range(3) for key in ("a", "b", None)}

    assert len(keyed) == 3 and all(serial for _, serial in keyed)
    assert queue_of(job(1, subject="orders.2.placed"), "keyed") != queue_of(job(1), "keyed")
    assert queue_of(job(1, "a"), "fifo") == (ALL, True)
    assert queue_of(job(1, "a"), "unordered") == (ALL, False)
