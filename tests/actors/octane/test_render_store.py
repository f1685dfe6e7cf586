"""The store of renders' runs, on a real nats-server."""

from __future__ import annotations

import pytest

from actors.octane.render_store import NatsRenderStore
from router.broker import Broker
from router.cluster.leases import lease_key
from router.errors import RouterError
from router.event import Event
from router.nats.bucket import Bucket
from router.topology import LEASES
from tests.actors.system.running import events_under


def start_of(run: str) -> Event:
    return Event.new(f"job.{run}.workflow_start", {"name": "Render of lamp.ocs", "incarnation": "life-1"})


def end_of(run: str) -> Event:
    return Event.new(f"job.{run}.completion", {"success": True, "incarnation": "life-1"})


async def test_a_run_that_is_begun_and_ended_twice_is_told_of_once(broker: Broker, entity: str) -> None:
    store, start, end = NatsRenderStore(broker), start_of(entity), end_of(entity)

    for _ in range(2):
        await store.start(start, "life-1", 30.0)
    for _ in range(2):
        await store.end(end, "life-1")

    assert [event.id for event in await events_under(broker, f"job.{entity}.>")] == [start.id, end.id]


async def test_a_run_is_leased_while_it_is_held_and_not_after_it_is_released(broker: Broker, entity: str) -> None:
    store, leases = NatsRenderStore(broker), Bucket(broker.connection, LEASES)
    await store.start(start_of(entity), "life-1", 30.0)

    assert await store.hold(entity, "life-1", 30.0) is None
    held = await leases.get(lease_key("run", "job", entity))
    await store.release(entity)
    released = await leases.get(lease_key("run", "job", entity))

    assert held is not None and b"life-1" in held.value
    assert released is None


async def test_a_run_that_has_ended_is_not_held_any_more(broker: Broker, entity: str) -> None:
    store = NatsRenderStore(broker)
    await store.start(start_of(entity), "life-1", 30.0)
    await store.end(end_of(entity), "life-1")

    with pytest.raises(RouterError):
        await store.hold(entity, "life-1", 30.0)
