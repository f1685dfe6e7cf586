"""Tests of router/cluster/membership.py against a real nats-server."""

from __future__ import annotations

import asyncio

from router.broker import Broker
from router.cluster.membership import Membership
from router.cluster.ownership import member_key
from router.cluster.role import RoleSettings
from router.errors import Timeout
from router.nats.bucket import Bucket
from router.topology import LEASES
from tests.waiting import eventually, in_time


class UnansweredBucket(Bucket):
    """A bucket whose writes are not answered while `away`."""

    away = False

    async def put(self, key: str, value: bytes, ttl: float | None = None) -> int:
        if self.away:
            raise Timeout("no answer")
        return await super().put(key, value, ttl)


async def test_a_lease_is_held_while_it_is_refreshed_and_released_at_once(broker: Broker, entity: str) -> None:
    bucket, gained = Bucket(broker.connection, LEASES), asyncio.Event()
    membership = Membership(bucket, entity, RoleSettings(ttl=30.0), gained.set, lambda: None)
    assert not membership.held

    running = asyncio.ensure_future(membership.run())
    await in_time(gained.wait())
    assert membership.held and await bucket.get(member_key(entity)) is not None
    running.cancel()
    await membership.release()

    assert await bucket.get(member_key(entity)) is None


async def test_a_lease_that_cannot_be_refreshed_is_lost_and_gained_again(broker: Broker, entity: str) -> None:
    bucket, news = UnansweredBucket(broker.connection, LEASES), list[str]()
    settings = RoleSettings(ttl=1.0)
    membership = Membership(bucket, entity, settings, lambda: news.append("gained"), lambda: news.append("lost"))
    running = asyncio.ensure_future(membership.run())
    await eventually(lambda: "gained" in news)

    bucket.away = True
    await eventually(lambda: news[-1] == "lost")
    assert not membership.held
    bucket.away = False

    await eventually(lambda: news[-1] == "gained" and membership.held)
    running.cancel()
