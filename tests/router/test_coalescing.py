"""Tests of router/coalescing.py."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest

from router import coalescing
from router.coalescing import call_repeatedly, coalesced_sleep, until_multiple
from tests.waiting import eventually


async def test_tasks_with_different_intervals_wake_by_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_later = loop.call_later
    monkeypatch.setattr(
        loop, "call_later", lambda delay, *rest, **more: (timers.append(delay), call_later(delay, *rest, **more))[1]
    )
    woken: list[float] = []

    async def sleeper(interval: float) -> None:
        await coalesced_sleep(interval)
        woken.append(interval)

    # More than half of the longer interval is over, so both have the same multiple before them.
    monkeypatch.setattr(coalescing, "_now", lambda: 1_000_000 - coalescing._PHASE_MS % 400 + 250)
    await asyncio.gather(sleeper(0.4), sleeper(0.2), sleeper(0.4))

    assert sorted(woken) == [0.2, 0.4, 0.4]
    assert timers == [0.15]


async def test_a_sleep_is_never_longer_than_its_interval() -> None:
    for interval in (0.0, 0.001, 0.25, 1 / 3, 4.0, 15.0):
        assert until_multiple(interval) <= max(interval, round(interval, 3))
        assert until_multiple(interval) > 0 or interval == 0.0


def test_seconds_are_those_of_the_wall_clock_in_every_process_and_minutes_are_not() -> None:
    script = (
        "import time; from router.coalescing import until_multiple as left; "
        "print((time.time() + left(1.0)) % 1, (time.time() + left(60.0)) % 60)"
    )
    ends = [
        [
            float(each)
            for each in subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout.split()
        ]
        for _ in range(4)
    ]

    # Between the two looks at the clock a busy machine may let some time pass.
    assert all(min(second, 1 - second) < 0.4 for second, _ in ends)
    assert len({round(minute) for _, minute in ends}) > 1


async def test_short_intervals_are_slept_as_they_are() -> None:
    began = time.monotonic()
    await coalesced_sleep(0.005)

    assert time.monotonic() - began >= 0.004


async def test_a_sleeper_that_was_cancelled_keeps_no_other_from_waking() -> None:
    cancelled = asyncio.ensure_future(coalesced_sleep(0.1))
    other = asyncio.ensure_future(coalesced_sleep(0.1))
    await asyncio.sleep(0)
    cancelled.cancel()

    await other
    assert cancelled.cancelled()


async def test_calls_are_repeated_until_they_are_ended() -> None:
    calls: list[int] = []
    end = call_repeatedly(0.02, lambda: calls.append(1))
    await eventually(lambda: len(calls) >= 3)

    end()
    count = len(calls)
    await coalesced_sleep(0.1)
    assert len(calls) == count


async def test_calls_of_one_interval_share_a_timer_and_one_of_them_may_end_another() -> None:
    loop = asyncio.get_running_loop()
    calls: list[str] = []

    def first() -> None:
        calls.append("first")
        end_second()

    end_first = call_repeatedly(0.05, first)
    end_second = call_repeatedly(0.05, lambda: calls.append("second"))
    assert sum(map(len, coalescing._due[loop].values())) == 1

    await eventually(lambda: len(calls) >= 2)
    assert set(calls) == {"first"}
    end_first()
    await eventually(lambda: not coalescing._repeated[loop])
    end = call_repeatedly(0.05, lambda: calls.append("again"))
    await eventually(lambda: "again" in calls)
    end()
