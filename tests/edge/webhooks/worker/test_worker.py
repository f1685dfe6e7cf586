"""Tests of edge/webhooks/worker/worker.py: one owner works on a partition, and lets it go in good order."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web

from edge.webhooks.queue.ordering import QueueSettings
from tests.edge.webhooks.observing import bodies, nothing_left
from tests.edge.webhooks.stage import QUICK, Receiver, Stage
from tests.waiting import PATIENCE, eventually, in_time


async def test_two_processes_share_the_work_and_repeat_none(stage: Stage, receiver: Receiver):
    first, second = await stage.process(), await stage.process()
    await stage.settled()
    session = await stage.session(receiver.url)

    ids = await stage.publish("agent.run-1.progress", 45)

    both = (first.webhooks, second.webhooks)
    await eventually(lambda: sum(each.stats(session.id).delivered for each in both) == 45)
    assert sorted(body["id"] for body in bodies(receiver)) == sorted(ids)
    await eventually(lambda: sum(each.stats(session.id).queued for each in both) == 0)


async def test_a_process_that_closes_finishes_its_posts(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    receiver.answer = answer
    await stage.publish("agent.run-1.progress")
    await eventually(lambda: receiver.under_way == 1)

    closing = asyncio.ensure_future(process.webhooks.close(grace=PATIENCE))
    await eventually(lambda: not process.webhooks.fanout.owner)
    release.set()
    await in_time(closing)

    assert process.webhooks.stats(session.id).delivered == 1
    assert await nothing_left(stage.broker)


async def test_what_does_not_end_within_the_grace_is_given_back_at_once(stage: Stage, receiver: Receiver):
    patient = replace(QUICK, worker=replace(QUICK.worker, ack_wait=600.0))
    first = await stage.process(patient)
    session = await stage.session(receiver.url)
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    receiver.answer = answer
    await stage.publish("agent.run-1.progress")
    await eventually(lambda: receiver.under_way == 1)

    await in_time(first.webhooks.close(grace=0.1))
    release.set()
    second = await stage.process(patient)

    await eventually(lambda: second.webhooks.stats(session.id).delivered == 1)
    assert first.webhooks.stats(session.id).delivered == 0


@pytest.mark.slow
async def test_a_long_post_is_not_given_to_another_process(stage: Stage, receiver: Receiver):
    settings = replace(QUICK, worker=replace(QUICK.worker, ack_wait=15.0))
    first, second = await stage.process(settings), await stage.process(settings)
    await stage.settled()
    session = await stage.session(receiver.url)

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(settings.worker.ack_wait * 1.5)
        return web.Response()

    receiver.answer = answer
    await stage.publish("agent.run-1.progress")

    both = (first.webhooks, second.webhooks)
    await eventually(lambda: sum(each.stats(session.id).delivered for each in both) == 1)
    assert len(receiver.posts) == 1


async def test_a_receiver_that_hangs_does_not_hold_up_another(stage: Stage, receiver: Receiver):
    queue = QueueSettings(waiting=2, pressed=1)
    settings = replace(QUICK, partitions=1, worker=replace(QUICK.worker, credit=16, queue=queue))
    process = await stage.process(settings)
    released = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    async with Receiver().serving() as hanging:
        hanging.answer = hang
        # Far longer than the test may last: none of its posts ends, so nothing that it holds becomes free.
        blocked = await stage.session(hanging.url, timeout=600.0, retry_attempts=20, events=["progress"])
        await stage.publish("agent.run-1.progress", 40)
        await eventually(lambda: hanging.under_way)
        well = await stage.session(receiver.url, events=["completed"])

        await stage.publish("agent.run-1.completed", 20)

        await eventually(lambda: process.webhooks.stats(well.id).delivered == 20)
        assert process.webhooks.stats(blocked.id).delivered == 0
        assert hanging.most_under_way <= 8
        # And when it answers again, all it is owed arrives.
        released.set()
        await eventually(lambda: process.webhooks.stats(blocked.id).delivered == 40)
    await eventually(lambda: nothing_left(stage.broker))
