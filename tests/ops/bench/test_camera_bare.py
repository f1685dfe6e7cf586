"""The bare loop captures and encodes at the rate that is asked for."""

from __future__ import annotations

from ops.bench.camera_bare import capture
from ops.bench.stand import partner


def test_it_counts_what_it_encodes():
    pictures, size = capture(320, 240, 50.0, 0.2)

    assert 1 <= pictures <= 10
    assert size > 1000 * pictures


async def test_it_takes_orders_as_a_process_of_its_own():
    async with partner("camera_bare") as bare:
        answer = await bare.ask("capture", codec="jpeg", width=320, height=240, rate=20.0, seconds=0.2)

    assert answer["pictures"] >= 1 and answer["bytes"] > 0
