"""Waits for a condition, checked again and again up to a deadline."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

from router.errors import Timeout
from router.nats.settings import BrokerSettings

# How long a test waits for what must come, in seconds. Only a failing test waits so long, so it is far more than the
# slowest machine needs.
PATIENCE = 120.0
# Between two looks, in seconds: soon at first; who waits long asks seldom, since each look may be a request.
_FIRST, _LAST, _GROWTH = 0.01, 0.1, 1.25


def unhurried(url: str) -> BrokerSettings:
    """How to reach a NATS that is there: a request waits as long as the disk of a busy machine takes."""
    return BrokerSettings(url, connect_timeout=PATIENCE, request_timeout=PATIENCE / 2)


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
