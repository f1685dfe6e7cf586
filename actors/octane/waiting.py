"""Waits with a limit."""

from __future__ import annotations

import asyncio
from typing import Any


async def within(seconds: float, wait: Any) -> None:
    """Waits for something, but no longer than that."""
    try:
        async with asyncio.timeout(seconds):
            await wait
    except TimeoutError:
        pass
