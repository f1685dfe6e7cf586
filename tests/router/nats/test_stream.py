"""Stored messages read by Direct Get: one, a run of them, and what is said where there are none."""

from __future__ import annotations

import pytest

from router.broker import Broker
from router.errors import BrokerError
from router.event import Event
from router.nats.stream import read_one, read_run, stored
from router.subject import STORED
from router.topology import EVENTS


async def _publish(broker: Broker, entity: str, count: int) -> list[int]:
    return [(await broker.publish(Event.new(f"job.{entity}.done", {"n": n}))).sequence for n in range(count)]


async def test_a_run_comes_in_order_and_says_how_many_are_left(broker: Broker, entity: str) -> None:
    places = await _publish(broker, entity, 5)
    request = {"seq": places[0], "batch": 3, "next_by_subj": f"{STORED}job.{entity}.>"}

    run = await read_run(broker.connection, EVENTS, request, stored)

    assert [message.sequence for message in run.messages] == places[:3]
    assert {message.subject for message in run.messages} == {f"{STORED}job.{entity}.done"}
    assert run.left == 2


async def test_a_run_ends_at_its_bytes_and_is_made_of_what_the_caller_wants(broker: Broker, entity: str) -> None:
    places = await _publish(broker, entity, 5)
    request = {"seq": places[0], "batch": 5, "max_bytes": 1, "next_by_subj": f"{STORED}job.{entity}.>"}

    run = await read_run(broker.connection, EVENTS, request, lambda reply: len(reply.payload) > 0)

    assert run.messages == [True] and run.left == 4


async def test_nothing_is_an_empty_run_and_no_message(broker: Broker, entity: str) -> None:
    request = {"seq": 1, "batch": 3, "next_by_subj": f"{STORED}job.{entity}.>"}

    assert await read_run(broker.connection, EVENTS, request, stored) == ([], 0)
    assert await read_one(broker.connection, EVENTS, {"last_by_subj": f"{STORED}job.{entity}.done"}) is None


async def test_one_message_is_read_by_its_place_or_as_the_newest_of_its_subject(broker: Broker, entity: str) -> None:
    first, last = await _publish(broker, entity, 2)

    by_place = await read_one(broker.connection, EVENTS, {"seq": first})
    newest = await read_one(broker.connection, EVENTS, {"last_by_subj": f"{STORED}job.{entity}.done"})

    assert by_place is not None and stored(by_place).sequence == first
    assert newest is not None and stored(newest).sequence == last


async def test_a_stream_that_is_not_there_raises(broker: Broker) -> None:
    with pytest.raises(BrokerError):
        await read_one(broker.connection, "NOBODY", {"seq": 1})
    with pytest.raises(BrokerError):
        await read_run(broker.connection, "NOBODY", {"seq": 1, "batch": 1}, stored)
