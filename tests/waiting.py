"""Waits for what must come up to a deadline: an outcome, or a condition that is checked again and again."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from router.errors import Timeout
from router.nats.settings import BrokerSettings

T = TypeVar("T")

# How long a test waits for what must come, in seconds. Only a failing test waits so long, so it is far more than the
# slowest machine needs.
PATIENCE = 120.0
# Between two looks, in seconds: soon at first; who waits long asks seldom, since each look may be a request.
_FIRST, _LAST, _GROWTH = 0.01, 0.1, 1.25


def unhurried(url: str) -> BrokerSettings:
    """How to reach a NATS that is there: a request waits as long as the disk of a busy machine takes."""
    return BrokerSettings(url, connect_timeout=PATIENCE, request_timeout=PATIENCE / 2)


async def in_time(awaited: Awaitable[T], within: float = PATIENCE) -> T:
    """Awaits what must come, and returns it. Raises TimeoutError once `within` seconds are over, and cancels it.

    `asyncio.wait_for` on Python 3.11 loses a cancellation that comes together with the outcome: the task that awaits goes on
    as if nobody had cancelled it, and who waits for its end waits for ever.
    """
    async with asyncio.timeout(within):
        return await awaited


async def eventually(fn: Callable[[], Any], within: float = PATIENCE) -> Any:
    """Calls `fn`, awaiting what it gives, until that is true, and returns it. A failed assertion in it means: not yet.

    So does a request that NATS leaves unanswered: its disk may stand still for seconds on a busy machine. Raises
    AssertionError, or the last Timeout, once `within` seconds are over.
    """
    deadline, pause = time.monotonic() + within, _FIRST
    while True:
        fault: AssertionError | Timeout | None = None
        try:
            found = fn()
            value = await found if inspect.isawaitable(found) else found
            if value:
                return value
        except (AssertionError, Timeout) as failed:
            fault = failed
        if time.monotonic() > deadline:
            if fault:
                raise fault
            seen = inspect.getclosurevars(fn).nonlocals if inspect.isfunction(fn) else {}
            shown = "".join(f"\n  {name} = {value!r:.2000}" for name, value in seen.items())
            raise AssertionError(f"not so within {within:g} s: {inspect.getsource(fn).strip()[:200]}{shown}")
        await asyncio.sleep(pause)
        pause = min(pause * _GROWTH, _LAST)
