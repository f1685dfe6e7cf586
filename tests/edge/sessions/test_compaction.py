"""Tests that an edge compacts the buckets that an earlier version left full of markers."""

from __future__ import annotations

import asyncio
import time

from edge.sessions.compaction import DONE
from router.broker import Broker
from router.event import Event
from router.nats.bucket import Bucket
from router.nats.settings import BrokerSettings
from router.nats.stream import stream_names
from router.topology import LEASES, SESSIONS, TopologySettings, streams
from tests.edge.conftest import EdgeFactory
from tests.router.buckets import leave_old_marker
from tests.router.resharding import reshard
from tests.waiting import eventually, unhurried


async def test_an_edge_compacts_what_an_earlier_version_left(edge_factory: EdgeFactory, own_nats: str) -> None:
    async with Broker(unhurried(own_nats), "test") as store:
        bucket = Bucket(store.connection, SESSIONS)
        stream = next(each for each in streams(TopologySettings()) if each.name == bucket.stream)
        await store.connection.api(f"STREAM.DELETE.{stream.name}")
        await store.connection.api(f"STREAM.CREATE.{stream.name}", {**stream.desired, "allow_msg_ttl": False})
        await asyncio.gather(*(leave_old_marker(store, bucket, f"sess_{number:024x}") for number in range(2000)))
        await asyncio.gather(*(bucket.put(f"seen.sess_{number:024x}", b"1") for number in range(50)))

        async with edge_factory(nats=own_nats) as edge:
            session = await edge.session()
            await eventually(lambda: Bucket(store.connection, LEASES).get(DONE))

            assert await bucket.names() == {session}


async def test_an_edge_deletes_a_sealed_stream_once_its_events_are_too_old(
    edge_factory: EdgeFactory, own_nats: str
) -> None:
    topology = TopologySettings(events_max_age=1.0, dedup_window=0.5)
    async with Broker(BrokerSettings(own_nats), "test", topology) as store:
        await store.publish(Event.new("job.a.said", {}))
        published = time.monotonic()
        await reshard(store, 2)

        async def is_alone() -> bool:
            return "EVENTS" not in await stream_names(store.connection)

        await eventually(lambda: time.monotonic() - published > 1.5)
        async with edge_factory(nats=own_nats, topology=topology) as edge:
            await eventually(is_alone)
            await eventually(lambda: len(edge.edge.broker.layout.generations) == 1)
            assert await edge.publish({"subject": "job.a.said", "data": {}})
