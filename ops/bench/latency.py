"""Measures the time from a producer to a reader, at a low and at a high rate.

The producer keeps its rate whatever happens (no run waits for a slow answer) and stamps each event with the nanosecond it
was sent; of the readers some look at every stamp, first and last of a tick among them.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections.abc import AsyncIterator

from ops.bench.delivery import ReaderCrowd, crowd
from ops.bench.report import ReportRow, middle, number
from ops.bench.stand import RUNS, TITLES, TRANSPORTS, Plan, stand

CLIENTS = 50
LOADS = {"a fifth": 0.2, "four fifths": 0.8}
# Seconds before each run: what the one before has left to do, such as the server's writing to disk, is not this one's.
REST = 1.0


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Finds where 50 readers saturate, then measures below that, transports and loads in turn."""
    async with stand() as place, contextlib.AsyncExitStack() as stack:
        crowds = [await stack.enter_async_context(crowd(place, each, CLIENTS)) for each in TRANSPORTS]
        saturation: dict[str, list[float]] = {each.transport: [] for each in crowds}
        for each in crowds:
            await each.warm(plan.seconds / 2)
        for _ in range(RUNS):
            for each in crowds:
                saturation[each.transport].append((await each.burst(each.events)).rate)
        found: dict[tuple[str, str], list[tuple[dict[str, float], dict[str, float]]]] = {}
        for _ in range(RUNS):
            for each in crowds:
                for load, share in LOADS.items():
                    rate = statistics.median(saturation[each.transport]) * share
                    found.setdefault((each.transport, load), []).append(await _paced(each, rate, plan.seconds))
        for transport, rates in saturation.items():
            yield ReportRow("latency", f"saturation, {CLIENTS} {TITLES[transport]} clients", "events/s", rates)
        for (transport, load), runs in found.items():
            rate = statistics.median(saturation[transport]) * LOADS[load]
            late = max(answer["late"] for answer, _ in runs) * 1000
            for name in ("p50", "p99"):
                yield ReportRow(
                    "latency",
                    f"publish to receive, {TITLES[transport]}, {load}, {name}",
                    "ms",
                    [answer[name] for answer, _ in runs],
                    busy=middle(busy for _, busy in runs),
                    note=f"{number(rate)} events/s; worst {max(answer['worst'] for answer, _ in runs):.0f} ms; "
                    f"producer at most {late:.0f} ms late",
                )


async def _paced(readers: ReaderCrowd, rate: float, seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    """One run at a rate: how long events took, and who was busy."""
    place, count = readers.place, max(100, int(rate * seconds))
    await asyncio.sleep(REST)
    await place.audience.ask("begin", group=readers.name)
    watch = place.watch()
    said, heard = await asyncio.gather(
        place.producer.ask("pace", subject=readers.subject, rate=rate, count=count),
        place.audience.ask("collect", group=readers.name, events=count, seconds=60, stamps=True),
    )
    return {**said, **heard}, watch.shares()
