"""Measures how late a process's event loop runs, and exports its build information."""

from __future__ import annotations

import asyncio
import platform

from prometheus_client import Gauge, Histogram

from router.coalescing import until_multiple
from router.version import VERSION

# A measurement a second finds every longer stall; it comes when an idle process wakes anyway.
MEASURE_EVERY = 1.0

lag = Histogram(
    "ops_loop_lag_seconds",
    "How much later than asked for the event loop came to its work",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
build = Gauge("ops_build_info", "Always 1; its labels say what runs", ["version", "python"])


async def measure_loop_lag() -> None:
    """Exports both until cancelled."""
    build.labels(VERSION, platform.python_version()).set(1)
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + (left := until_multiple(MEASURE_EVERY))
        await asyncio.sleep(left)
        lag.observe(max(0.0, loop.time() - due))
