"""One actor on a real nats-server: run_actor, and with it intake, commands and runtime."""

from __future__ import annotations

import asyncio

import pytest

from actors.system.actor import Actor, Restart
from actors.system.context import Context
from router.broker import Broker
from router.errors import Escalate, NoResponders
from router.event import Event
from tests.actors.system.running import consumer, events_under, publish, running_actor, settled, stock
from tests.actors.system.sample_actors import made
from tests.waiting import eventually, in_time


async def test_an_event_is_received_and_what_it_leads_to_is_stored(broker: Broker, entity: str) -> None:
    async with running_actor(stock(entity), broker):
        cause = await publish(broker, f"{entity}.1.placed", {"sku": entity, "qty": 1})

        (event,) = await eventually(lambda: events_under(broker, f"stock.{entity}.emptied"))

        assert event.id == f"{cause.id}.stock-{entity}.1"
        assert event.cause == cause.id
        info = await eventually(lambda: settled(broker, entity))
        assert info["config"]["durable_name"] == f"actor-stock-{entity}"
        assert sorted(info["config"]["filter_subjects"]) == [f"ev.{entity}.*.placed", f"ev.{entity}.*.returned"]


async def test_what_events_of_two_publishers_with_one_id_lead_to_is_all_stored(broker: Broker, entity: str) -> None:
    async with running_actor(stock(entity), broker):
        for source in ("alice", "bob"):
            await broker.publish(Event.new(f"{entity}.1.placed", {"sku": entity, "qty": 1}, source=source, id="1"))

        emitted = await eventually(lambda: _two(broker, f"stock.{entity}.emptied"))

        assert {event.cause for event in emitted} == {"1"}


async def _two(broker: Broker, pattern: str) -> list[Event] | None:
    found = await events_under(broker, pattern)
    return found if len(found) == 2 else None


async def test_a_crash_loses_nothing_of_what_waits_in_the_mailbox(broker: Broker, entity: str) -> None:
    seen: list[int] = []

    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        number = event.data["n"]
        if number % 10 == 0 and event.data["n"] not in seen:
            seen.append(number)
            raise RuntimeError("the first time")
        ctx.emit(f"{entity}-out.{number}.done", {"n": number})

    restart = Restart(tries=100, base=0.005, cap=0.01)
    actor = made(name=f"stock-{entity}", subjects=(f"{entity}.*.placed",), receive=receive, restart=restart)
    async with running_actor(actor, broker):
        for number in range(40):
            await publish(broker, f"{entity}.{number}.placed", {"n": number})

        await eventually(lambda: settled(broker, entity))

    assert sorted(event.data["n"] for event in await events_under(broker, f"{entity}-out.*.done")) == list(range(40))


async def test_more_crashes_than_allowed_end_the_run(broker: Broker, entity: str) -> None:
    actor = stock(entity, restart=Restart(tries=1, within=60, base=0.01, cap=0.01))
    async with running_actor(actor, broker) as running:
        await publish(broker, f"{entity}.1.placed", {"explode": True})

        with pytest.raises(Escalate, match=f"stock-{entity} crashed 2 times"):
            await in_time(asyncio.shield(running))

    with pytest.raises(NoResponders):
        await broker.connection.ask(f"cmd.stock-{entity}.main.level", b"{}")


async def test_a_shutdown_works_off_the_mailbox(broker: Broker, entity: str) -> None:
    received: list[int] = []

    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        await asyncio.sleep(0.01)
        received.append(event.data["n"])

    actor = made(name=f"stock-{entity}", subjects=(f"{entity}.*.placed",), receive=receive)
    async with running_actor(actor, broker):
        for number in range(20):
            await publish(broker, f"{entity}.{number}.placed", {"n": number})
        await eventually(lambda: received)

    info = await consumer(broker, entity)
    assert info["num_ack_pending"] == 0
    assert len(received) + info["num_pending"] == 20
    assert len(received) > 1


async def test_a_producer_ticks(broker: Broker, entity: str) -> None:
    async def tick(self: Actor, ctx: Context) -> None:
        ctx.emit(f"{entity}.1.ticked", {})

    async with running_actor(made(name=f"stock-{entity}", tick=tick, every=0.02), broker):
        await eventually(lambda: many(broker, f"{entity}.1.ticked", 3))


async def many(broker: Broker, pattern: str, count: int) -> bool:
    return len(await events_under(broker, pattern)) >= count


async def test_a_run_that_is_cancelled_leaves_nothing_running(broker: Broker, entity: str) -> None:
    before = asyncio.all_tasks()
    async with running_actor(stock(entity), broker) as running:
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()

        await eventually(lambda: asyncio.all_tasks() <= before)
