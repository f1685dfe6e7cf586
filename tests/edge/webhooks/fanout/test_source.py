"""The fan-out receives events in order, and reads the store only where one may be missing."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from router.record import Record
from tests.edge.webhooks.fanout.fanning import IDLE, NOWHERE, fanning, jobs
from tests.edge.webhooks.stage import Stage
from tests.waiting import eventually


async def test_quiet_events_cost_the_store_no_question_where_none_is_missing(stage: Stage):
    process = await fanning(stage, replace(IDLE, fanout=replace(IDLE.fanout, check_every=3600.0)))
    source = process.webhooks.fanout._newest[0].source
    read, asked = source.read, list[int]()

    async def counted() -> list[Record]:
        records = await read()
        asked.append(len(records))
        return records

    source.read = counted  # type: ignore[method-assign]
    session = await stage.session(NOWHERE)

    async def fan_out_one(number: int) -> None:
        await stage.publish("agent.run-1.progress")

        async def stored() -> bool:
            return await jobs(stage, session.id) == number

        await eventually(stored)

    await fan_out_one(1)
    # With which the fan-out finds that nothing lies behind what it has.
    await eventually(lambda: asked and not source.needs_store)
    before = len(asked)
    for number in range(2, 12):
        await fan_out_one(number)

    assert len(asked) == before


async def test_events_that_were_not_heard_are_read_once_that_is_noticed(stage: Stage):
    process = await fanning(stage, replace(IDLE, fanout=replace(IDLE.fanout, check_every=0.2)))
    session = await stage.session(NOWHERE)
    await stage.publish("agent.run-1.progress")
    fanout = process.webhooks.fanout

    async def counted(number: int) -> bool:
        return await jobs(stage, session.id) == number

    await eventually(lambda: counted(1))
    # As where the server drops messages for a subscriber that is too slow.
    fanout._newest[0].source._received = deque(maxlen=0)
    await stage.publish("agent.run-1.progress", 3)

    await eventually(lambda: counted(4))
