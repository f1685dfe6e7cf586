"""Tests of router/nats/publisher.py: many messages published side by side, each with an answer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from router.broker import Broker
from router.errors import Refused, Timeout
from router.nats.error_codes import ErrorCode
from router.nats.publisher import Publish, Publisher
from router.nats.stream import Ack
from router.topology import HOOKS, TopologySettings
from tests.waiting import eventually, in_time, unhurried


@pytest.fixture
async def alone(own_nats: str) -> AsyncIterator[Broker]:
    """A broker on a server of its own, with room for fifty jobs of a session."""
    settings = unhurried(own_nats)
    async with Broker(settings, "test", TopologySettings(hooks_per_session=50)) as opened:
        yield opened


def job(number: int, session: str = "sess_1") -> Publish:
    return Publish(f"hook.q.0.{session}", b"%d" % number, {"Nats-Msg-Id": f"{session}.{number}"})


async def test_each_message_is_answered_for_in_its_place(alone: Broker):
    publisher = Publisher(alone.connection)
    nowhere = Publish("nobody.listens", b"", {})

    answers = await publisher.send([job(1), job(2), job(1), nowhere, *(job(n, "full") for n in range(51))])

    assert [answers[0], answers[1], answers[2]] == [Ack(1, False, HOOKS), Ack(2, False, HOOKS), Ack(1, True, HOOKS)]
    assert isinstance(answers[3], Timeout)
    assert all(isinstance(answer, Ack) for answer in answers[4:54])
    assert isinstance(answers[54], Refused) and answers[54].err_code == ErrorCode.STREAM_STORE_FAILED
    await publisher.close()


async def test_many_callers_get_their_own_answers(alone: Broker):
    publisher = Publisher(alone.connection)

    rounds = await asyncio.gather(*(publisher.send([job(0, f"sess_{n}"), job(1, f"sess_{n}")]) for n in range(20)))

    assert len({answer for answers in rounds for answer in answers}) == 40
    await publisher.close()


async def test_who_waits_when_the_connection_is_lost_is_told_at_once(alone: Broker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("router.nats.publisher.ACK_TIMEOUT", 3600.0)
    publisher = Publisher(alone.connection)
    # It is taken, and never answered.
    listening = await alone.connection.listen("silent", lambda *_: None)
    sending = asyncio.ensure_future(publisher.send([Publish("silent", b"", {})]))
    await eventually(lambda: publisher._flights)

    await alone.connection._wire.force_reconnect()

    (answer,) = await in_time(sending)
    assert isinstance(answer, Timeout)
    await listening.stop()
    await publisher.close()
