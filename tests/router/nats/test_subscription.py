"""Tests of router/nats/subscription.py against a real nats-server."""

from __future__ import annotations

from router.broker import Broker


async def test_a_drained_subscription_hears_what_was_under_way_and_nothing_later(broker: Broker, entity: str) -> None:
    heard: list[bytes] = []
    listening = await broker.connection.listen(f"test.{entity}", lambda _s, _r, payload, _h: heard.append(payload))

    for _ in range(50):
        await broker.connection.send(f"test.{entity}", b"before")
    await listening.drain()
    await broker.connection.send(f"test.{entity}", b"after")
    await broker.connection.flush()

    assert heard == [b"before"] * 50


async def test_a_stopped_subscription_receives_nothing_more(broker: Broker, entity: str) -> None:
    heard: list[bytes] = []
    listening = await broker.connection.listen(f"test.{entity}", lambda _s, _r, payload, _h: heard.append(payload))
    await broker.connection.send(f"test.{entity}", b"before")
    await broker.connection.flush()

    await listening.stop()
    await broker.connection.send(f"test.{entity}", b"after")
    await broker.connection.flush()

    assert heard == [b"before"]
