"""The metrics of one actor."""

from __future__ import annotations

from prometheus_client import REGISTRY

from router.broker import Broker
from tests.actors.system.running import metric, publish, running_actor, settled, stock
from tests.waiting import eventually


async def test_what_happens_is_counted(broker: Broker, entity: str) -> None:
    name = f"stock-{entity}"
    async with running_actor(stock(entity, attempts=1), broker):
        await publish(broker, f"{entity}.1.placed", {"sku": entity, "qty": 1})
        await publish(broker, f"{entity}.2.placed", {})
        await publish(broker, f"{entity}.3.placed", {"explode": True})
        await eventually(lambda: settled(broker, entity))

    assert metric("actors_receive_seconds_count", actor=name, outcome="acked") == 1
    assert metric("actors_receive_seconds_count", actor=name, outcome="rejected") == 1
    assert metric("actors_receive_seconds_count", actor=name, outcome="failed") == 1
    assert metric("actors_restarts_total", actor=name) == 1
    assert metric("actors_deadletters_total", actor=name) == 2
    assert metric("actors_emitted_total", actor=name) == 1
    assert REGISTRY.get_sample_value("actors_mailbox_messages", {"actor": name}) == 0
    assert REGISTRY.get_sample_value("actors_source_restarts_total", {"actor": name}) == 0
