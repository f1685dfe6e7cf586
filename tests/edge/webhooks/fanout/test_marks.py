"""The events that wait for a session are counted by the mark that the fan-out saves."""

from __future__ import annotations

import msgspec

from edge.webhooks.fanout.marks import MARKS, POSITION, Mark, MatchedPosition, waiting_events, waits_for_jobs
from router.clock import wall
from router.nats.bucket import Bucket
from router.topology import LEASES
from tests.edge.webhooks.fanout.fanning import NOWHERE
from tests.edge.webhooks.stage import Stage


async def test_without_a_mark_every_event_behind_a_sessions_start_waits(stage: Stage):
    await stage.publish("agent.run-1.progress", 2)
    session = await stage.session(NOWHERE, subjects=["agent.>"])
    await stage.publish("agent.run-1.progress", 3)
    await stage.publish("job.other.done")

    assert await waiting_events(stage.broker, session) == 3


async def test_a_mark_counts_from_its_place_unless_its_session_has_joined_or_the_stream_is_another(stage: Stage):
    session = await stage.session(NOWHERE, subjects=["agent.>"])
    await stage.publish("agent.run-1.progress", 5)
    state = await stage.broker.state()
    bucket = Bucket(stage.broker.connection, LEASES)
    counts = []

    for mark in (
        Mark(state.epoch, state.last - 2, joined=False),
        Mark(state.epoch, state.last - 2, joined=True),
        Mark("another", state.last - 2, joined=False),
    ):
        await bucket.put(f"{MARKS}.{session.id}", msgspec.json.encode(mark))
        counts.append(await waiting_events(stage.broker, session))

    assert counts == [2, 0, 0]


async def test_events_that_the_fan_out_has_not_come_to_wait_for_its_sessions_if_they_are_older_than_a_time(
    stage: Stage,
):
    began = wall.now() - 10.0
    session = await stage.session(NOWHERE, subjects=["agent.>"])
    bucket = Bucket(stage.broker.connection, LEASES)
    state = await stage.broker.state()

    async def waits(position: int, joined: bool = True, before: float | None = None) -> bool:
        await bucket.put(POSITION, msgspec.json.encode(MatchedPosition(state.epoch, position)))
        await bucket.put(f"{MARKS}.{session.id}", msgspec.json.encode(Mark(state.epoch, state.last, joined)))
        return await waits_for_jobs(stage.broker, session, wall.now() + 60.0 if before is None else before)

    assert not await waits(state.last)
    await stage.publish("job.other.done")
    assert not await waits(state.last)
    await stage.publish("agent.run-1.progress")

    assert await waits(state.last) and await waits(state.last + 1)
    assert not await waits(state.last, before=began)
    assert not await waits(state.last + 2)
    # One that is behind the others has a place of its own.
    assert await waits(state.last + 2, joined=False)
