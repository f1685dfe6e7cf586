"""Tests of edge/webhooks/queue/backlog.py: parked jobs are read in order, a page at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from edge.webhooks.queue.backlog import Backlog, is_full, next_job
from edge.webhooks.queue.job import Job
from router.codec import encode
from router.event import Event
from router.nats.publisher import Publisher
from router.nats.stream import Ack
from router.topology import HOOKS
from tests.edge.webhooks.stage import Stage


def job(n: int) -> Job:
    event = Event.new("orders.1.placed", {"n": n})
    return Job("sess_1", 0, event.id, "orders.1.placed", n, encode(event), 1)


@pytest.fixture
async def backlog(stage: Stage) -> AsyncIterator[Backlog]:
    publisher = Publisher(stage.broker.connection)
    yield Backlog(stage.broker, publisher)
    await publisher.close()


async def test_parked_jobs_are_read_in_order_from_where_the_last_page_ended(backlog: Backlog):
    jobs = [job(n) for n in range(1, 6)]
    stored = await backlog.put([each.parked("all", n) for n, each in enumerate(jobs, 1)], in_order=True)

    first, left = await backlog.page(0, "sess_1", "all", 0, 3)
    rest, none_left = await backlog.page(0, "sess_1", "all", first[-1].sequence, 3)

    assert all(isinstance(each, Ack) for each in stored)
    assert [each.job.sequence for each in (*first, *rest) if each.job is not None] == [1, 2, 3, 4, 5]
    assert (left, none_left) == (2, 0)
    assert [each.job.order for each in first if each.job is not None] == [1, 2, 3]
    assert await backlog.page(0, "sess_1", "all", rest[-1].sequence) == ([], 0)


async def test_each_queue_is_counted_by_itself_and_a_removed_job_counts_no_more(stage: Stage, backlog: Backlog):
    stored = await backlog.put([job(1).parked("k1"), job(2).parked("k1"), job(3).parked("k2")], in_order=False)
    assert isinstance(stored[0], Ack) and isinstance(stored[1], Ack)

    await backlog.remove(stored[0].sequence)

    assert await backlog.counts(0) == {("sess_1", "k1"): 1, ("sess_1", "k2"): 1}
    assert await next_job(stage.broker, "hook.park.0.sess_1.k1", 0) == stored[1].sequence


async def test_a_message_that_is_not_a_job_is_read_as_none(stage: Stage, backlog: Backlog):
    await stage.broker.store("hook.park.0.sess_1.all", b"x", {})

    page, _ = await backlog.page(0, "sess_1", "all", 0)

    assert [(each.job, each.payload, each.subject) for each in page] == [(None, b"x", "hook.park.0.sess_1.all")]


async def test_a_backlog_that_has_no_room_refuses_the_job(stage: Stage, backlog: Backlog):
    await stage.widen(2)

    results = await backlog.put([job(n).parked("all") for n in range(3)], in_order=True)

    assert [is_full(each) for each in results] == [False, False, True]
    assert (await stage.broker.stream(HOOKS).state())["messages"] == 2


async def test_whether_there_is_any_job_is_asked_once_by_all_who_ask_together(stage: Stage, backlog: Backlog):
    asked = stage.broker.connection._asked

    assert await asyncio.gather(*(backlog.holds_any() for _ in range(8))) == [False] * 8
    assert stage.broker.connection._asked == asked + 1

    await backlog.put([job(1).parked("k1")], in_order=False)
    assert await backlog.holds_any()
