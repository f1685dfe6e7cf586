"""Tests of router/cluster/leases.py: counting on a clock that is moved by hand, and holding against a real nats-server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from router.broker import Broker
from router.cluster.leases import Leases, Viewers, lease_key, view_key, watch
from router.timing import ManualClock
from tests.waiting import eventually, in_time


@contextlib.asynccontextmanager
async def running(*work: object) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.ensure_future(each) for each in work]  # type: ignore[call-overload]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_tokens_from_outside_cannot_shape_a_key() -> None:
    assert view_key("camera", "a.b*", "s>1") == "view.camera.a=2Eb=2A.s=3E1"
    assert lease_key("role", "fanout") == "role.fanout"


def test_viewers_know_what_of_an_entity_is_watched_each_once_and_the_longest_watched_first() -> None:
    viewers = Viewers("octane", "a.b")
    what = ("depth of field", "png-512")

    viewers.saw(view_key("octane", "a.b", "s1", *what), 60)
    viewers.saw(view_key("octane", "a.b", "s1"), 60)
    viewers.saw(view_key("octane", "a.b", "s2", *what), 60)

    assert viewers.wanted == [what, ()] and viewers.count == 3
    viewers.saw(view_key("octane", "a.b", "s1", *what), None)
    assert viewers.wanted == [(), what]
    viewers.saw(view_key("octane", "a.b", "s2", *what), None)
    assert viewers.wanted == [()]


async def test_a_lease_that_is_not_refreshed_runs_out_here_too() -> None:
    clock = ManualClock()
    viewers = Viewers("camera", "door", clock)
    viewers.saw("view.camera.door.1", 15)
    await clock.advance(10)
    viewers.saw("view.camera.door.2", 15)
    assert viewers.count == 2

    await clock.advance(6)
    assert viewers.count == 1

    await clock.advance(10)
    assert viewers.count == 0


async def test_waiting_for_none_ends_when_the_last_lease_runs_out() -> None:
    clock = ManualClock()
    viewers = Viewers("camera", "door", clock)
    viewers.saw("view.camera.door.1", 15)
    waiting = asyncio.ensure_future(viewers.wait_for_none())

    await clock.advance(10)
    viewers.saw("view.camera.door.1", 15)
    await clock.advance(10)
    assert not waiting.done()

    await clock.advance(6)
    await in_time(waiting)


async def test_waiting_for_some_ends_for_everybody_who_waits() -> None:
    viewers = Viewers("camera", "door")
    waiting = [asyncio.ensure_future(viewers.wait_for_some()) for _ in range(3)]
    await asyncio.sleep(0)

    viewers.saw("view.camera.door.1", 15)

    await in_time(asyncio.gather(*waiting))


async def test_a_viewer_is_counted_while_it_holds_and_not_afterwards(broker: Broker, entity: str) -> None:
    leases = Leases(broker.connection)
    viewers = Viewers("camera", entity)
    async with running(watch(viewers, broker.connection)):
        async with running(
            leases.hold(view_key("camera", entity, "s1"), 10), leases.hold(view_key("camera", entity, "s.2"), 10)
        ):
            await eventually(lambda: viewers.count == 2)
        await in_time(viewers.wait_for_none())

    assert await leases.bucket.get(view_key("camera", entity, "s1")) is None


async def test_a_late_watcher_finds_who_is_there(broker: Broker, entity: str) -> None:
    viewers = Viewers("camera", entity)
    async with running(Leases(broker.connection).hold(view_key("camera", entity, "s1"), 10)) as (holding,):
        await eventually(lambda: Leases(broker.connection).bucket.get(view_key("camera", entity, "s1")))
        async with running(watch(viewers, broker.connection)):
            await in_time(viewers.wait_for_some())
        assert not holding.done()


async def test_a_holder_that_dies_is_forgotten_after_its_ttl(broker: Broker, entity: str) -> None:
    leases = Leases(broker.connection)
    key = view_key("camera", entity, "dead")
    viewers = Viewers("camera", entity)
    async with running(watch(viewers, broker.connection)):
        await leases.bucket.put(key, msgspec.json.encode({"ttl": 5}), ttl=5)
        await in_time(viewers.wait_for_some())

        await in_time(viewers.wait_for_none())

    await eventually(lambda: gone(leases, key))


async def gone(leases: Leases, key: str) -> bool:
    return await leases.bucket.get(key) is None


async def test_a_lease_outlives_its_ttl_as_long_as_it_is_held(broker: Broker, entity: str) -> None:
    leases = Leases(broker.connection)
    key = view_key("camera", entity, "s1")
    async with running(leases.hold(key, 1)):
        first = await eventually(lambda: leases.bucket.get(key))
        assert first

        # Three refreshes a ttl: five later more than one ttl has passed.
        await eventually(lambda: refreshed(leases, key, first.revision + 5))


async def refreshed(leases: Leases, key: str, revision: int) -> bool:
    entry = await leases.bucket.get(key)
    assert entry is not None
    return entry.revision >= revision


async def test_a_lease_that_names_what_it_watches_is_heard(broker: Broker, entity: str) -> None:
    viewers = Viewers("octane", entity)
    async with running(
        watch(viewers, broker.connection),
        Leases(broker.connection).hold(view_key("octane", entity, "s1", "beauty", "webp"), 60),
    ):
        await eventually(lambda: viewers.wanted == [("beauty", "webp")])
        assert viewers.count == 1


async def test_a_foreign_value_is_not_counted_and_stops_nothing(broker: Broker, entity: str) -> None:
    leases = Leases(broker.connection)
    viewers = Viewers("camera", entity)
    async with running(watch(viewers, broker.connection)):
        await leases.bucket.put(view_key("camera", entity, "odd"), b"\x00", ttl=600)
        await leases.bucket.put(view_key("camera", entity, "good"), b'{"ttl": 600}', ttl=600)

        await in_time(viewers.wait_for_some())

        assert viewers.count == 1


@pytest.mark.parametrize("count", [1, 3])
async def test_leases_and_counts_survive_a_lost_connection(broker: Broker, entity: str, count: int) -> None:
    leases = Leases(broker.connection)
    viewers = Viewers("camera", entity)
    async with running(
        watch(viewers, broker.connection),
        *(leases.hold(view_key("camera", entity, f"s{n}"), 2) for n in range(count)),
    ):
        await eventually(lambda: viewers.count == count)

        await broker.connection._wire.force_reconnect()

        await eventually(lambda: broker.connection.reconnects == 1)
        await leases.bucket.put(view_key("camera", entity, "new"), b'{"ttl": 60}', ttl=60)
        await eventually(lambda: viewers.count == count + 1)
