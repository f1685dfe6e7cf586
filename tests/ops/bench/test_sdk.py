"""What the SDK's benchmark measures, on a nats-server of the tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ops.bench import sdk
from router.broker import Broker
from router.sdk import RunSettings


async def test_the_cost_of_each_call_is_measured_in_microseconds(
    broker: Broker, nats_server: str, entity: str, tmp_path: Path
) -> None:
    found = await asyncio.to_thread(sdk.call_costs, nats_server, entity, RunSettings(spool_dir=tmp_path))

    assert set(found) == {"progress", "chunk", "emit"} and all(0 < cost < 100_000 for cost in found.values())
