"""Tests of context.py: what a block does reports to its run, and nothing after it does."""

from __future__ import annotations

import asyncio

from router.broker import Broker
from router.sdk import Run
from router.sdk.adapters.context import current_port, reporting_to


async def test_a_block_its_tasks_and_its_threads_report_to_one_run(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run, Run(f"{entity}-inner", broker) as inner:
        with reporting_to(run):
            outer = current_port()
            assert outer is not None and outer.run is run
            assert await asyncio.create_task(asyncio.sleep(0, current_port())) is outer
            assert await asyncio.to_thread(current_port) is outer
            with reporting_to(inner):
                innermost = current_port()
                assert innermost is not None and innermost.run is inner
            assert current_port() is outer

    assert current_port() is None
