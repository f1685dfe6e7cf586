"""What a process knows of the layout: what it reads, what it is told, what it is refused by."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from router import layout_entry
from router.errors import Timeout
from router.layout import FIRST
from router.layout_entry import KEY, LayoutEntry
from router.layouts import Layouts
from router.nats.bucket import Bucket, Entry
from router.topology import LAYOUT
from tests.router.resharding import broker_of
from tests.waiting import eventually

FOUR = layout_entry.finished(layout_entry.begun(LayoutEntry(), 4), [0], now=1)


async def test_without_an_entry_all_events_are_in_one_stream(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        assert broker.layout is FIRST


async def test_every_process_is_told_of_a_change_and_a_new_one_reads_it(own_nats: str) -> None:
    async with broker_of(own_nats) as broker, broker_of(own_nats) as other:
        changes: list[int] = []
        other.layouts.on_change(lambda: changes.append(other.layout.current.number))

        await Bucket(broker.connection, LAYOUT).put(KEY, msgspec.json.encode(FOUR))
        await eventually(lambda: changes == [1])

        assert len(other.layout.current.shards) == 4
        # A producer hears no notices.
        lone = Layouts(broker.connection)
        await lone.follow(notices=False)
        assert lone.current == other.layout


async def test_what_is_no_entry_is_passed_over(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        bucket = Bucket(broker.connection, LAYOUT)
        await bucket.put(KEY, b"nonsense")
        await bucket.put(KEY, msgspec.json.encode(FOUR))
        await eventually(lambda: broker.layout.current.number == 1)

        await bucket.put(KEY, b"nonsense")
        await broker.layouts.read()

        assert broker.layout.current.number == 1


async def test_who_was_refused_waits_for_the_next_generation(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        lone = Layouts(broker.connection)
        with pytest.raises(Timeout, match="callboard streams reshard"):
            await lone.after(0, 0.1)

        waiting = asyncio.ensure_future(lone.after(0, 30))
        await Bucket(broker.connection, LAYOUT).put(KEY, msgspec.json.encode(FOUR))
        await waiting

        assert lone.current.current.number == 1


async def test_a_leader_that_does_not_answer_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch, own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        await Bucket(broker.connection, LAYOUT).put(KEY, msgspec.json.encode(FOUR))
        lone, answer, asked = Layouts(broker.connection), Bucket.latest, 0

        async def electing(bucket: Bucket, key: str) -> Entry | None:
            nonlocal asked
            asked += 1
            if asked < 4:
                raise Timeout("no answer on $JS.API.STREAM.MSG.GET.KV_LAYOUT")
            return await answer(bucket, key)

        monkeypatch.setattr(Bucket, "latest", electing)
        with pytest.raises(Timeout):
            await lone.read_leader()
        entry = await lone.read_leader(patience=60.0)

        assert entry.current.shards == 4
