"""Timers that expire together: what a process does at intervals it does at their multiples, so that it wakes once for all of it.

An idle process has some forty tasks that look after something every half a second to every fifteen seconds. With a timer
each they wake it some forty times a second, and what a wake-up takes (epoll, cold caches, one more write to NATS) is more than
what is then done. The multiples of an interval lie at the same moment for all tasks of a process.

Those of a second lie at the same moment in all processes, as far as their machines' clocks agree: what every process sends to every
other one wakes each of them once, together with its own work, and not once for each sender. Which second is a multiple of several
differs from process to process.
"""

from __future__ import annotations

import asyncio
import random
import time
import weakref
from collections.abc import Callable
from functools import partial

# The seconds of the wall clock, as it was against the monotonic one at the start.
_PHASE_MS = time.time_ns() // 1_000_000 - time.monotonic_ns() // 1_000_000 + 1000 * random.randrange(3600)
# Shorter intervals have timers of their own.
_MIN_MS = 20

# By loop: what is called at a moment, in milliseconds of the monotonic clock.
_due: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, list[Callable[[], None]]]] = (
    weakref.WeakKeyDictionary()
)
# By loop and interval: what is called at each multiple. All of one interval take one timer and one entry in `_due`.
_Calls = dict[object, Callable[[], None]]
_repeated: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, _Calls]] = weakref.WeakKeyDictionary()


def until_multiple(interval: float) -> float:
    """The seconds until the next multiple of an interval: more than 0, and never more than the interval."""
    whole = round(interval * 1000)
    return _left(_now(), whole) / 1000 if whole >= _MIN_MS else interval


async def coalesced_sleep(interval: float) -> None:
    """Sleeps until the next multiple of an interval, which is never longer than the interval."""
    whole = round(interval * 1000)
    if whole < _MIN_MS:
        await asyncio.sleep(interval)
        return
    loop = asyncio.get_running_loop()
    slept: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not slept.done():
            slept.set_result(None)

    _call(loop, whole, wake)
    await slept


def call_repeatedly(interval: float, call: Callable[[], None]) -> Callable[[], None]:
    """Calls `call()`, which must not raise, at each multiple of an interval from now on; returns what ends that."""
    loop = asyncio.get_running_loop()
    whole = max(round(interval * 1000), _MIN_MS)
    intervals = _repeated.setdefault(loop, {})
    calls = intervals.get(whole)
    if calls is None:
        calls = intervals[whole] = {}
        _call(loop, whole, partial(_repeat, loop, whole, intervals))
    key = object()
    calls[key] = call

    def end() -> None:
        calls.pop(key, None)

    return end


def _repeat(loop: asyncio.AbstractEventLoop, whole: int, intervals: dict[int, _Calls]) -> None:
    calls = intervals[whole]
    if not calls:
        del intervals[whole]
        return
    _call(loop, whole, partial(_repeat, loop, whole, intervals))
    for key in tuple(calls):
        # One of them may end another.
        if (call := calls.get(key)) is not None:
            call()


def _call(loop: asyncio.AbstractEventLoop, whole: int, call: Callable[[], None]) -> None:
    calls = _due.get(loop)
    if calls is None:
        calls = _due[loop] = {}
    now = _now()
    left = _left(now, whole)
    together = calls.get(now + left)
    if together is None:
        together = calls[now + left] = []
        loop.call_later(left / 1000, _expire, calls, now + left)
    together.append(call)


def _expire(calls: dict[int, list[Callable[[], None]]], due: int) -> None:
    for call in calls.pop(due):
        call()


def _now() -> int:
    return time.monotonic_ns() // 1_000_000


def _left(now: int, whole: int) -> int:
    return whole - (now + _PHASE_MS) % whole
