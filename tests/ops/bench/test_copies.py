"""Subscribers of the benchmark that NATS sends each live event."""

from __future__ import annotations

from ops.bench.copies import SUBJECT, Subscribers
from router.broker import Broker
from router.event import Event
from router.nats.settings import BrokerSettings
from tests.waiting import eventually

TEXT = "x" * 1000


async def test_each_subscriber_is_sent_each_live_event(broker: Broker, broker_settings: BrokerSettings) -> None:
    subscribers = Subscribers(broker_settings.url)
    try:
        subscribers.grow(3)
        subscribers.grow(2)

        await broker.publish(Event.new(SUBJECT, {"text": TEXT}))
        await eventually(lambda: subscribers.bytes > 3 * len(TEXT))
        first = subscribers.bytes
        subscribers.grow(4)
        await broker.publish(Event.new(SUBJECT, {"text": TEXT}))
        await eventually(lambda: subscribers.bytes > first + 4 * len(TEXT))
    finally:
        subscribers.close()
