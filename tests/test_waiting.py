"""Who waits for an outcome hears of a cancellation whenever that comes."""

from __future__ import annotations

import asyncio

import pytest

from tests.waiting import PATIENCE, in_time


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancellation_that_comes_with_an_outcome_is_not_lost(turns: int) -> None:
    """A viewer that showed pictures until it was cancelled went on showing them, and its test waited for its end for ever."""
    pictures = asyncio.Queue[int]()

    async def show() -> None:
        while True:
            await in_time(pictures.get())

    showing = asyncio.ensure_future(show())
    for _ in range(10):
        await asyncio.sleep(0)
    pictures.put_nowait(1)
    for _ in range(turns):
        await asyncio.sleep(0)
    showing.cancel()

    done, _ = await asyncio.wait({showing}, timeout=PATIENCE)
    showing.cancel()
    assert done and showing.cancelled()


async def test_what_does_not_come_in_time_is_cancelled() -> None:
    never = asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        await in_time(never, 0.01)

    assert never.cancelled()
