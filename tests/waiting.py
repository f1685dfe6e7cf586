"""This file is where a test waits for something to become true: looked at again and again, up to a deadline."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(fn: Callable[[], T | Awaitable[T]], within: float = 5.0) -> T:
    """Calls `fn` until it returns something true, and gives that back; a failed assertion in it counts as not yet.

    Raises AssertionError once `within` seconds are over.
    """
    deadline = time.monotonic() + within
    while True:
        fault: AssertionError | None = None
        try:
            found = fn()
            value: T = await found if inspect.isawaitable(found) else found  # type: ignore[assignment]
            if value:
                return value
        except AssertionError as failed:
            fault = failed
        if time.monotonic() > deadline:
            if fault:
                raise fault
            raise AssertionError(f"not so within {within:g} s: {inspect.getsource(fn).strip()[:200]}")
        await asyncio.sleep(0.01)
