"""The work on one recovery: taken over where its worker dies, ended where its session is deleted, and within its share of the room."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from edge.webhooks.history.recovery_job import Recovery
from router.cursor import parse_start
from tests.edge.webhooks.history.recovering import numbers, working
from tests.edge.webhooks.stage import Receiver, Stage
from tests.waiting import eventually, in_time


async def test_a_recovery_is_taken_over_where_its_worker_dies_and_asks_for_nothing_twice(
    stage: Stage, receiver: Receiver
) -> None:
    await stage.widen(1000)
    await stage.publish("job.a.output", 200)
    process = await stage.process()
    session = await stage.session(receiver.url)
    await in_time(process.registry.ready.wait())
    await eventually(lambda: session.id in process.registry.sessions)

    async with working(stage, process) as (first, task, broker):
        start = parse_start("earliest")
        assert start is not None
        recovery = await first.replay(session, start, None, 200.0)
        await eventually(lambda: first.known[recovery.id].sent >= 50)
        # Without a word: nothing is released.
        await broker.connection._wire.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async with working(stage, process) as (second, _, _):

        def done() -> Recovery | None:
            known = second.known.get(recovery.id)
            return known if known is not None and known.ended else None

        await eventually(done)
        await eventually(lambda: len(receiver.posts) >= 200)

    assert Counter(numbers(receiver)) == dict.fromkeys(range(200), 1)


@pytest.mark.slow
async def test_a_replay_to_a_dead_endpoint_leaves_room_for_the_others(stage: Stage, receiver: Receiver) -> None:
    await stage.reshape(hooks_max_bytes=1024 * 1024)
    await stage.publish("dead.a.output", 40, text="x" * 100_000)
    process = await stage.process()
    dead = await stage.session(receiver.url, subjects=["dead.>"])
    well = await stage.session(receiver.url, subjects=["well.>"])
    await eventually(lambda: dead.id in process.registry.sessions)
    await process.webhooks.disable(dead.id)
    async with working(stage, process) as (recoveries, _, _):
        start = parse_start("earliest")
        assert start is not None
        recovery = await recoveries.replay(dead, start, None, 10_000.0)
        # Its share: one event of such a size.
        await eventually(lambda: recoveries.known[recovery.id].sent or process.webhooks.stats(dead.id).sent)

        await stage.publish("well.a.output", 36)
        await eventually(lambda: process.webhooks.stats(well.id).delivered == 36)
        assert (await stage.broker.connection.api("STREAM.INFO.HOOKS"))["state"]["bytes"] < 800 * 1024

        await process.webhooks.enable(dead.id)
        await eventually(lambda: recoveries.known[recovery.id].ended)
        assert recoveries.known[recovery.id].sent == 40
    await eventually(lambda: process.webhooks.stats(dead.id).delivered == 40)


async def test_a_session_that_is_deleted_ends_its_recoveries(stage: Stage, receiver: Receiver) -> None:
    await stage.publish("job.a.output", 20)
    process = await stage.process()
    session = await stage.session(receiver.url)
    async with working(stage, process) as (recoveries, _, _):
        start = parse_start("earliest")
        assert start is not None
        await process.registry.delete(session.id)
        recovery = await recoveries.replay(session, start, None, 100.0)
        await eventually(lambda: recoveries.known[recovery.id].ended)

        assert recoveries.known[recovery.id].state == "failed"
        assert recoveries.known[recovery.id].error == "the session was deleted"
    assert receiver.posts == []
