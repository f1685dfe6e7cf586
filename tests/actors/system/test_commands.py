"""An actor's commands as a NATS micro service."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgpack

from actors.system.actor import Actor, command
from router.broker import Broker
from router.nats.headers import header
from tests.actors.system.running import running_actor, stock
from tests.waiting import in_time


async def test_commands_are_answered_in_the_callers_format(broker: Broker, entity: str) -> None:
    async with running_actor(stock(entity), broker, instance="east"):
        subject = f"cmd.stock-{entity}.east.level"
        in_json = await broker.connection.ask(subject, b'{"sku": "tea"}')
        in_msgpack = await broker.connection.ask(subject, msgpack.packb({"sku": "tea", "scale": 2}))

        assert json.loads(in_json.payload) == 0
        assert msgpack.unpackb(in_msgpack.payload) == 0


async def test_a_refused_command_says_why_and_a_broken_one_says_only_a_number(broker: Broker, entity: str) -> None:
    async with running_actor(stock(entity), broker):
        refused = await broker.connection.ask(f"cmd.stock-{entity}.main.fill", b'{"sku": "tea"}')
        malformed = await broker.connection.ask(f"cmd.stock-{entity}.main.level", b'{"sku": 7}')
        broken = await broker.connection.ask(f"cmd.stock-{entity}.main.burn", b"")

        assert header(refused.headers, b"Nats-Service-Error-Code") == "400"
        assert header(refused.headers, b"Nats-Service-Error") == "tea is not filled by hand"
        assert header(malformed.headers, b"Nats-Service-Error-Code") == "400"
        assert header(broken.headers, b"Nats-Service-Error-Code") == "500"
        assert b"secret" not in broken.headers and b"ZeroDivision" not in broken.headers

        stats = json.loads((await broker.connection.ask(f"$SRV.STATS.stock-{entity}", b"")).payload)
        by_name = {endpoint["name"]: endpoint for endpoint in stats["endpoints"]}
        assert by_name["burn"]["num_errors"] == 1
        assert by_name["burn"]["data"] == {"restarts": 1, "mailbox": 0}


async def test_the_cast_is_described_to_nats(broker: Broker, entity: str) -> None:
    async with running_actor(stock(entity), broker, instance="east"):
        info = await described(broker, entity)

    assert info["description"] == "Counts units on hand and says so when a shelf runs empty."
    assert info["metadata"]["instance"] == "east"
    assert {endpoint["name"]: endpoint["metadata"]["about"] for endpoint in info["endpoints"]} == {
        "level": "Units on hand of one SKU.",
        "fill": "Refuses; nobody fills by hand.",
        "burn": "Breaks.",
        "log_level": "Says how much its process logs, or changes it until the process ends.",
        "redrive": "Takes one of its dead letters back, and answers once the event is settled.",
    }


async def described(broker: Broker, entity: str) -> dict[str, Any]:
    info: dict[str, Any] = json.loads((await broker.connection.ask(f"$SRV.INFO.stock-{entity}", b"")).payload)
    return info


async def test_calls_in_hand_and_waiting_at_a_shutdown_are_answered(broker: Broker, entity: str) -> None:
    entered = asyncio.Event()

    class Slow(Actor):
        name = f"stock-{entity}"

        @command
        async def wait(self) -> str:
            entered.set()
            await asyncio.Event().wait()
            return "never"

    async with running_actor(Slow, broker, grace=0.1):
        asking = [asyncio.ensure_future(broker.connection.ask(f"cmd.stock-{entity}.main.wait", b"")) for _ in range(3)]
        await in_time(entered.wait())

    replies = await asyncio.gather(*asking)
    assert [header(reply.headers, b"Nats-Service-Error-Code") for reply in replies] == ["503"] * 3
