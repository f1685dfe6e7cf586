"""The cursor that a publisher is answered leads behind its event, and, in other shards, behind what was received."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.hub.hub import Hub
from edge.hub.published import PublishedCursors
from edge.settings import SessionSettings
from router.cursor import Cursor, VectorCursor, parse_cursor
from router.layout import Layout, generation
from router.nats.stream import Ack
from router.position import Position
from tests.edge.hub.sharded_store import ShardedStore

SUBJECTS = ("job.a.x", "job.b.x", "cam.a.y", "cam.c.y", "job.d.x")


@asynccontextmanager
async def hub_of(store: ShardedStore) -> AsyncIterator[Hub]:
    hub = Hub(store, SessionSettings(heartbeat=3600, store_patience=3600))  # type: ignore[arg-type]
    running = asyncio.ensure_future(hub.run())
    try:
        await hub.integrity.steady(60)
        yield hub
    finally:
        running.cancel()
        await asyncio.wait([running])


@pytest.mark.parametrize("shards", [1, 3])
async def test_it_is_the_one_that_asking_the_store_gives(shards: int) -> None:
    store = ShardedStore(generation(1, shards) if shards > 1 else generation(0))
    for subject in SUBJECTS * 2:
        store.publish(subject)
    async with hub_of(store) as hub:
        for subject in SUBJECTS:
            shard = store.layout.shard_of(subject)
            ack, check = Ack(len(store.shards[shard.stream].events), False, shard.stream), 0xABC

            said = hub.recovery.published_now(ack, check)

            assert said is not None and said == await hub.recovery.published(ack, check)
            assert store.position(said).of(shard) == ack.sequence


async def test_it_follows_what_is_received_of_the_other_shards() -> None:
    store = ShardedStore(generation(1, 3))
    async with hub_of(store) as hub:
        shard = store.layout.shard_of("job.a.x")
        other = next(each for each in SUBJECTS if store.layout.shard_of(each) != shard)
        before = hub.recovery.published_now(Ack(1, False, shard.stream), 1)

        store.publish(other)
        for _ in range(2):
            await hub.integrity.check_position()
        after = hub.recovery.published_now(Ack(1, False, shard.stream), 1)

        assert before is not None and after is not None
        assert store.position(before).of(store.layout.shard_of(other)) == 0
        assert store.position(after).of(store.layout.shard_of(other)) == 1


async def test_a_repeat_and_a_stream_of_a_newer_layout_have_none() -> None:
    store = ShardedStore(generation(0))
    async with hub_of(store) as hub:
        assert hub.recovery.published_now(Ack(1, True, "EVENTS"), 1) is None
        assert hub.recovery.published_now(Ack(1, False, "EVENTS_1_0"), 1) is None
        assert hub.recovery.published_now(Ack(1, False, ""), 1) is not None


# Around the numbers at which a sequence has one digit more.
_SEQUENCES = st.builds(lambda digits, beside: max(0, 64**digits + beside), st.integers(0, 3), st.integers(-2, 2))


@given(st.lists(st.tuples(*[_SEQUENCES] * 3), min_size=1, max_size=3), st.integers(0, 2), st.data())
def test_it_is_one_that_is_read_again_wherever_the_event_lies(
    positions: list[tuple[int, ...]], index: int, data: st.DataObject
) -> None:
    epochs = ["1.0.00a", "1.1.00b", "1.2.00c"]
    three = generation(1, 3).with_epochs(epochs)
    integrity = SimpleNamespace(layout=Layout((three,)), epoch=three.epoch, position=None)
    cursors = PublishedCursors(integrity)  # type: ignore[arg-type]
    for sequences in positions:
        integrity.position = Position(1, sequences)
        for sequence in data.draw(st.lists(_SEQUENCES, max_size=3)):
            said = cursors.cursor(Ack(sequence, False, three.shards[index].stream), 7)

            assert said is not None
            places = [*sequences[:index], sequence, *sequences[index + 1 :]]
            parts = [Cursor(epoch, place) for epoch, place in zip(epochs, places, strict=True)]
            parts[index] = Cursor(epochs[index], sequence, 7)
            assert parse_cursor(said) == VectorCursor(tuple(parts))
