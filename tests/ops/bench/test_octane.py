"""The benchmark of an Octane's pictures measures the actor, the bare client and the way to a viewer on small pictures."""

from __future__ import annotations

import pytest

from ops.bench import octane
from ops.bench.stand import stand

SMALL = (64, 36)


@pytest.mark.slow
async def test_small_pictures_are_counted_and_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(octane, "RUNS", 1)
    monkeypatch.setattr(octane, "REST", 0.2)
    sized = octane.source_and_actor
    monkeypatch.setattr(
        octane, "source_and_actor", lambda place, kind, _, rate, **more: sized(place, kind, SMALL, rate, **more)
    )

    async with stand() as place:
        rows = [row async for row in octane.measure(place, 1.0)]

    assert [row.unit for row in rows] == ["ms", "ms", "times", "fps", "ms", "ms", "% of core"]
    assert all(row.figure is not None and row.figure > 0 for row in rows)
    p50, p99 = (row.figure for row in rows if "notify" in row.what)
    assert p50 is not None and p99 is not None and p50 <= p99
