"""Repeats of events across a reshard: what the former generation has stored is not stored again."""

from __future__ import annotations

from router.codec import encode
from router.event import Event
from router.nats.stream import Ack
from router.topology import TopologySettings
from tests.router.resharding import all_stored, broker_of, ids, reshard
from tests.waiting import eventually


def said(number: int) -> Event:
    return Event.new("job.a.said", {"n": number}, id=f"a-{number}")


async def test_a_repeat_behind_a_reshard_gets_the_first_acknowledgement(own_nats: str) -> None:
    async with broker_of(own_nats, TopologySettings()) as broker:
        for number in range(3):
            await broker.publish(said(number))
        await reshard(broker, 2)
        await eventually(lambda: broker.earlier.active)

        again = await broker.publish(said(1))
        fresh = await broker.publish(said(3))

        assert again == Ack(2, True, "EVENTS")
        assert fresh.stream.startswith("EVENTS_1_") and not fresh.duplicate
        stored = await all_stored(broker)
        assert sorted(id for each in stored.values() for id in ids(each)) == ["a-0", "a-1", "a-2", "a-3"]


async def test_nobody_looks_once_the_dedup_window_is_over(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        await broker.publish(said(1))
        await reshard(broker, 2)
        await eventually(lambda: broker.layout.current.number == 1)

        await eventually(lambda: not broker.earlier.active)

        assert (await broker.publish(said(1))).duplicate is False


async def test_an_event_that_nobody_repeats_is_not_looked_for(own_nats: str) -> None:
    async with broker_of(own_nats, TopologySettings()) as broker:
        await broker.publish(said(1))
        await reshard(broker, 2)
        await eventually(lambda: broker.earlier.active)

        ack = await broker.put(said(1), encode(said(1)), is_new=True)

        assert ack.duplicate is False
