"""Which of some stored events were not received."""

from __future__ import annotations

from typing import Any, cast

from edge.hub.received import ReceivedPlaces
from edge.hub.recent import Recent
from router.layout import generation
from router.live import UNLOCATED
from router.position import BEYOND, Position
from router.replay import Replay
from tests.edge.hub.sharded_store import ShardedStore

SUBJECTS = ("job.a.x", "job.b.x", "cam.a.y", "cam.c.y", "job.d.x")
START = Position(1, (0, 0, 0))


def received(store: ShardedStore, *missed: tuple[int, int]) -> tuple[ReceivedPlaces, Recent]:
    """What a process remembers that has received all but some."""
    recent = Recent()
    recent.since = position = START
    for record in store.stored():
        if (record.shard.index, record.sequence) not in missed:
            position = position.after(record)
            record.place(position)
            recent.add(record)
    replay = Replay(cast(Any, store))
    replay.layout = store.layout
    return ReceivedPlaces(cast(Any, store), replay, recent), recent


def store_of(rounds: int) -> tuple[ShardedStore, Position]:
    store = ShardedStore(generation(1, 3))
    for _ in range(rounds):
        for subject in SUBJECTS:
            store.publish(subject)
    return store, Position(1, tuple(len(shard.events) for shard in store.shards.values()))


async def test_the_first_that_was_missed_of_each_shard_is_found_and_no_other_shard_goes_back() -> None:
    store, upto = store_of(3)
    assert min(upto.sequences) >= 3

    none, _ = received(store)
    assert await none.locate(">", START, upto) is None
    one, _ = received(store, (1, 3))
    assert await one.locate(">", START, upto) == Position(1, (BEYOND, 2, BEYOND))
    two, _ = received(store, (0, 2), (1, 3), (1, 2))
    assert await two.locate(">", START, upto) == Position(1, (1, 1, BEYOND))


async def test_what_was_received_before_a_renewal_is_remembered_until_it_is_compared() -> None:
    store, upto = store_of(3)
    found, recent = received(store, (0, 2))
    found.remember(upto)
    recent.forget()
    recent.since = upto

    assert await found.locate(">", START, upto) == Position(1, (1, BEYOND, BEYOND))
    found.forget()
    assert await found.locate(">", START, upto) is UNLOCATED
