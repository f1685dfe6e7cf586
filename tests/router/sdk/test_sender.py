"""Tests of router/sdk/sender.py."""

from __future__ import annotations

from router.broker import Broker
from router.nats.settings import BrokerSettings
from router.sdk.over_http import HttpDoor, HttpSender
from router.sdk.over_nats import NatsSender
from router.sdk.queued import Life
from router.sdk.sender import EventSender, Sent


async def test_both_transports_are_senders_of_a_life() -> None:
    life = Life("agent", "one", "one", "a1", "sdk")
    senders: list[EventSender] = [
        NatsSender(Broker(BrokerSettings(), "test"), life, 10, opens=False),
        HttpSender(HttpDoor("http://edge"), life, 10, opens=False),
    ]

    assert [sender.incarnation for sender in senders] == ["a1", "a1"]
    assert [sender.url for sender in senders] == ["nats://127.0.0.1:4222", "http://edge"]
    for sender in senders:
        await sender.release()


def test_what_was_sent_is_nothing_where_nothing_is_said() -> None:
    assert Sent() == (0, 0, None, None)
