"""The storm benchmark ends once every reader that came back has what it missed, and one live event more."""

from __future__ import annotations

from ops.bench.stand import stand
from ops.bench.storm import _storm


async def test_readers_that_come_back_catch_up_and_go_on_live() -> None:
    async with stand() as place:
        caught, connected, busy = await _storm(place, "sse", 10, 0)

    assert 0 < connected <= caught
    assert set(busy) == {"edge", "nats", "readers", "producer"}
