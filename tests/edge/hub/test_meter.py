"""Writes of one batch are counted together, and those of replayed events by themselves."""

from __future__ import annotations

import asyncio
import time

from prometheus_client import REGISTRY

from edge.hub.meter import MANY, Meter
from edge.types import Batch
from router.codec import encode
from router.event import Event
from router.record import Record

NAMES = (
    "edge_delivered_events_total",
    "edge_written_bytes_total",
    "edge_publish_to_write_seconds_count",
    "edge_publish_to_replay_seconds_count",
)


def batch(count: int, replayed: bool = False) -> Batch:
    event = encode(Event.new("job.a.output", {}, time_ns=time.time_ns()))
    return Batch([Record(n, "job.a.output", event) for n in range(1, count + 1)], "5f3a9c1e", replayed)


def counted() -> list[float]:
    return [REGISTRY.get_sample_value(name, {"transport": "sse"}) or 0.0 for name in NAMES]


def since(before: list[float]) -> list[float]:
    return [now - was for now, was in zip(counted(), before, strict=True)]


async def test_few_writes_are_counted_with_the_end_of_the_tick_and_many_at_once() -> None:
    meter, before = Meter("sse"), counted()
    one, other = batch(2), batch(1)

    meter.wrote(one, 100)
    meter.wrote(one, 100)
    assert since(before) == [0, 0, 0, 0]
    meter.wrote(other, 10)
    assert since(before) == [4, 200, 2, 0]
    meter.wrote(batch(3), 5, writes=MANY)
    assert since(before) == [4 + 3 * MANY, 200 + 5 * MANY, 2 + MANY, 0]
    await asyncio.sleep(0)

    assert since(before) == [5 + 3 * MANY, 210 + 5 * MANY, 3 + MANY, 0]


async def test_what_was_replayed_says_nothing_of_live_delivery() -> None:
    meter, before = Meter("sse"), counted()

    meter.wrote(batch(2, replayed=True), 100)
    await asyncio.sleep(0)

    assert since(before) == [2, 100, 0, 1]
