"""Tests of edge/webhooks/endpoint/batching.py: batches are as full as they may be, and no larger."""

from __future__ import annotations

import pytest

from edge.sessions.endpoint.settings import BatchSettings
from tests.edge.webhooks.observing import LONG, NARROW, Batches, nothing_left
from tests.edge.webhooks.stage import Receiver, Stage
from tests.waiting import eventually


async def test_events_go_out_in_batches_as_full_as_they_may_be(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, batch=BatchSettings(max_n=10, linger=LONG))
    batches = Batches(receiver)

    await stage.publish("agent.run-1.progress", 40)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 40)
    assert sorted(n for _, numbers in batches.posts for n in numbers) == list(range(40))
    assert [len(numbers) for _, numbers in batches.posts] == [10] * 4
    await eventually(lambda: nothing_left(stage.broker))


async def test_a_batch_is_no_larger_than_it_may_be(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, batch=BatchSettings(max_n=100, max_bytes=2000, linger=0.1))
    Batches(receiver)
    await process.webhooks.disable(session.id)
    await eventually(lambda: process.webhooks.health(session.id)["state"] == "disabled")

    await stage.publish("agent.run-1.progress", 20, text="x" * 400)
    await process.webhooks.enable(session.id)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 20)
    assert all(len(post.body) <= 2000 for post in receiver.posts)
    assert len(receiver.posts) < 20


@pytest.mark.parametrize("mode", ["unordered", "fifo"])
async def test_a_batch_that_fails_is_tried_again_as_the_same(stage: Stage, receiver: Receiver, mode: str):
    process = await stage.process(NARROW)
    session = await stage.session(receiver.url, batch=BatchSettings(max_n=5, linger=LONG), mode=mode)
    batches = Batches(receiver)
    batches.status = [500, 500]

    await stage.publish("agent.run-1.progress", 5)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 5)
    assert len(batches.posts) == 3
    assert len({id for id, _ in batches.posts}) == 1 == len({tuple(numbers) for _, numbers in batches.posts})
    await eventually(lambda: nothing_left(stage.broker))
