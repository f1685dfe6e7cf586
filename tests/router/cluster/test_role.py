from __future__ import annotations

import asyncio
import logging
import time

import pytest

from router.broker import Broker
from router.cluster.departures import Departures
from router.cluster.role import LeadershipLost, Role, RoleSettings, WorkRestart
from router.errors import Timeout
from router.nats.bucket import Bucket, Entry
from router.nats.settings import BrokerSettings
from router.topology import LEASES
from tests.waiting import PATIENCE, eventually

# Short enough to see it out, and longer than a busy machine keeps an owner from its refresh.
SETTINGS = RoleSettings(ttl=6.0, poll=0.1)
# Nobody gets it because the lease of another has ended.
FOR_EVER = RoleSettings(ttl=3600.0, poll=0.1)


# While nobody is heard to end, the lease is looked at again so seldom.
SELDOM = RoleSettings(ttl=6.0, poll=0.1, poll_seldom=3600.0)


class CountingBucket(Bucket):
    """Counts the looks at a lease."""

    looks = 0

    async def get(self, key: str) -> Entry | None:
        self.looks += 1
        return await super().get(key)


class Contender:
    """A process that wants the role, and counts how often it got it."""

    def __init__(
        self,
        broker: Broker,
        key: str,
        name: str,
        settings: RoleSettings = SETTINGS,
        departures: Departures | None = None,
    ) -> None:
        self.bucket = CountingBucket(broker.connection, LEASES)
        self.role = Role(self.bucket, f"role.{key}", name, settings, departures=departures)
        self.terms = 0
        self.working = False
        self.failing = asyncio.Event()
        self.fault: type[Exception] = LeadershipLost
        self.task = asyncio.ensure_future(self.role.run(self._work))

    async def _work(self) -> None:
        self.terms += 1
        self.working = True
        try:
            await self.failing.wait()
            self.failing.clear()
            raise self.fault
        finally:
            self.working = False

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.mark.slow
async def test_one_of_many_has_the_role_and_keeps_it_past_its_ttl(broker: Broker, entity: str):
    contenders = [Contender(broker, entity, name) for name in "abc"]
    await eventually(lambda: sum(each.working for each in contenders) == 1)

    began = time.monotonic()
    while time.monotonic() - began < SETTINGS.ttl * 1.2:
        assert sum(each.working for each in contenders) == 1
        await asyncio.sleep(0.05)

    assert sum(each.terms for each in contenders) == 1
    for each in contenders:
        await each.leave()


async def test_who_leaves_in_good_order_is_followed_at_once(broker: Broker, entity: str):
    first = Contender(broker, entity, "first", FOR_EVER)
    await eventually(lambda: first.working)
    second = Contender(broker, entity, "second", FOR_EVER)

    await first.leave()

    await eventually(lambda: second.working)
    await second.leave()


async def test_work_that_ends_to_begin_anew_is_no_lost_leadership(
    broker: Broker, entity: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "router.cluster.role")
    contender = Contender(broker, entity, "contender", FOR_EVER)
    await eventually(lambda: contender.working)

    contender.fault = WorkRestart
    contender.failing.set()
    await eventually(lambda: contender.terms == 2)
    assert "leader's work has ended" in caplog.text and "leadership lost" not in caplog.text

    contender.fault = LeadershipLost
    await eventually(lambda: contender.working)
    contender.failing.set()
    await eventually(lambda: contender.terms == 3)
    assert "leadership lost" in caplog.text
    await contender.leave()


async def test_who_dies_is_followed_after_the_ttl(broker: Broker, broker_settings: BrokerSettings, entity: str):
    dying = Broker(broker_settings, "dying")
    await dying.open(apply=False)
    first = Contender(dying, entity, "first")
    await eventually(lambda: first.working)
    second = Contender(broker, entity, "second")

    await dying.connection._wire.close()

    await eventually(lambda: second.working)
    # And who only lost its connection has noticed by itself, before another could begin.
    assert not first.working
    await first.leave()
    await second.leave()
    await dying.close()


async def test_who_hears_of_departures_looks_seldom_until_a_process_has_ended(
    broker: Broker, broker_settings: BrokerSettings, entity: str, monkeypatch: pytest.MonkeyPatch
):
    # As if the time in which it looks often after its start were over.
    monkeypatch.setattr(Role, "_look_often", lambda _role: None)
    dying = Broker(broker_settings, "dying")
    await dying.open(apply=False)
    first = Contender(dying, entity, "first", SELDOM)
    await eventually(lambda: first.working)
    departures = Departures()
    second = Contender(broker, entity, "second", SELDOM, departures)
    await eventually(lambda: second.role.owner == "first")
    monkeypatch.undo()

    await dying.connection._wire.close()
    await eventually(lambda: not first.working)
    assert second.bucket.looks == 1
    departures.tell()

    await eventually(lambda: second.working)
    await first.leave()
    await second.leave()
    await dying.close()


async def test_a_role_that_its_leader_lost_without_ending_is_taken_at_the_next_look(broker: Broker, entity: str):
    settings = RoleSettings(ttl=3600.0, poll=0.1, poll_seldom=1.0)
    first = Contender(broker, entity, "first", settings)
    await eventually(lambda: first.working)
    second = Contender(broker, entity, "second", settings, Departures())
    second.role._often_until = 0.0
    await eventually(lambda: second.role.owner == "first")

    await first.leave()

    await eventually(lambda: second.working)
    await second.leave()


async def test_work_that_finds_the_role_lost_begins_again(broker: Broker, entity: str):
    only = Contender(broker, entity, "only")
    await eventually(lambda: only.working)

    only.failing.set()

    await eventually(lambda: only.terms == 2 and only.working)
    await only.leave()


async def test_one_whose_holder_is_known_to_be_dead_is_taken_at_once(broker: Broker, entity: str):
    bucket = Bucket(broker.connection, LEASES)
    await bucket.put(f"role.{entity}", b"host/1/99", 3600)
    role = Role(bucket, f"role.{entity}", "host/1/100", SETTINGS, dead=lambda holder: holder == "host/1/99")

    async with asyncio.timeout(PATIENCE):
        assert await role.term(_nothing)


async def _nothing() -> None:
    """Done at once."""


async def test_who_is_not_wary_works_on_while_nats_is_away_and_keeps_the_role(broker: Broker, entity: str):
    bucket = Bucket(broker.connection, LEASES)
    settings = RoleSettings(ttl=1.0, poll=0.1, steps_down=False)
    role = Role(bucket, f"role.{entity}", "only", settings)
    leave = asyncio.Event()
    term = asyncio.ensure_future(role.term(lambda: leave.wait()))  # type: ignore[arg-type,return-value]
    await eventually(lambda: role.is_leader)

    # As if NATS had been away for so long that the lease ran out.
    await bucket.delete(f"role.{entity}")
    entry = await eventually(lambda: bucket.get(f"role.{entity}"))

    assert entry.value == b"only" and role.is_leader
    leave.set()
    assert await term


async def test_who_is_not_wary_stops_once_another_has_the_role(broker: Broker, entity: str):
    bucket = Bucket(broker.connection, LEASES)
    role = Role(bucket, f"role.{entity}", "first", RoleSettings(ttl=1.0, poll=0.1, steps_down=False))
    term = asyncio.ensure_future(role.term(lambda: asyncio.Event().wait()))  # type: ignore[arg-type,return-value]
    await eventually(lambda: role.is_leader)

    await bucket.put(f"role.{entity}", b"second", 3600)

    async with asyncio.timeout(PATIENCE):
        assert not await term


async def test_work_that_nats_interrupts_begins_again(broker: Broker, entity: str):
    begun = asyncio.Event()
    terms = 0

    async def work() -> None:
        nonlocal terms
        terms += 1
        if terms == 1:
            raise Timeout
        begun.set()
        await asyncio.Event().wait()

    role = Role(Bucket(broker.connection, LEASES), f"role.{entity}", "one", SETTINGS)
    running = asyncio.ensure_future(role.run(work))
    try:
        await eventually(begun.is_set)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_work_that_fails_by_a_fault_of_its_own_ends_the_role(broker: Broker, entity: str):
    async def work() -> None:
        raise ZeroDivisionError

    role = Role(Bucket(broker.connection, LEASES), f"role.{entity}", "one", SETTINGS)
    with pytest.raises(ZeroDivisionError):
        await role.run(work)


async def test_who_leaves_while_a_refresh_was_not_answered_is_followed_at_once(broker: Broker, entity: str):
    bucket = Bucket(broker.connection, LEASES)
    first = Contender(broker, entity, "first", FOR_EVER)
    await eventually(lambda: first.working)
    second = Contender(broker, entity, "second", FOR_EVER)
    # Written in its name, and the revision of that never learnt.
    await bucket.put(f"role.{entity}", b"first", FOR_EVER.ttl)

    await first.leave()

    await eventually(lambda: second.working)
    await second.leave()
