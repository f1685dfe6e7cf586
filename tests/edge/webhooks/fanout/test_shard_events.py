"""Each event reaches the reader of its own shard alone, by one subscription for all of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from edge.webhooks.fanout.shard_events import Receive, ShardEvents, Suspect
from router.errors import Timeout
from router.layout import FIRST, Layout, generation
from router.record import Record

MANY = generation(1, 16)


class Following:
    """What a process subscribes to, as its hub does."""

    def __init__(self) -> None:
        self.fails = False
        self.followed: list[tuple[Receive, Suspect]] = []

    async def follow(self, receive: Receive, suspect: Suspect) -> Any:
        if self.fails:
            raise Timeout("away")
        self.followed.append((receive, suspect))
        return self

    async def stop(self) -> None:
        self.followed.pop()


def events_of(process: Following, layout: Layout) -> ShardEvents:
    return ShardEvents(cast(Any, SimpleNamespace(layout=layout)), process.follow)


async def test_with_many_shards_an_event_costs_one_look() -> None:
    process = Following()
    events = events_of(process, Layout((MANY,)))
    seen: dict[int, list[Record]] = {shard.index: [] for shard in MANY.shards}
    suspected: list[int] = []
    subscriptions = [
        await events.subscribe(shard, seen[shard.index].append, lambda n=shard.index: suspected.append(n))  # type: ignore[misc]
        for shard in MANY.shards
    ]
    records = [Record(n, "a.b.c", b"x", shard=shard) for n in (1, 2) for shard in MANY.shards]
    elsewhere = Record(1, "a.b.c", b"x")

    ((receive, suspect),) = process.followed
    for record in (*records, elsewhere):
        receive(record)
    suspect()

    assert all(kept == [each for each in records if each.shard.index == index] for index, kept in seen.items())
    assert suspected == list(range(16))
    for subscription in subscriptions[1:]:
        await subscription.stop()
    assert len(process.followed) == 1
    await subscriptions[0].stop()
    assert process.followed == []


async def test_the_reader_of_the_only_stream_has_the_subscription_for_itself() -> None:
    process = Following()
    events = events_of(process, FIRST)
    seen: list[Record] = []
    receive = seen.append

    subscription = await events.subscribe(FIRST.current.shards[0], receive, lambda: None)

    assert process.followed[0][0] is receive
    await subscription.stop()
    assert process.followed == []


async def test_a_subscription_that_failed_is_tried_again_by_the_next_reader() -> None:
    process = Following()
    events = events_of(process, Layout((MANY,)))
    first, second, *_ = MANY.shards
    seen: list[Record] = []
    process.fails = True
    with pytest.raises(Timeout):
        await events.subscribe(first, seen.append, lambda: None)
    process.fails = False

    await events.subscribe(second, seen.append, lambda: None)

    ((receive, _),) = process.followed
    receive(Record(1, "a.b.c", b"x", shard=first))
    receive(Record(1, "a.b.c", b"x", shard=second))
    assert [record.shard for record in seen] == [second]
