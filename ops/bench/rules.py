"""Measures what an event costs the alert engine beside 100, 1,000 and 10,000 rules, of which ten look at it.

In this process, without NATS: the engine alone, in CPU time, so that what else the machine does shows little. Each rule has a
CEL expression of its own over two fields, subject pattern and type; each event falls under ten of them. First none of the ten
matches, then all do and fire already (their cooldown runs). Then what it takes to read the rules, to read them again where one
of them changed, and to replace them.
"""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator, Callable
from typing import ParamSpec, TypeVar

from actors.alerts.engine import Engine
from actors.alerts.parser import parse
from actors.alerts.rules import Rule
from ops.bench.report import ReportRow
from ops.bench.stand import Plan
from router.event import Event

P = ParamSpec("P")
T = TypeVar("T")

SIZES = (100, 1_000, 10_000)
FITTING = 10
RUNS = 3
EVENTS = 20_000
BEGINNING = 1_800_000_000_000_000_000
# A millisecond between events: all lie within the cooldown of the first.
STEP = 1_000_000


async def run(_plan: Plan) -> AsyncIterator[ReportRow]:
    """Three rows for each number of rules."""
    for size in SIZES:
        spent, rules = _timed(parse, rules_text(size), "rules.yaml")
        known = {rule.name: rule for rule in rules}
        changed = rules_text(size).replace("title: host", "title: the host", 1)
        again, newer = _timed(parse, changed, "rules.yaml", known)
        for value, what in ((50.0, "none of ten rules matches"), (95.0, "all ten match and fire already")):
            runs = [events_a_second(rules, size, value) for _ in range(RUNS)]
            note = f"{1e6 / max(runs):.1f} to {1e6 / min(runs):.1f} µs an event"
            yield ReportRow("rules", f"{size:,} rules, {what}", "events/s", runs, note=note)
        engine = Engine(rules)
        replaced, _ = _timed(engine.replace, newer)
        note = f"again with one changed {again * 1000:.0f} ms, replaced in {replaced * 1000:.1f} ms"
        yield ReportRow("rules", f"{size:,} rules are read", "ms", [spent * 1000], note=note)


def rules_text(size: int) -> str:
    """Rules in groups of ten that look at one host each."""
    return "rules:\n" + "".join(
        f"  - name: r{n}\n    subjects: [metric.host-{n // FITTING}.*]\n    types: [temperature]\n"
        f'    when: data.celsius > {80 + n % FITTING}.{n} && data.room == "cellar"\n'
        f"    title: host {{entity}} is hot\n    value: data.celsius\n    cooldown: 60\n"
        for n in range(size)
    )


def events_a_second(rules: tuple[Rule, ...], size: int, value: float) -> float:
    """How many events an engine judges in a CPU-second; their hosts take turns."""
    engine = Engine(rules)
    hosts = size // FITTING
    events = [
        Event.new(
            f"metric.host-{n % hosts}.temperature",
            {"celsius": value, "room": "cellar", "note": "x" * 40},
            time_ns=BEGINNING + n * STEP,
        )
        for n in range(hosts + EVENTS)
    ]
    # What fires does so at the first event of each host, which is not measured.
    for event in events[:hosts]:
        engine.process(event)
    gc.collect()
    spent, _ = _timed(_feed, engine, events[hosts:])
    return EVENTS / spent


def _feed(engine: Engine, events: list[Event]) -> None:
    for event in events:
        engine.process(event)


def _timed(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[float, T]:
    begun = time.process_time()
    found = work(*args, **kwargs)
    return time.process_time() - begun, found
