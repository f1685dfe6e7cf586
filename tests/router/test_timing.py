"""Tests of router/timing.py."""

from __future__ import annotations

import asyncio

from router.timing import ManualClock, SystemClock, full_jitter


def test_a_pause_lies_between_zero_and_the_doubled_base() -> None:
    for attempt, most in ((1, 0.1), (2, 0.2), (5, 1.6)):
        pauses = [full_jitter(attempt, 0.1, 10) for _ in range(500)]

        assert min(pauses) >= 0 and max(pauses) <= most
        assert max(pauses) - min(pauses) > most / 2


def test_a_pause_is_never_longer_than_its_cap_however_many_attempts() -> None:
    assert max(full_jitter(attempt, 0.1, 3) for attempt in range(1, 10_000, 7)) <= 3


async def test_a_manual_clock_wakes_sleepers_in_the_order_they_are_due() -> None:
    clock = ManualClock(100)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now()))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("late", 3))
        group.create_task(sleeper("early", 1))
        await clock.advance(2)
        assert woken == [("early", 101)]
        await clock.advance(5)

    assert woken == [("early", 101), ("late", 103)]
    assert clock.now() == 107


async def test_who_sleeps_again_inside_one_advance_is_woken_again() -> None:
    clock = ManualClock(0)
    beats: list[float] = []

    async def ticker() -> None:
        for _ in range(3):
            await clock.sleep(1)
            beats.append(clock.now())

    task = asyncio.ensure_future(ticker())
    await clock.advance(10)
    await task

    assert beats == [1, 2, 3]


async def test_the_system_clock_goes_on() -> None:
    clock = SystemClock()
    before = clock.now()

    await clock.sleep(0.01)

    assert clock.now() - before >= 0.009
