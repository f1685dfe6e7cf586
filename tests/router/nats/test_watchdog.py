"""Tests of router/nats/watchdog.py against a real nats-server."""

from __future__ import annotations

import pytest

from router.broker import Broker
from router.nats import watchdog
from router.nats.settings import BrokerSettings
from tests.waiting import eventually


async def test_a_connection_whose_read_loop_has_ended_is_made_again(
    nats_server: str, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "WATCH_SECONDS", 0.05)
    async with Broker(BrokerSettings(nats_server), "test") as broker:
        heard: list[bytes] = []
        await broker.connection.listen(f"test.{entity}", lambda _s, _r, payload, _h: heard.append(payload))

        # nats-py goes on as if it were connected.
        broker.connection._wire._reading_task.cancel()

        await eventually(lambda: broker.connection.reconnects == 1)
        await broker.connection.send(f"test.{entity}", b"again")
        await eventually(lambda: heard == [b"again"])


async def test_a_connection_that_answers_is_left_alone(
    nats_server: str, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "WATCH_SECONDS", 0.0)
    async with Broker(BrokerSettings(nats_server), "test") as broker:
        for _ in range(20):
            await broker.connection.flush()

        assert broker.connection.reconnects == 0
