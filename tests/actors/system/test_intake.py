"""What a durable consumer delivers to an actor, and how each delivery is settled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from actors.system.actor import Actor
from actors.system.context import Context
from actors.system.intake import consumer_name
from actors.system.shard_intake import ack_wait
from router.broker import Broker
from router.deadletter import DeadLetter
from router.event import Event
from router.subject import STORED
from tests.actors.system.running import deadletters_of, events_under, publish, running_actor, settled, stock
from tests.actors.system.sample_actors import made
from tests.letters import letters_under
from tests.router.resharding import broker_of, reshard
from tests.waiting import eventually


async def test_a_redelivered_event_is_not_answered_twice(broker: Broker, entity: str) -> None:
    cause = Event.new(f"{entity}.1.placed", {"sku": entity, "qty": 1})
    for _ in range(2):
        async with running_actor(stock(entity, subjects=(f"{entity}.*.placed",)), broker):
            await broker.store(STORED + cause.subject, msgpack.packb(_map(cause)), {})
            await eventually(lambda: settled(broker, entity))

    assert len(await events_under(broker, f"{entity}.1.placed")) == 2
    assert len(await events_under(broker, f"stock.{entity}.emptied")) == 1


def _map(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "time": event.time,
        "data": event.data,
    }


async def test_a_rejected_event_lies_in_deadletters(broker: Broker, entity: str) -> None:
    async with running_actor(stock(entity), broker):
        await publish(broker, f"{entity}.1.placed", {"qty": 1})

        (letter,) = await eventually(lambda: deadletters_of(broker, entity))
        await eventually(lambda: settled(broker, entity))

    assert (letter.reason, letter.detail, letter.attempts) == ("rejected", "an order needs a sku and a qty", 1)
    assert letter.origin.stream == "EVENTS" and letter.origin.subject == f"ev.{entity}.1.placed"
    assert letter.destination == f"actor-stock-{entity}"
    assert letter.first <= letter.last


async def test_what_is_no_event_lies_in_deadletters_once_and_is_not_delivered_again(
    broker: Broker, entity: str
) -> None:
    other = stock(entity, name=f"other-{entity}")
    async with running_actor(stock(entity), broker), running_actor(other, broker):
        ack = await broker.store(f"ev.{entity}.1.placed", b"\xc1 garbage", {})

        (letter,) = await eventually(lambda: spoiled(broker, ack.sequence))
        await eventually(lambda: settled(broker, entity))
        await eventually(lambda: settled(broker, entity, f"actor-other-{entity}"))

        assert (letter.reason, letter.name) == ("decode_error", "EVENTS")
        assert letter.payload == b"\xc1 garbage"
        assert letter.source in (f"stock-{entity}", f"other-{entity}")
        assert len(await spoiled(broker, ack.sequence)) == 1


async def test_malformed_data_of_a_known_type_lie_in_deadletters_with_the_field(broker: Broker, entity: str) -> None:
    entity = f"{entity}m"
    async with running_actor(stock(entity, subjects=(f"job.{entity}.>",)), broker):
        packed = msgpack.packb(_map(Event.new(f"job.{entity}.progress", {"progress": "half"})))
        ack = await broker.store(f"ev.job.{entity}.progress", packed, {})

        (letter,) = await eventually(lambda: spoiled(broker, ack.sequence))
        await eventually(lambda: settled(broker, entity))

    assert (letter.reason, letter.payload) == ("malformed_event", packed)
    assert letter.detail == "progress: data.progress: expected float | null, got str"
    event = letter.event()
    assert event is not None and event.data == {"progress": "half"}


async def spoiled(broker: Broker, sequence: int) -> list[DeadLetter]:
    """The letters of what was no event, by its place in EVENTS."""
    return [
        letter for letter in await letters_under(broker, "dead.ingest.EVENTS") if letter.origin.sequence == sequence
    ]


async def test_a_poison_event_is_given_up_and_the_next_is_received(broker: Broker, entity: str) -> None:
    async with running_actor(stock(entity, attempts=3), broker):
        await publish(broker, f"{entity}.1.placed", {"explode": True})
        await publish(broker, f"{entity}.2.placed", {"sku": entity, "qty": 1})

        (letter,) = await eventually(lambda: deadletters_of(broker, entity))
        await eventually(lambda: events_under(broker, f"stock.{entity}.emptied"))
        await eventually(lambda: settled(broker, entity))

        assert (letter.reason, letter.attempts) == ("attempts_spent", 3)
        assert "KeyError" in letter.detail


async def test_instances_see_every_event_each(broker: Broker, entity: str) -> None:
    assert consumer_name("stock", "main") == "actor-stock"
    assert consumer_name("stock", "a.b") == "actor-stock-a=2Eb"
    actor = made(name=f"stock-{entity}", subjects=(f"{entity}.*.placed",), receive=note(entity))

    async with running_actor(actor, broker, "east"), running_actor(actor, broker, "west"):
        await publish(broker, f"{entity}.1.placed", {})

        await eventually(lambda: heard_by(broker, entity, {"east", "west"}))


def note(entity: str) -> Callable[..., Any]:
    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        await ctx.publish(f"{entity}-out.1.heard", {"by": ctx.instance})

    return receive


async def heard_by(broker: Broker, entity: str, names: set[str]) -> bool:
    return {event.data["by"] for event in await events_under(broker, f"{entity}-out.1.heard")} == names


async def test_what_a_shutdown_leaves_is_handed_back_at_once(broker: Broker, entity: str) -> None:
    received: list[int] = []
    stopped: list[bool] = []

    async def stuck(self: Actor, event: Event, ctx: Context) -> None:
        received.append(event.data["n"])
        await asyncio.Event().wait()

    async def stop(self: Actor, ctx: Context) -> None:
        stopped.append(True)

    async def free(self: Actor, event: Event, ctx: Context) -> None:
        received.append(event.data["n"])

    fields: dict[str, Any] = {"name": f"stock-{entity}", "subjects": (f"{entity}.*.placed",)}
    async with running_actor(made(receive=stuck, stop=stop, **fields), broker, grace=0.1):
        for number in range(5):
            await publish(broker, f"{entity}.{number}.placed", {"n": number})
        await eventually(lambda: received == [0])
    assert stopped == [True]

    async with running_actor(made(receive=free, **fields), broker):
        # Far below ack_wait (10 s): nothing slept it out.
        await eventually(lambda: sorted(received) == [0, 0, 1, 2, 3, 4])


@pytest.mark.slow
async def test_a_slow_actor_is_not_delivered_its_own_backlog_again(broker: Broker, entity: str) -> None:
    received: list[int] = []

    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        received.append(event.data["n"])
        await asyncio.sleep(1.8)

    actor = made(name=f"stock-{entity}", subjects=(f"{entity}.*.placed",), receive=receive, timeout=3.0, capacity=2)
    assert ack_wait(actor()) == 6.0
    async with running_actor(actor, broker):
        for number in range(4):
            await publish(broker, f"{entity}.{number}.placed", {"n": number})

        await eventually(lambda: settled(broker, entity))

    # Two of them take longer than one may: a message waits for those before it without being delivered again.
    assert received == list(range(4))


async def test_what_is_latest_before_and_delivered_after_leaves_no_gap(broker: Broker, entity: str) -> None:
    """The consumer is made before start runs, so an event published while it runs is delivered."""
    seen: set[int] = set()
    await publish(broker, f"{entity}.0.placed", {"n": 0})

    async def start(self: Actor, ctx: Context) -> None:
        seen.update(event.data["n"] for event in await ctx.latest(f"{entity}.*.placed"))
        await publish(broker, f"{entity}.1.placed", {"n": 1})

    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        seen.add(event.data["n"])

    actor = made(name=f"stock-{entity}", subjects=(f"{entity}.*.placed",), start=start, receive=receive)
    async with running_actor(actor, broker):
        await eventually(lambda: seen == {0, 1})


async def test_after_a_reshard_an_actor_reads_the_former_streams_to_their_ends_and_then_the_new_ones(
    own_nats: str,
) -> None:
    """Each event once, those of an entity in their order; also for an actor that was away meanwhile."""
    received: dict[str, list[int]] = {"here": [], "away": []}

    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        received[self.name].append(event.data["n"])
        await asyncio.sleep(0.001)

    here, away = (made(name=name, subjects=("job.>",), receive=receive) for name in ("here", "away"))
    number = 0

    async def say(broker: Broker, count: int) -> None:
        nonlocal number
        for _ in range(count):
            number += 1
            await publish(broker, f"job.e{number % 5}.said", {"n": number})

    async with broker_of(own_nats) as broker:
        async with running_actor(away, broker):
            await say(broker, 1)
            await eventually(lambda: received["away"] == [1])
        async with running_actor(here, broker):
            await say(broker, 40)
            await reshard(broker, 3)
            await say(broker, 40)
            await eventually(lambda: not broker.earlier.active)
            await reshard(broker, 2)
            await say(broker, 40)
            await eventually(lambda: len(received["here"]) >= 120)
        async with running_actor(away, broker):
            await eventually(lambda: len(received["away"]) >= 121)
            await say(broker, 1)
            await eventually(lambda: received["away"][-1] == 122)

    assert sorted(received["here"]) == list(range(2, 122))
    assert sorted(received["away"]) == list(range(1, 123))
    for numbers in received.values():
        for entity in range(5):
            mine = [each for each in numbers if each % 5 == entity]
            assert mine == sorted(mine)


async def test_a_new_actor_begins_with_what_is_stored_from_now_on_also_after_a_reshard(own_nats: str) -> None:
    received: list[int] = []

    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        received.append(event.data["n"])

    async with broker_of(own_nats) as broker:
        await publish(broker, "job.a.said", {"n": 1})
        await reshard(broker, 2)
        await publish(broker, "job.a.said", {"n": 2})
        async with running_actor(made(name="new", subjects=("job.>",), receive=receive), broker):
            await publish(broker, "job.a.said", {"n": 3})
            await eventually(lambda: received == [3])
