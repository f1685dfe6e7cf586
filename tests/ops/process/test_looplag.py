"""How late the event loop runs."""

from __future__ import annotations

import asyncio
import time

from prometheus_client import REGISTRY

from ops.process.looplag import MEASURE_EVERY, measure_loop_lag
from tests.waiting import eventually


def measured() -> tuple[float, float]:
    return (
        REGISTRY.get_sample_value("ops_loop_lag_seconds_count") or 0.0,
        REGISTRY.get_sample_value("ops_loop_lag_seconds_sum") or 0.0,
    )


async def test_a_loop_that_stands_still_is_measured() -> None:
    count, total = measured()
    measuring = asyncio.ensure_future(measure_loop_lag())
    await asyncio.sleep(0)

    time.sleep(MEASURE_EVERY + 0.2)  # noqa: ASYNC251 - the loop is to stand still
    await eventually(lambda: measured()[0] > count)
    measuring.cancel()

    assert measured()[1] - total >= 0.2
