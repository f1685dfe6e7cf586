"""Tests of edge/webhooks/worker/settlement.py: what becomes of a job after its attempt."""

from __future__ import annotations

import time

import pytest
from aiohttp import web

from edge.webhooks.queue.job import Job
from router.record import Record
from router.topology import DEADLETTERS
from tests.edge.webhooks.observing import NARROW, Ledger, dead, nothing_left, reasons, system_events
from tests.edge.webhooks.stage import Receiver, Stage
from tests.waiting import eventually


async def test_a_failure_is_tried_again_under_the_same_webhook_id(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=503 if len(receiver.posts) < 3 else 200)

    receiver.answer = answer
    await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 1)
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 1
    assert len({post.body for post in receiver.posts}) == 1
    stats = process.webhooks.stats(session.id)
    assert (len(receiver.posts), stats.retries, stats.sent) == (3, 2, 1)
    assert stats.last_error == "server_error (HTTP 503)"
    await eventually(lambda: nothing_left(stage.broker))


async def test_a_retry_waits_as_long_as_the_receiver_asked(stage: Stage, receiver: Receiver):
    await stage.process()
    await stage.session(receiver.url)
    times: list[float] = []

    async def answer(request: web.Request) -> web.Response:
        times.append(time.monotonic())
        return web.Response(status=200) if len(times) > 1 else web.Response(status=429, headers={"Retry-After": "1"})

    receiver.answer = answer
    await stage.publish("agent.run-1.progress")

    await eventually(lambda: len(times) == 2)
    assert times[1] - times[0] >= 0.99


@pytest.mark.parametrize(("status", "reason"), [(410, "gone"), (413, "payload_too_large"), (415, "unsupported_type")])
async def test_a_final_answer_becomes_a_dead_letter_at_once(stage: Stage, receiver: Receiver, status: int, reason: str):
    process = await stage.process()
    session = await stage.session(receiver.url + "?token=geheim")
    receiver.answer = status

    (event_id,) = await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    (letter,) = await dead(stage.broker, session)
    assert (letter.reason, letter.attempts, letter.source) == (reason, 1, session.id)
    assert letter.destination == receiver.url
    assert letter.origin.subject == "ev.agent.run-1.progress"
    event = Record(0, "", letter.payload).event
    assert event is not None and event.id == event_id
    assert len(receiver.posts) == 1
    await eventually(lambda: nothing_left(stage.broker))


async def test_after_the_last_retry_comes_a_dead_letter_and_an_event_that_says_so(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, retry_attempts=2, subjects=["agent.>"])
    receiver.answer = 500

    (event_id,) = await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    (letter,) = await dead(stage.broker, session)
    assert (letter.reason, letter.attempts, len(receiver.posts)) == ("exhausted", 3, 3)
    (record,) = await system_events(stage.broker)
    assert record.subject == "system.webhook.deadlettered" and record.event is not None
    assert record.event.cause == event_id
    assert {
        "session_id": session.id,
        "event_id": event_id,
        "subject": "agent.run-1.progress",
        "reason": "exhausted",
        "attempts": 3,
        "status": 500,
    }.items() <= record.event.data.items()
    await eventually(lambda: nothing_left(stage.broker))


async def test_with_no_retries_one_failure_is_the_end(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, retry_attempts=0)
    receiver.answer = 500

    await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    assert len(receiver.posts) == 1


async def test_the_store_being_away_loses_no_outcome(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, retry_attempts=0)
    receiver.answer = 500
    await stage.broker.connection.api(f"STREAM.DELETE.{DEADLETTERS}")

    await stage.publish("agent.run-1.progress")
    await eventually(lambda: receiver.posts)
    await stage.broker._reapply()

    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    assert len(await dead(stage.broker, session)) == 1


async def test_a_delivery_that_is_asked_for_again_keeps_the_sums_true(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, retry_attempts=0)
    receiver.answer = 500
    await stage.publish("agent.run-1.progress")
    stats = process.webhooks.stats(session.id)
    await eventually(lambda: stats.failed == 1)
    (record,) = (await stage.broker.read("agent.>", 0)).records
    receiver.answer = 200

    again = Job.again(session.id, record.payload, record.subject, record.sequence, unique="x", partitions=2)
    await stage.broker.store(*again)

    await eventually(lambda: stats.delivered == 1)
    assert (stats.sent, stats.failed, stats.queued) == (2, 1, 0)


async def test_an_ordered_session_that_halts_waits_for_somebody_to_look(stage: Stage, receiver: Receiver):
    process = await stage.process(NARROW)
    session = await stage.session(receiver.url, mode="fifo", on_exhausted="halt", retry_attempts=1)
    ledger = Ledger(receiver)
    halted = True
    ledger.refuses = lambda n: halted and n == 3

    await stage.publish("agent.run-1.progress", 20)

    await eventually(lambda: process.webhooks.health(session.id)["state"] == "disabled")
    assert process.webhooks.health(session.id)["reason"] == "halted"
    assert (ledger.taken, ledger.asked.count(3)) == ([0, 1, 2], 2)
    halted = False
    await process.webhooks.enable(session.id)
    await eventually(lambda: ledger.taken == list(range(20)))
    assert await reasons(stage.broker, session) == []
    await eventually(lambda: nothing_left(stage.broker))


async def test_a_delivery_that_is_asked_for_again_is_made_again_under_its_id(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)
    await stage.publish("agent.run-1.progress")
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 1)
    (record,) = (await stage.broker.read("agent.>", 0)).records

    for _ in range(2):
        again = Job.again(session.id, record.payload, record.subject, record.sequence, unique="one", partitions=2)
        await stage.broker.store(*again)
    again = Job.again(session.id, record.payload, record.subject, record.sequence, unique="two", partitions=2)
    await stage.broker.store(*again)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 3)
    await eventually(lambda: nothing_left(stage.broker))
    assert len(receiver.posts) == 3
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 1
