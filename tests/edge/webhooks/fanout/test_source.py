"""The fan-out receives events in order, and reads the store only where one may be missing."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import pytest

from router.broker import Page
from tests.edge.webhooks.fanout.fanning import IDLE, NOWHERE, fanning, jobs
from tests.edge.webhooks.stage import Stage
from tests.waiting import eventually


async def test_quiet_events_cost_the_store_no_question_where_none_is_missing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    process = await fanning(stage, replace(IDLE, fanout=replace(IDLE.fanout, check_every=3600.0)))
    session = await stage.session(NOWHERE)
    asked: list[str] = []
    read = process.broker.read

    async def counted(pattern: str, *args: Any, **named: Any) -> Page:
        asked.append(pattern)
        return await read(pattern, *args, **named)

    async def fan_out_one(number: int) -> None:
        await stage.publish("agent.run-1.progress")

        async def stored() -> bool:
            return await jobs(stage, session.id) == number

        await eventually(stored)

    await fan_out_one(1)
    monkeypatch.setattr(process.broker, "read", counted)
    for number in range(2, 12):
        await fan_out_one(number)

    # The one with which the fan-out found that nothing lies behind what it had.
    assert len(asked) <= 1


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
