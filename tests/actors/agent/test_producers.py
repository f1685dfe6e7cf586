"""Tests of actors/agent/producers.py on a real nats-server."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from actors.agent.leases import Lease
from actors.agent.producers import NatsProducers
from router.broker import Broker
from router.cluster.leases import lease_key
from router.nats.bucket import Bucket
from router.runs import RunEntry, RunLedger
from router.topology import LEASES
from tests.waiting import eventually


async def test_leases_and_entries_of_runs_are_heard_of(broker: Broker, entity: str) -> None:
    producers, leases, entries = NatsProducers(broker), dict[str, Lease | None](), dict[str, RunEntry | None]()
    key = f"agent.{entity}"
    bucket = Bucket(broker.connection, LEASES)
    async with asyncio.TaskGroup() as group:
        watches = [
            group.create_task(producers.watch_leases(leases.__setitem__)),
            group.create_task(producers.watch_entries(entries.__setitem__)),
        ]
        lease = Lease(30, "one", "http")
        await bucket.put(lease_key("run", "agent", entity), msgspec.json.encode(lease), 30)
        await RunLedger(broker).begin("agent", entity, "one", lease=30)
        await eventually(lambda: leases.get(key) == lease and (entries.get(key) or RunEntry()).lease == 30)
        assert await producers.lease(key) == lease and await producers.reachable()

        await bucket.delete(lease_key("run", "agent", entity))
        await eventually(lambda: leases[key] is None)
        assert await producers.lease(key) is None
        for watch in watches:
            watch.cancel()


async def test_without_a_connection_nobody_is_reachable(broker: Broker) -> None:
    own = Broker(broker.connection.settings, "test")
    with contextlib.suppress(Exception):
        await own.close()

    assert not await NatsProducers(own).reachable()
