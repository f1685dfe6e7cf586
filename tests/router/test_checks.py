"""Tests of router/checks.py."""

from __future__ import annotations

import asyncio

from router.broker import Broker
from router.checks import Checks, stored_at
from router.codec import encode
from router.cursor import UNKNOWN, check_of
from router.event import Event


async def test_a_check_is_read_from_the_stream_and_then_known(broker: Broker, entity: str) -> None:
    event = Event.new(f"job.{entity}.progress")
    sequence = (await broker.publish(event)).sequence
    checks = Checks(broker.connection)
    assert checks.known(sequence) == UNKNOWN

    found = await asyncio.gather(*(checks.find(sequence) for _ in range(3)))

    assert found == [check_of(encode(event))] * 3 and checks.known(sequence) == found[0]
    assert checks.newest() == {"EVENTS": (sequence, found[0])}
    assert await stored_at(broker.connection, sequence) == encode(event)


async def test_a_position_that_is_not_kept_has_no_check(broker: Broker) -> None:
    checks = Checks(broker.connection)

    assert await checks.find(10**12) == UNKNOWN and await checks.find(0) == UNKNOWN
    assert len(checks) == 0


async def test_an_answer_that_may_be_of_another_life_of_the_stream_is_not_kept(broker: Broker, entity: str) -> None:
    sequence = (await broker.publish(Event.new(f"job.{entity}.progress"))).sequence
    checks = Checks(broker.connection)
    asking = asyncio.ensure_future(checks.find(sequence))
    await asyncio.sleep(0)

    checks.doubt()

    assert await asking != UNKNOWN
    assert checks.known(sequence) == UNKNOWN


def test_the_oldest_of_too_many_checks_is_forgotten(broker_settings: object) -> None:
    checks = Checks(None, 2)  # type: ignore[arg-type]

    for sequence in (1, 2, 3):
        checks.note(sequence, sequence)
    checks.note(4, UNKNOWN)

    assert [checks.known(sequence) for sequence in (1, 2, 3, 4)] == [UNKNOWN, 2, 3, UNKNOWN]
    checks.clear()
    assert len(checks) == 0 and checks.newest() == {}
