"""Tests of edge/webhooks/worker/intake.py: jobs that arrive are admitted once, and what is not a job is not."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from edge.webhooks.queue.job import partition_of
from router.deadletter import DeadLetter
from router.deadletters import DeadLetters
from tests.edge.webhooks.observing import dead, nothing_left
from tests.edge.webhooks.stage import QUICK, Receiver, Stage
from tests.waiting import eventually


async def test_the_jobs_of_a_deleted_session_are_dropped(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, retry_attempts=100)
    receiver.answer = 500
    await stage.publish("agent.run-1.progress", 5)
    await eventually(lambda: len(receiver.posts) >= 5)

    await process.registry.delete(session.id)

    await eventually(lambda: nothing_left(stage.broker))
    assert await dead(stage.broker, session) == []


async def test_what_lies_among_the_jobs_and_is_none_is_thrown_away(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)

    await stage.broker.store(f"hook.q.0.{session.id}", b"?", {"Nats-Msg-Id": "a"})
    await stage.broker.store(
        f"hook.q.0.{session.id}",
        b"?",
        {"Nats-Msg-Id": "b", "X-Event": "b", "X-Subject": "a.b.c", "X-Sequence": "1", "X-Queued": str(time.time_ns())},
    )

    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    (letter,) = await dead(stage.broker, session)
    assert letter.reason == "decode_error"
    await eventually(lambda: nothing_left(stage.broker))


async def test_a_job_that_is_handed_out_again_while_it_is_posted_is_not_posted_twice(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)
    opened = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await opened.wait()
        return web.Response()

    receiver.answer = answer
    await stage.publish("agent.run-1.progress")
    await eventually(lambda: receiver.under_way == 1)
    (held,) = [held for worker in process.webhooks._workers() for held in worker.in_hand]
    first = held.message
    await first.nak()
    await eventually(lambda: held.message is not first)
    opened.set()

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 1)
    await eventually(lambda: nothing_left(stage.broker))
    assert len(receiver.posts) == 1


async def test_what_is_no_job_becomes_a_dead_letter_and_stops_nobody(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)
    rubbish = f"hook.q.{partition_of(session.id, QUICK.partitions)}.{session.id}"
    await stage.broker.store(rubbish, b"rubbish", {})

    await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 1)

    async def buried() -> list[DeadLetter]:
        return (await DeadLetters(stage.broker).read(pattern="dead.ingest.>")).deadletters

    (letter,) = await eventually(buried)
    assert (letter.reason, letter.payload, letter.origin.subject) == ("not_a_job", b"rubbish", rubbish)
    await eventually(lambda: nothing_left(stage.broker))
