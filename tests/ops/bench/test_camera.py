"""The benchmark of a camera measures viewers, the actor and the bare loop on small pictures."""

from __future__ import annotations

import pytest

from ops.bench import camera
from ops.bench.stand import stand


@pytest.mark.slow
async def test_small_pictures_are_watched_by_all_kinds_of_viewers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "RUNS", 1)

    async with stand() as place:
        rows = [row async for row in camera.measure(place, 1.0, (320, 240))]

    assert {row.unit for row in rows} == {"fps", "ms", "pictures", "times", "% of core"}
    assert all(row.figure is not None and (row.figure > 0 or row.unit in ("pictures", "% of core")) for row in rows)
