"""A dead letter that is redriven to its actor."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgpack
import pytest

from actors.system.actor import Actor, Reject
from actors.system.context import Context
from router.broker import Broker
from router.deadletter import DeadLetter
from router.errors import NoResponders
from router.event import Event
from router.nats.headers import header
from tests.actors.system.running import deadletters_of, events_under, publish, running_actor, stock
from tests.actors.system.sample_actors import made
from tests.waiting import eventually, in_time


async def redrive(broker: Broker, letter: DeadLetter, id: str, payload: bytes | None = None) -> dict[str, Any]:
    """Sends a letter back as a redrive does; the answer, or the error code."""
    request = msgpack.packb({"id": id, "event": payload if payload is not None else letter.payload})
    reply = await broker.connection.ask(letter.back, request)
    code = header(reply.headers, b"Nats-Service-Error-Code")
    return {"code": code} if code else msgpack.unpackb(reply.payload)


async def test_a_dead_letter_that_comes_back_is_received_once_and_answered(broker: Broker, entity: str) -> None:
    good: list[bool] = []
    received: list[str] = []

    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        received.append(event.id)
        if not good:
            raise Reject("not yet")
        ctx.emit(f"stock.{entity}.emptied", {})

    actor = made(name=f"stock-{entity}", subjects=(f"{entity}.*.placed",), receive=receive)
    async with running_actor(actor, broker, instance="east"):
        event = await publish(broker, f"{entity}.1.placed", {})
        (letter,) = await eventually(lambda: deadletters_of(broker, entity))
        assert letter.back == f"cmd.stock-{entity}.east.redrive"

        again = await redrive(broker, letter, "rd.1")
        good.append(True)
        settled_twice = await asyncio.gather(*(redrive(broker, letter, "rd.2") for _ in range(3)))
        remembered = await redrive(broker, letter, "rd.2")

        assert again == {"outcome": "rejected", "reason": "rejected", "detail": "not yet"}
        assert [*settled_twice, remembered] == [{"outcome": "acked"}] * 4
        assert received == [event.id] * 3
        (emitted,) = await events_under(broker, f"stock.{entity}.emptied")
        assert emitted.id == f"{event.id}.stock-{entity}.1"


async def test_a_dead_letter_that_crashes_the_actor_again_is_answered_at_the_first_crash(
    broker: Broker, entity: str
) -> None:
    async with running_actor(stock(entity, attempts=2), broker):
        await publish(broker, f"{entity}.1.placed", {"explode": True})
        (letter,) = await eventually(lambda: deadletters_of(broker, entity))

        answer = await redrive(broker, letter, "rd.1")

        assert (answer["outcome"], answer["reason"]) == ("rejected", "attempts_spent")
        # The first two attempts, and this one.
        assert await eventually(lambda: restarts(broker, entity, 3))


async def restarts(broker: Broker, entity: str, count: int) -> bool:
    stats = json.loads((await broker.connection.ask(f"$SRV.STATS.stock-{entity}", b"")).payload)
    return bool(stats["endpoints"][0]["data"]["restarts"] == count)


async def test_a_letter_that_cannot_be_taken_back_is_refused_with_a_code(broker: Broker, entity: str) -> None:
    async with running_actor(stock(entity), broker):
        await publish(broker, f"{entity}.1.placed", {})
        (letter,) = await eventually(lambda: deadletters_of(broker, entity))

        garbage = await redrive(broker, letter, "rd.1", b"\xc1")
        nameless = await redrive(broker, letter, "")

    assert (garbage, nameless) == ({"code": "422"}, {"code": "400"})
    with pytest.raises(NoResponders):
        await redrive(broker, letter, "rd.2")


async def test_who_sent_a_letter_is_told_of_a_shutdown(broker: Broker, entity: str) -> None:
    entered = asyncio.Event()
    stuck: list[bool] = []

    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        if not stuck:
            stuck.append(True)
            raise Reject("no")
        entered.set()
        await asyncio.Event().wait()

    actor = made(name=f"stock-{entity}", subjects=(f"{entity}.*.placed",), receive=receive)
    async with running_actor(actor, broker, grace=0.1):
        await publish(broker, f"{entity}.1.placed", {})
        (letter,) = await eventually(lambda: deadletters_of(broker, entity))
        asking = [asyncio.ensure_future(redrive(broker, letter, f"rd.{n}")) for n in range(2)]
        await in_time(entered.wait())

    assert await in_time(asyncio.gather(*asking)) == [{"code": "503"}] * 2
