"""A successor continues from the checkpoint of the owner before it."""

from __future__ import annotations

import pytest

from edge.webhooks.fanout.marks import POSITION, read_position
from router.event import Event
from router.nats.bucket import Bucket
from router.topology import LEASES
from tests.edge.webhooks.fanout.fanning import IDLE, NOWHERE, fanning, jobs, numbers, until_stored
from tests.edge.webhooks.observing import PATIENT, reasons, state
from tests.edge.webhooks.stage import Receiver, Stage, mortal
from tests.waiting import eventually


async def test_a_successor_goes_on_where_the_dead_owner_was(stage: Stage):
    first = await fanning(stage, mortal(IDLE))
    session = await stage.session(NOWHERE)
    await stage.publish("agent.run-1.progress", 5)
    await until_stored(stage, session.id, 5)
    second = await fanning(stage, mortal(IDLE))

    await first.die()
    stage.processes.remove(first)
    await stage.publish("agent.run-1.progress", 5)

    await eventually(lambda: second.webhooks.fanout.owner)

    async def counted() -> bool:
        return await jobs(stage, session.id) == 10

    await eventually(counted)
    await eventually(lambda: second.webhooks.stats(session.id).sent == 5)


async def test_an_owner_that_stops_is_followed_at_once_and_nothing_is_repeated(stage: Stage):
    first = await fanning(stage)
    session = await stage.session(NOWHERE)
    await stage.publish("agent.run-1.progress", 5)
    await until_stored(stage, session.id, 5)
    second = await fanning(stage)

    await first.stop()
    stage.processes.remove(first)

    # Long before the lease that the first one had would have ended.
    await eventually(lambda: second.webhooks.fanout.owner)
    await stage.publish("agent.run-1.progress", 1)

    async def counted() -> bool:
        return await jobs(stage, session.id) == 6 and second.webhooks.stats(session.id).sent == 1

    await eventually(counted)


async def test_a_position_that_was_deleted_is_saved_again(stage: Stage):
    bucket = Bucket(stage.broker.connection, LEASES)
    first = await fanning(stage)
    session = await stage.session(NOWHERE)
    await stage.publish("agent.run-1.progress", 5)
    await until_stored(stage, session.id, 5)
    await first.stop()
    stage.processes.remove(first)

    await bucket.delete(POSITION)
    second = await fanning(stage)
    await eventually(lambda: second.webhooks.fanout.owner)
    await stage.publish("agent.run-1.progress", 5)
    await until_stored(stage, session.id, 10)

    async def is_saved() -> bool:
        entry = await bucket.get(POSITION)
        saved = read_position(POSITION, entry.value) if entry is not None else None
        return saved is not None and saved.sequence == (await stage.broker.state()).last

    await eventually(is_saved)


async def test_a_stream_that_was_made_anew_is_all_news(stage: Stage):
    process = await fanning(stage)
    session = await stage.session(NOWHERE)
    await stage.publish("agent.run-1.progress", 5)
    await until_stored(stage, session.id, 5)

    await process.stop()
    stage.processes.remove(process)
    await stage.broker.connection.api("STREAM.DELETE.EVENTS")
    await stage.broker._reapply()
    await stage.publish("agent.run-1.progress", 3)
    await fanning(stage)

    async def counted() -> bool:
        return await jobs(stage, session.id) == 8

    await eventually(counted)


@pytest.mark.parametrize("mode", ["fifo", pytest.param("unordered", marks=pytest.mark.slow)])
async def test_a_kill_while_sessions_wait_loses_nothing(stage: Stage, receiver: Receiver, mode: str):
    await stage.reshape(hooks_per_session=20)
    settings = mortal(PATIENT)
    first = await stage.process(settings)
    session = await stage.session(receiver.url, mode=mode, retry_attempts=100)
    receiver.answer = 500
    await stage.publish("agent.run-1.progress", 60)
    await eventually(lambda: state(first, session) == "open")
    receiver.answer = 200
    await eventually(lambda: first.webhooks.stats(session.id).delivered >= 5)
    await first.die()
    stage.processes.remove(first)
    rest = [Event.new("agent.run-1.progress", {"n": n}) for n in range(60, 90)]
    for event in rest:
        await stage.broker.publish(event)

    await stage.process(settings)

    await eventually(lambda: len(set(numbers(receiver))) == 90)
    assert await reasons(stage.broker, session) == []
