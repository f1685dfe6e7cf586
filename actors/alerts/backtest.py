"""Says what rules would have fired in the past: the live engine over stored events, with the events' times for a clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from actors.alerts.engine import Engine, Signal
from actors.alerts.rules import Rule
from actors.alerts.scope import is_own, written
from router.beginning import Beginnings
from router.broker import Broker
from router.clock import wall
from router.cursor import Start
from router.event import Event
from router.replay import Replay
from router.subject import distinct

# Alerts that a report lists; the others are counted.
MAX_LISTED = 10_000
# Seconds after which others have their turn, and events after which the progress is told.
SLICE = 0.005
STEP = 1000
# Patterns that history is read by; rules with more of them in all read everything.
MAX_PATTERNS = 64


@dataclass(slots=True)
class FiredAlert:
    """One alert as it would have been. Times are ns since the epoch, None for one that still fires."""

    rule: str
    key: str
    alert: str
    at: int
    severity: str
    title: str
    entity: str
    value: Any
    event: str | None
    subject: str | None
    count: int = 1
    repeats: int = 0
    record: dict[str, Any] | None = None
    resolved: int | None = None
    reason: str | None = None

    def describe(self) -> dict[str, Any]:
        """As JSON, with times as RFC 3339."""
        found = {name: getattr(self, name) for name in self.__slots__}
        resolved = None if self.resolved is None else written(self.resolved)
        return {**found, "at": written(self.at), "resolved": resolved}


@dataclass(slots=True)
class BacktestReport:
    """What would have fired, by time, and what was read for it."""

    events: int = 0
    first: int | None = None
    last: int | None = None
    fired: list[FiredAlert] = field(default_factory=list)
    by_rule: dict[str, int] = field(default_factory=dict)
    signals: int = 0
    late: int = 0
    faults: int = 0

    @property
    def total(self) -> int:
        """How many alerts would have fired; those beyond the first 10,000 are not listed."""
        return sum(self.by_rule.values())

    def describe(self) -> dict[str, Any]:
        """All of it as JSON."""
        times = {name: None if at is None else written(at) for name, at in (("first", self.first), ("last", self.last))}
        counts = {"events": self.events, "alerts": self.total, "late": self.late, "faults": self.faults}
        return {**counts, **times, "by_rule": self.by_rule, "fired": [each.describe() for each in self.fired]}


class _Collector:
    """Makes a report of signals."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.report = BacktestReport(by_rule={rule.name: 0 for rule in rules if rule.enabled})
        self._open: dict[tuple[str, str], FiredAlert] = {}

    def take(self, signals: Iterable[Signal]) -> None:
        report = self.report
        for signal in signals:
            report.signals += 1
            place = signal.rule.name, signal.key
            if signal.kind == "firing":
                report.by_rule[signal.rule.name] = report.by_rule.get(signal.rule.name, 0) + 1
                self._open[place] = made = fired_alert(signal)
                if len(report.fired) < MAX_LISTED:
                    report.fired.append(made)
            elif (known := self._open.get(place)) is not None:
                known.count = max(known.count, signal.count)
                if signal.kind == "again":
                    known.repeats += 1
                else:
                    known.resolved, known.reason = signal.at, signal.reason
                    del self._open[place]


def fired_alert(signal: Signal) -> FiredAlert:
    """What a report says of a signal that opens an alert."""
    rule, scope = signal.rule, signal.scope
    return FiredAlert(
        rule=rule.name,
        key=signal.key,
        alert=signal.alert,
        at=signal.at,
        severity=rule.severity.value,
        title=rule.title.fill(scope, 200),
        entity=str(scope.get("entity", "")),
        value=signal.value,
        event=scope.get("id"),
        subject=scope.get("subject"),
        count=signal.count,
        record={"camera": rule.record.camera.fill(scope, 200), "seconds": rule.record.seconds} if rule.record else None,
    )


async def backtest(
    rules: Iterable[Rule],
    events: AsyncIterator[Event],
    *,
    until: int | None = None,
    now: int | None = None,
    progress: Callable[[BacktestReport], None] = lambda _report: None,
) -> BacktestReport:
    """Feeds events, in the order in which they were stored, to an engine of its own.

    The clock is the newest time that an event said, but not beyond `now` (the wall clock's): one whose producer's clock was
    ahead does not move the time of the others. At the end it is `until`, if that is given. Both in ns. `progress` is called
    at the beginning, and now and then; others have their turn every few milliseconds.
    """
    rules = list(rules)
    now = wall.now_ns() if now is None else now
    engine = Engine(rules)
    collector = _Collector(rules)
    report = collector.report
    clock, begun = 0, time.perf_counter()
    progress(report)
    async for event in events:
        if is_own(event):
            continue
        clock = max(clock, min(event.time, now))
        # One less: what is due at this moment comes behind its event, as where both come live.
        collector.take(engine.advance(clock - 1))
        collector.take(engine.process(event))
        report.events += 1
        report.first = event.time if report.first is None else min(report.first, event.time)
        report.last = event.time if report.last is None else max(report.last, event.time)
        if report.events % STEP == 0:
            progress(report)
        if time.perf_counter() - begun > SLICE:
            await asyncio.sleep(0)
            begun = time.perf_counter()
    collector.take(engine.advance(max(clock, until or 0)))
    report.late, report.faults = engine.late, engine.faults
    return report


async def history(
    broker: Broker, rules: Iterable[Rule], since: datetime, until: datetime | None = None
) -> AsyncIterator[Event]:
    """The stored events that rules look at, from one moment to another, page by page. Raises BrokerError."""
    every = distinct(pattern for rule in rules if rule.enabled for pattern in rule.subjects)
    patterns = every if len(every) <= MAX_PATTERNS else (">",)
    if not patterns:
        return
    first, last = nanoseconds(since), None if until is None else nanoseconds(until)
    replay = Replay(broker)
    state = await broker.events_state()
    replay.layout = state.layout
    at = (await Beginnings(broker, replay).place(Start(since=since), patterns, state)).after
    more = True
    while more and at.behind(state.last):
        stretch = await replay.stretch(patterns, at, state.last)
        for record in stretch.records:
            event = record.event
            if event is None or not state.last.covers(record):
                continue
            if event.time >= first and (last is None or event.time <= last):
                yield event
        # Pages are kept for readers who come back; a back-test does not.
        replay.forget()
        at, more = at.joined(stretch.upto), stretch.more


def nanoseconds(moment: datetime) -> int:
    """A moment as ns since the epoch."""
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000) * 1000
