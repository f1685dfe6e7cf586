"""Measures how the number of webhook sessions shows in the cost of an event: to find whom it is for, and to post it.

First the index of views alone, in this process: 10,000 views as sessions have them (six tenths ask for a run of their own, two
for a type of all jobs and a run, one for types only, one with a filter), asked about subjects that it has not seen before, and
about such as it has; then views that are changed while it remembers 20,000 answers. And live patterns that are wanted and taken
back beside 10,000 others, of which the widest are subscribed. Microseconds of CPU time, the median of the runs.

Then an edge with 1,000 sessions, and with 8,000: each session has a subject of its own and is sent one event a pass, so many
events at a time, by one receiver that answers at once. The first pass is not measured: connections are made in it. What is
compared is the edge's CPU time of a post, with all that belongs to it (see `webhooks`). Beside that stands what an event costs
that is for none of the sessions, and of a subject that was not seen before.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Callable

from edge.filters.matching import Matching
from edge.sessions.endpoint.settings import EndpointSettings
from edge.sessions.registry import Registry
from edge.sessions.spec import SessionSpec
from edge.view import View
from ops.bench.report import ReportRow
from ops.bench.stand import BenchError, Plan, cpu_seconds
from ops.bench.webhooks import WebhookCrowd, crowd
from router.cursor import Cursor
from router.event import Event
from router.patterns import Widest

VIEWS = 10_000
INDEX_RUNS = 5
LIVE = 2_000
SIZES = (1_000, 8_000)
PASSES = 3
AT_ONCE = 256
UNWANTED = 8 * AT_ONCE
SECONDS_TO_KNOW = 60


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """The index, then an edge that grows."""
    for row in _index():
        yield row
    async with crowd() as hooks:
        registry = Registry.over(hooks.place.broker.connection)
        sessions = 0
        costs: dict[int, list[float]] = {}
        for size in SIZES:
            await _grow(hooks, registry, sessions, size)
            sessions = size
            passes = [await _pass(hooks, size) for _ in range(1 + max(1, PASSES * SIZES[0] // size))]
            costs[size] = passes[1:]
            unwanted = [await _unwanted(hooks, f"{size}-{turn}") for turn in range(PASSES)]
            what = f"an event for none of {size:,} webhook sessions, CPU time of the edge"
            yield ReportRow("routing", what, "µs", unwanted)
        least = statistics.median(costs[SIZES[0]])
        for size, spent in costs.items():
            note = "" if size == SIZES[0] else f"{statistics.median(spent) / least:.2f} times that of {SIZES[0]:,}"
            yield ReportRow(
                "routing", f"a post, {size:,} webhook sessions, CPU time of the edge", "µs", spent, note=note
            )


def views(count: int) -> list[View]:
    """Views as sessions have them."""
    found = []
    for number in range(count):
        name = f"sess_{number}"
        match number % 10:
            case 6 | 7:
                found.append(View.of(name, ["job.*.done", f"agent.run-{number}.*"], ["done", "progress"], None))
            case 8:
                found.append(View.of(name, None, [f"kind_{number}", "failed"], None))
            case 9:
                found.append(View.of(name, ["camera.door.>"], None, "data.level > 3"))
            case _:
                found.append(View.of(name, [f"agent.run-{number}.>"], None, None))
    return found


def _index() -> list[ReportRow]:
    crowd = views(VIEWS)
    index: Matching[int] = Matching()
    begun = time.process_time()
    for key, view in enumerate(crowd):
        index.put(key, view)
    added = (time.process_time() - begun) / VIEWS * 1e6
    first, again, changed = [], [], []
    for turn in range(INDEX_RUNS):
        subjects = [f"agent.run-{number}.t{turn}" for number in random.Random(turn).sample(range(VIEWS), 4_000)]
        first.append(_each(lambda: [index.find(subject, "progress") for subject in subjects], len(subjects)))  # noqa: B023
        again.append(_each(lambda: [index.find(subject, "progress") for subject in subjects], len(subjects)))  # noqa: B023
        others = [(key, View.of("", [f"agent.run-{key}.t{turn}.>"], None, None)) for key in range(0, VIEWS, 10)]
        changed.append(_each(lambda: _change(index, others), len(others)))  # noqa: B023
    widest = Widest()
    for number in range(VIEWS):
        widest.add(f"agent.run-{number}.>")
    live = [_each(lambda: _come_and_go(widest), LIVE) for _ in range(INDEX_RUNS)]
    return [
        ReportRow("routing", f"a subject not seen before, among {VIEWS:,} views", "µs", first),
        ReportRow("routing", "a subject seen before", "µs", again),
        ReportRow("routing", "a view that is changed", "µs", changed, note=f"one that is added {added:.0f} µs"),
        ReportRow("routing", f"a live pattern that comes and goes, beside {VIEWS:,}", "µs", live),
    ]


def _change(index: Matching[int], others: list[tuple[int, View]]) -> None:
    for key, view in others:
        index.put(key, view)


def _come_and_go(widest: Widest) -> None:
    for number in range(LIVE):
        widest.add(f"camera.c-{number}.*")
        widest.remove(f"camera.c-{number}.*")


def _each(work: Callable[[], object], count: int) -> float:
    begun = time.process_time()
    work()
    return (time.process_time() - begun) / count * 1e6


async def _grow(hooks: WebhookCrowd, registry: Registry, have: int, size: int) -> None:
    """Stores sessions until there are so many, and waits until the edge knows them."""
    state = await hooks.place.broker.state()
    start = str(Cursor(state.epoch, state.last))

    async def make(number: int) -> None:
        spec = SessionSpec(
            id=f"sess_{secrets.token_hex(12)}",
            delivery_method="webhook",
            created=time.time_ns(),
            start=start,
            subjects=[f"job.crowd-{number}.said"],
            webhook=EndpointSettings(url=f"http://127.0.0.1:{hooks.ports['well']}/{number}"),
        )
        await registry.create(spec)

    for first in range(have, size, AT_ONCE):
        await asyncio.gather(*(make(number) for number in range(first, min(first + AT_ONCE, size))))
    for _ in range(SECONDS_TO_KNOW * 10):
        if await hooks.place.counter("edge_sessions") >= size:
            return
        await asyncio.sleep(0.1)
    raise BenchError(f"the edge does not know {size:,} sessions after {SECONDS_TO_KNOW} s")


async def _unwanted(hooks: WebhookCrowd, name: str) -> float:
    """Publishes events of new subjects that are for nobody; gives the edge's CPU time of one in microseconds."""
    place = hooks.place
    begun = cpu_seconds(place.edge_pid)
    for first in range(0, UNWANTED, AT_ONCE):
        events = [Event.new(f"agent.{name}-{number}.said", {}) for number in range(first, first + AT_ONCE)]
        await asyncio.gather(*(place.broker.publish(event) for event in events))
    for _ in range(SECONDS_TO_KNOW * 10):
        await asyncio.sleep(0.1)
        if not await place.counter("edge_webhook_fanout_lag_events"):
            return (cpu_seconds(place.edge_pid) - begun) / UNWANTED * 1e6
    raise BenchError("the fan-out does not keep up with events that are for nobody")


async def _pass(hooks: WebhookCrowd, size: int) -> float:
    """Sends each session one event; gives the edge's CPU time of a post in microseconds."""
    place = hooks.place
    await hooks.receivers.ask("begin", sessions=1)
    begun = cpu_seconds(place.edge_pid)
    for first in range(0, size, AT_ONCE):
        last = min(first + AT_ONCE, size)
        events = [Event.new(f"job.crowd-{number}.said", {"at": time.time_ns()}) for number in range(first, last)]
        await asyncio.gather(*(place.broker.publish(event) for event in events))
        await hooks.receivers.ask("collect", posts=last, seconds=120)
    await hooks.settled()
    return (cpu_seconds(place.edge_pid) - begun) / size * 1e6
