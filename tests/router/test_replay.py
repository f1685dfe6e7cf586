"""Readers share what they read of the past, and nothing else: neither one another's end nor an older view of the stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from router.broker import Broker, Page
from router.event import Event
from router.layout import Shard
from router.nats.settings import BrokerSettings
from router.position import of_one
from router.replay import Replay
from router.shard_store import ShardStore


class HeldBroker(Broker):
    """A broker whose pages are read at once and handed out later."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.read_one = asyncio.Event()
        self.release = asyncio.Event()

    def shard(self, shard: Shard) -> ShardStore:
        return HeldStore(self, shard)


class HeldStore(ShardStore):
    def __init__(self, broker: HeldBroker, shard: Shard) -> None:
        super().__init__(broker.connection, shard, 1)
        self._broker = broker

    async def read(self, *arguments: Any, **options: Any) -> Page:
        page = await super().read(*arguments, **options)
        self._broker.read_one.set()
        await self._broker.release.wait()
        return page


@pytest.fixture
async def held(broker_settings: BrokerSettings) -> AsyncIterator[HeldBroker]:
    async with HeldBroker(broker_settings, "test-replay") as opened:
        yield opened


async def say(broker: Broker, entity: str, n: int) -> int:
    return (await broker.publish(Event.new(f"job.{entity}.output", {"n": n}))).sequence


async def test_a_shared_read_goes_on_when_the_one_who_began_it_leaves(held: HeldBroker, entity: str) -> None:
    first = await say(held, entity, 0)
    replay = Replay(held)
    async with asyncio.TaskGroup() as group:
        leaver, stayer = (
            group.create_task(replay.stretch((f"job.{entity}.>",), of_one(first - 1), of_one(first))) for _ in range(2)
        )
        await held.read_one.wait()

        leaver.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leaver
        held.release.set()
        stretch = await stayer

    assert [record.sequence for record in stretch.records] == [first]


async def test_a_read_that_began_earlier_does_not_speak_for_what_was_stored_since(
    held: HeldBroker, entity: str
) -> None:
    first = await say(held, entity, 0)
    replay = Replay(held)
    async with asyncio.TaskGroup() as group:
        group.create_task(replay.stretch((f"job.{entity}.>",), of_one(first - 1), of_one(first)))
        await held.read_one.wait()

        second = await say(held, entity, 1)
        later = group.create_task(replay.stretch((f"job.{entity}.>",), of_one(first - 1), of_one(second)))
        await asyncio.sleep(0)
        held.release.set()
        stretch = await later

    assert stretch.upto.reaches(of_one(second))
    assert [record.sequence for record in stretch.records] == [first, second]


async def test_others_have_their_turn_while_a_page_is_decoded(broker: Broker, entity: str) -> None:
    first = 0
    for n in range(10):
        # By NATS from elsewhere: no event, so the replay tells of each when it is decoded.
        event = Event.new(f"job.{entity}.output", {"n": n})
        sequence = (await broker.put(event, b"\xc1 garbage")).sequence
        first = first or sequence
    turns = 0
    found: list[int] = []

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    replay = Replay(broker, lambda _record: found.append(turns), slice=0.0)
    other = asyncio.ensure_future(others())
    await replay.stretch((f"job.{entity}.>",), of_one(first - 1), of_one(sequence))
    other.cancel()

    assert len(found) == len(set(found)) == 10
