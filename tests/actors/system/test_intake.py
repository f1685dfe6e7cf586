"""What a durable consumer delivers to an actor, and how each delivery is settled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from actors.system.actor import Actor
from actors.system.context import Context
from actors.system.intake import Horizon, ack_wait, consumer_name
from router.broker import Broker
from router.deadletter import DeadLetter
from router.event import Event
from router.subject import STORED
from tests.actors.system.running import deadletters_of, events_under, publish, running_actor, settled, stock
from tests.actors.system.sample_actors import made
from tests.letters import letters_under
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


def test_the_horizon_is_the_next_event_in_hand_and_known_only_once_deliveries_had_time_to_come() -> None:
    now = 0.0
    horizon = Horizon(lambda: now)

    def at(oldest: int | None = None, connected: bool = True, life: int = 0) -> int | None:
        return horizon.at(oldest, connected, life)

    horizon.began(7)
    assert at() == 0, "nothing came yet"
    assert at(100) == 100 and at(90) == 100, "what is delivered again is late"
    horizon.heard(3)
    now = 3.0
    assert at() == 100, "three are on their way"
    horizon.heard(0)
    assert at() is None
    assert at(connected=False) == 100 and at(connected=False) == 100
    now = 60.0
    assert at(life=1) == 100, "what was stored meanwhile may be on its way"
    now = 62.0
    assert at(life=1) is None
    horizon.heard(4)
    now = 66.0
    assert at(life=1) == 100
    now = 67.0
    assert at(life=1) is None, "they were deleted before they came"
