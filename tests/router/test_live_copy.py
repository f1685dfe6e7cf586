"""The live copies of stored events, as a real server sends them."""

from __future__ import annotations

import asyncio

from router.broker import Broker
from router.event import Event
from router.layout import ORIGINAL, Layout, generation
from router.live_copy import ELSEWHERE, find_shard, listen, record_of
from router.record import Record
from tests.waiting import eventually

THREE = find_shard(Layout((generation(1, 3),)))


def copy_of(stream: str) -> bytes:
    return (
        f"NATS/1.0\r\nNats-Msg-Id: x\r\nNats-Stream: {stream}\r\nNats-Subject: evs.1.2.a.b.c\r\nNats-Sequence: 7\r\n"
        "Nats-Time-Stamp: 2026-11-27T00:00:00Z\r\nNats-Last-Sequence: 5\r\n\r\n"
    ).encode()


def test_a_copy_says_its_shard_and_its_place() -> None:
    record = record_of("live.ev.a.b.c", b"x", copy_of("EVENTS_1_2"), THREE)

    assert record is not None
    assert (record.subject, record.shard.index, record.sequence, record.previous) == ("a.b.c", 2, 7, 5)


def test_a_copy_from_a_stream_that_is_not_known_is_of_elsewhere_and_what_was_not_stored_is_none() -> None:
    for stream in ("EVENTS_2_0", "EVENTS"):
        record = record_of("live.ev.a.b.c", b"x", copy_of(stream), THREE)
        assert record is not None and record.shard is ELSEWHERE

    assert record_of("live.ev.a.b.c", b"x", b"NATS/1.0\r\nNats-Msg-Id: x\r\n\r\n", THREE) is None


async def test_each_stored_event_comes_with_its_place_and_the_one_before_it(broker: Broker, entity: str) -> None:
    heard: list[Record] = []
    listening = await listen(broker.connection, f"job.{entity}.>", heard.append)
    acks = await asyncio.gather(*(broker.publish(Event.new(f"job.{entity}.output", {"n": n})) for n in range(2)))
    await eventually(lambda: len(heard) == 2)
    await listening.stop()

    first, second = (ack.sequence for ack in acks)
    assert [(record.shard, record.sequence) for record in heard] == [(ORIGINAL, first), (ORIGINAL, second)]
    assert [record.previous for record in heard] == [0, first]
