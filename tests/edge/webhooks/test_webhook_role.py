from __future__ import annotations

import asyncio
import time

from edge.webhooks.role import Lost, Role, RoleSettings
from router.broker import Broker
from router.buckets import Bucket
from router.connection import BrokerSettings
from router.topology import LEASES
from tests.edge.webhooks.stage import Stage
from tests.waiting import eventually

SETTINGS = RoleSettings(ttl=2.0, poll=0.1)


class Contender:
    """A process that wants the role, and counts how often it got it."""

    def __init__(self, broker: Broker, name: str) -> None:
        self.role = Role(Bucket(broker.connection, LEASES), "role.test", name, SETTINGS)
        self.terms = 0
        self.working = False
        self.failing = asyncio.Event()
        self.task = asyncio.ensure_future(self.role.run(self._work))

    async def _work(self) -> None:
        self.terms += 1
        self.working = True
        try:
            await self.failing.wait()
            self.failing.clear()
            raise Lost
        finally:
            self.working = False

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_one_of_many_has_the_role_and_keeps_it_past_its_ttl(stage: Stage):
    contenders = [Contender(stage.broker, name) for name in "abc"]
    await eventually(lambda: sum(each.working for each in contenders) == 1)

    began = time.monotonic()
    while time.monotonic() - began < SETTINGS.ttl * 1.5:
        assert sum(each.working for each in contenders) == 1
        await asyncio.sleep(0.05)

    assert sum(each.terms for each in contenders) == 1
    for each in contenders:
        await each.leave()


async def test_who_leaves_in_good_order_is_followed_at_once(stage: Stage):
    first = Contender(stage.broker, "first")
    await eventually(lambda: first.working)
    second = Contender(stage.broker, "second")

    await first.leave()

    began = time.monotonic()
    await eventually(lambda: second.working)
    assert time.monotonic() - began < 1.0
    await second.leave()


async def test_who_dies_is_followed_after_the_ttl(stage: Stage):
    broker = Broker(BrokerSettings(url=stage.url), "dying")
    await broker.open(apply=False)
    first = Contender(broker, "first")
    await eventually(lambda: first.working)
    second = Contender(stage.broker, "second")

    await broker.connection._wire.close()

    began = time.monotonic()
    await eventually(lambda: second.working, within=6)
    assert time.monotonic() - began < 4.5
    # And who only lost its connection has noticed by itself, before another could begin.
    assert not first.working
    await first.leave()
    await second.leave()
    await broker.close()


async def test_work_that_finds_the_role_lost_begins_again(stage: Stage):
    only = Contender(stage.broker, "only")
    await eventually(lambda: only.working)

    only.failing.set()

    await eventually(lambda: only.terms == 2 and only.working)
    await only.leave()
