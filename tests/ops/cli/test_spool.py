"""The queue of a command's lines: bounded, batched."""

from __future__ import annotations

import asyncio

from ops.cli.progress import OutputLine, Progress
from ops.cli.spool import BATCH_LINES, Spool
from router.broker import Broker
from router.sdk import Run
from tests.ops.cli.jobs import only, told
from tests.waiting import eventually


async def test_a_spool_that_is_full_drops_the_oldest_and_says_where(broker: Broker, entity: str) -> None:
    spool = Spool(lines=3)
    for n in range(5):
        spool.add("stdout", OutputLine(f"{n}", 0))
    spool.add("stderr", OutputLine("x" * 10, 7))
    spool.tell(Progress(0.5))
    spool.close()

    async with Run(entity, broker, domain="job") as run:
        await spool.relay(run)

    assert spool.dropped == 3
    events = await told(broker, entity)
    assert only(events, "output") == [
        {"line": "3\n4", "stream": "stdout", "n": 4, "count": 2, "dropped": 3},
        {"line": "x" * 10, "stream": "stderr", "n": 6, "cut": 7},
    ]
    assert only(events, "progress") == [{"progress": 0.5}]


async def test_the_same_progress_is_told_once_however_late_the_end_of_its_line_comes(
    broker: Broker, entity: str
) -> None:
    spool = Spool()
    async with Run(entity, broker, domain="job") as run, asyncio.TaskGroup() as group:
        group.create_task(spool.relay(run))
        for _ in range(2):
            spool.tell(Progress(0.5))

            async def is_told() -> bool:
                return bool(only(await told(broker, entity), "progress"))

            await eventually(is_told)
        spool.close()

    assert only(await told(broker, entity), "progress") == [{"progress": 0.5}]


async def test_a_batch_is_bounded(broker: Broker, entity: str) -> None:
    spool = Spool()
    for n in range(BATCH_LINES + 1):
        spool.add("stdout", OutputLine(f"{n}", 0))
    spool.add("stdout", OutputLine("y" * 8000, 0))
    spool.close()

    async with Run(entity, broker, domain="job") as run:
        await spool.relay(run)

    assert [data.get("count") for data in only(await told(broker, entity), "output")] == [BATCH_LINES, 2]
