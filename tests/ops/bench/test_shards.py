"""The benchmark of shards puts the events into several streams, publishes to all of them, and reads what they hold."""

from __future__ import annotations

import pytest

from ops.bench import shards
from ops.bench.publish import Posting
from ops.bench.shards import SUBJECTS, ShardedStand, ShardRun, _rows, _title
from ops.bench.stand import stand
from tests.router.resharding import all_stored


def test_a_row_says_cost_and_rate_of_each_layout() -> None:
    stands = [ShardedStand(name, None) for name in ("one stream", "2 shards")]  # type: ignore[arg-type]
    found = [[ShardRun(cost, rate, {}) for cost in (1.0, 2.0)] for rate in (10.0, 30.0, 20.0)]

    rows = _rows(stands, "a delivery", found)

    assert [(row.by, row.figure, row.note) for row in rows] == [
        ("one stream", 1.0, "20.0/s"),
        ("2 shards", 2.0, "20.0/s"),
    ]
    assert _title(Posting(1, 64)) != _title(Posting(100, 4))


@pytest.mark.slow
async def test_events_are_published_delivered_and_replayed_with_several_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "READERS", 2)
    async with stand() as place:
        sharded = ShardedStand("2 shards", place)
        await sharded.reshard((2, 3))
        await sharded.open("sse")

        published = await sharded.publish(Posting(10, 2, subjects=SUBJECTS), 0.05)
        delivered = await sharded.deliver("sse", 200)
        replayed = await sharded.replay(200)

        stored = {name: len(messages) for name, messages in (await all_stored(place.broker)).items()}
        assert sorted(stored) == ["EVENTS", "EVENTS_1_0", "EVENTS_1_1", "EVENTS_2_0", "EVENTS_2_1", "EVENTS_2_2"]
        assert all(stored[f"EVENTS_2_{index}"] for index in range(3))
        assert all(run.cost > 0 and run.rate > 0 for run in (published, delivered, replayed))
