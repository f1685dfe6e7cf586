"""Tests of router/nats/stream.py: Direct Gets, what the leader knows, deletion, consumers, and what is said where nothing is."""

from __future__ import annotations

import asyncio

import pytest

from router.broker import Broker
from router.errors import BrokerError, Refused
from router.event import Event
from router.nats.consumer import Consumer
from router.nats.error_codes import ErrorCode
from router.nats.headers import header
from router.nats.stream import stored, stream_names
from router.subject import STORED
from router.topology import EVENTS
from tests.waiting import eventually


async def _publish(broker: Broker, entity: str, count: int) -> list[int]:
    return [(await broker.publish(Event.new(f"job.{entity}.done", {"n": n}))).sequence for n in range(count)]


async def test_a_run_comes_in_order_and_says_how_many_are_left(broker: Broker, entity: str) -> None:
    places = await _publish(broker, entity, 5)
    request = {"seq": places[0], "batch": 3, "next_by_subj": f"{STORED}job.{entity}.>"}

    run = await broker.stream(EVENTS).read_run(request, stored)

    assert [message.sequence for message in run.messages] == places[:3]
    assert {message.subject for message in run.messages} == {f"{STORED}job.{entity}.done"}
    assert run.left == 2


async def test_a_run_ends_at_its_bytes_and_is_made_of_what_the_caller_wants(broker: Broker, entity: str) -> None:
    places = await _publish(broker, entity, 5)
    request = {"seq": places[0], "batch": 5, "max_bytes": 1, "next_by_subj": f"{STORED}job.{entity}.>"}

    run = await broker.stream(EVENTS).read_run(request, lambda reply: len(reply.payload) > 0)

    assert run.messages == [True] and run.left == 4


async def test_nothing_is_an_empty_run_and_no_message(broker: Broker, entity: str) -> None:
    request = {"seq": 1, "batch": 3, "next_by_subj": f"{STORED}job.{entity}.>"}

    assert await broker.stream(EVENTS).read_run(request, stored) == ([], 0)
    assert await broker.stream(EVENTS).read_one({"last_by_subj": f"{STORED}job.{entity}.done"}) is None


async def test_one_message_is_read_by_its_place_or_as_the_newest_of_its_subject(broker: Broker, entity: str) -> None:
    first, last = await _publish(broker, entity, 2)

    by_place = await broker.stream(EVENTS).read_one({"seq": first})
    newest = await broker.stream(EVENTS).read_one({"last_by_subj": f"{STORED}job.{entity}.done"})

    assert by_place is not None and stored(by_place).sequence == first
    assert newest is not None and stored(newest).sequence == last


async def test_the_newest_of_one_subject_is_read_by_a_request_that_names_it(broker: Broker, entity: str) -> None:
    stream = broker.stream(EVENTS)
    await broker.publish(Event.new(f"job.{entity}.a", {"n": 1}))
    ack = await broker.publish(Event.new(f"job.{entity}.a", {"n": 2}))

    newest = await stream.read_last(f"ev.job.{entity}.a")

    assert newest is not None and header(newest.headers, b"Nats-Sequence") == str(ack.sequence)
    assert await stream.read_last(f"ev.job.{entity}.b") is None


async def test_a_stream_that_is_not_there_raises(broker: Broker) -> None:
    with pytest.raises(BrokerError):
        await broker.stream("NOBODY").read_one({"seq": 1})
    with pytest.raises(BrokerError):
        await broker.stream("NOBODY").read_run({"seq": 1, "batch": 1}, stored)


async def test_the_leader_knows_a_message_by_its_place_its_subject_and_what_it_comes_after(
    broker: Broker, entity: str
) -> None:
    first, last = await _publish(broker, entity, 2)
    events, subject = broker.stream(EVENTS), f"{STORED}job.{entity}.done"

    by_place, newest, following = (
        await events.get(first),
        await events.get_last(subject),
        await events.get_next(subject, first),
    )

    assert by_place is not None and (by_place.sequence, by_place.subject) == (first, subject)
    assert by_place.payload and b"Nats-Msg-Id" in by_place.headers and by_place.time
    assert newest is not None and newest.sequence == last
    assert following is not None and following.sequence == last
    assert await events.get_next(subject, last) is None
    assert await events.get_last(f"{STORED}job.{entity}.nothing") is None


async def test_a_stream_counts_its_subjects_under_a_pattern(broker: Broker, entity: str) -> None:
    await _publish(broker, entity, 2)
    await broker.publish(Event.new(f"job.{entity}.failed", {}))

    listing = await broker.stream(EVENTS).subjects(f"{STORED}job.{entity}.*")

    assert listing.subjects == {f"{STORED}job.{entity}.done": 2, f"{STORED}job.{entity}.failed": 1}
    assert listing.complete and listing.info["state"]["messages"] >= 3
    assert (await broker.stream(EVENTS).subjects(f"{STORED}job.{entity}.none")).subjects == {}


async def test_messages_are_deleted_one_by_one_or_all_below_a_place(broker: Broker, entity: str) -> None:
    places = await _publish(broker, entity, 4)
    events, subject = broker.stream(EVENTS), f"{STORED}job.{entity}.done"

    assert await events.delete(places[1])
    assert not await events.delete(places[1])
    assert await events.get(places[1]) is None
    assert await events.purge(subject, before=places[3]) == 2

    assert (await events.subjects(subject)).subjects == {subject: 1}


async def test_a_stream_tells_of_its_consumers_and_deletes_them(broker: Broker, entity: str) -> None:
    events, name = broker.stream(EVENTS), f"c-{entity}"
    config = {"name": name, "filter_subject": f"{STORED}job.{entity}.>", "ack_wait": 30_000_000_000}
    consumer = Consumer(broker.connection, EVENTS, config, lambda message: None)
    task = asyncio.ensure_future(consumer.run())
    try:

        async def made() -> bool:
            return name in await events.consumer_names()

        await eventually(made)
        assert (await events.consumer_info(name))["num_ack_pending"] == 0
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert await events.delete_consumer(name)
    assert not await events.delete_consumer(name)
    with pytest.raises(Refused) as refused:
        await events.consumer_info(name)
    assert refused.value.err_code == ErrorCode.CONSUMER_NOT_FOUND


async def test_a_stream_is_made_once_and_says_when(broker: Broker) -> None:
    events = broker.stream(EVENTS)
    created = await events.created()

    await events.create({"name": EVENTS, "subjects": ["elsewhere.>"]})

    assert await events.created() == created
    assert EVENTS in await stream_names(broker.connection)
