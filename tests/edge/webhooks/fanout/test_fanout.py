from __future__ import annotations

from tests.edge.webhooks.fanout.fanning import NOWHERE, fanning, jobs
from tests.edge.webhooks.stage import Stage
from tests.waiting import eventually


async def test_each_session_gets_a_job_for_each_event_it_shows(stage: Stage):
    await fanning(stage)
    everything = await stage.session(NOWHERE)
    some = await stage.session(NOWHERE, subjects=["agent.*.progress"])
    typed = await stage.session(NOWHERE, events=["completed"])

    await stage.publish("agent.run-1.progress", 3)
    await stage.publish("agent.run-1.completed")

    async def counted() -> bool:
        return [await jobs(stage, s.id) for s in (everything, some, typed)] == [4, 3, 1]

    await eventually(counted)


async def test_what_is_addressed_to_another_session_is_not_for_this_one(stage: Stage):
    await fanning(stage)
    one, other = await stage.session(NOWHERE), await stage.session(NOWHERE)

    await stage.publish(f"session.{one.id}.progress")
    await stage.publish("agent.run-1.progress")

    async def counted() -> bool:
        return [await jobs(stage, s.id) for s in (one, other)] == [2, 1]

    await eventually(counted)


async def test_a_session_made_while_nobody_fans_out_misses_nothing(stage: Stage):
    session = await stage.session(NOWHERE)
    await stage.publish("agent.run-1.progress", 7)

    await fanning(stage)

    async def counted() -> bool:
        return await jobs(stage, session.id) == 7

    await eventually(counted)


async def test_what_is_no_event_is_passed_over(stage: Stage):
    await fanning(stage)
    session = await stage.session(NOWHERE)

    await stage.broker.store("ev.agent.run-1.progress", b"not msgpack", {"Nats-Msg-Id": "x"})
    await stage.publish("agent.run-1.progress")

    async def counted() -> bool:
        return await jobs(stage, session.id) == 1

    await eventually(counted)
