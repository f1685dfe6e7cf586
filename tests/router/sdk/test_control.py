"""Tests of router/sdk/control.py against a real nats-server."""

from __future__ import annotations

import contextlib

import msgspec
import pytest

from router.broker import Broker
from router.errors import BrokerError, NoResponders
from router.sdk import Run
from tests.router.sdk.runs import events_of, types
from tests.waiting import eventually, in_time


async def test_a_request_to_stop_is_answered_and_ends_the_run(broker: Broker, entity: str) -> None:
    connection, subject = broker.connection, f"cmd.run.{entity}.stop"

    async def stop() -> bytes | None:
        with contextlib.suppress(NoResponders):
            return (await connection.ask(subject, b'{"domain":"agent","reason":"enough"}')).payload
        return None

    async with Run(entity, broker) as run:
        answer = await eventually(stop)
        await in_time(run.stopped.wait())
        again = await stop()

    assert msgspec.json.decode(answer)["ok"] is True and again == answer
    assert run.stop_reason == "enough"
    events = await events_of(broker, entity)
    assert types(events) == ["workflow_start", "stopping", "completion"]
    assert events[1].data == {"reason": "enough"}
    assert events[2].data["status"] == "cancelled"
    with pytest.raises(NoResponders):
        await connection.ask(subject, b"")


async def test_a_request_to_stop_a_run_of_another_domain_is_ignored(broker: Broker, entity: str) -> None:
    async def ask(payload: bytes) -> bool:
        with contextlib.suppress(BrokerError):
            await broker.connection.ask(f"cmd.run.{entity}.stop", payload, timeout=0.2)
            return True
        return False

    async with Run(entity, broker) as run:
        await eventually(lambda: run.sent == 1)
        assert not await ask(b'{"domain":"job"}')
        assert not run.stopped.is_set()
        # What is not JSON names no domain, and so means this one.
        await eventually(lambda: ask(b"\xff"))

    assert run.stopped.is_set() and run.stop_reason is None
