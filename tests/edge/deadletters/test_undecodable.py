"""A record that is no event gets one dead letter, however often it is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from edge.deadletters import undecodable
from edge.deadletters.undecodable import Undecodable
from router.broker import Broker
from router.deadletter import ingest_subject
from router.record import Record
from router.topology import EVENTS
from tests.waiting import eventually, unhurried


@pytest.fixture
async def own(nats_url: str) -> AsyncIterator[Broker]:
    async with Broker(unhurried(nats_url), "test") as broker:
        yield broker


async def stored(broker: Broker, count: int) -> list[Record]:
    for _ in range(count):
        await broker.store("ev.agent.run.done", b"\xc1 no event", {})
    return (await broker.read(">", 0)).records


async def kept(found: Undecodable) -> list[int]:
    page = await found._dead.read(pattern=ingest_subject(EVENTS))
    return [each.origin.sequence for each in page.deadletters]


async def test_what_is_found_twice_and_by_two_processes_is_stored_once(own: Broker):
    records = await stored(own, 3)
    assert all(record.event is None for record in records)
    first, second = Undecodable(own), Undecodable(own)
    running = [asyncio.ensure_future(each.run()) for each in (first, second)]

    for record in [*records, *records]:
        first.found(record)

    async def complete() -> bool:
        return await kept(first) == [1, 2, 3]

    await eventually(complete)
    # As if the dedup window were long over.
    for record in records:
        second.found(record)
    await eventually(lambda: not second._waiting)
    assert await kept(first) == [1, 2, 3]
    for each in running:
        each.cancel()


async def test_records_without_room_are_read_again(own: Broker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(undecodable, "MAX_WAITING", 1)
    records = await stored(own, 4)
    assert all(record.event is None for record in records)
    found = Undecodable(own)
    for record in records:
        found.found(record)
    running = asyncio.ensure_future(found.run())

    async def complete() -> bool:
        return sorted(await kept(found)) == [1, 2, 3, 4]

    await eventually(complete)
    running.cancel()
