"""Tests rules by examples: events and the alerts that they must lead to, written beside the rules under `tests`.

    tests:
      - name: a lab that gets hot
        events:                       # or --events FILE, one JSON object a line
          - {at: 0s, subject: metric.lab-1.temperature, data: {celsius: 91}}
        until: 10m                    # the clock at the end (the last event)
        expect:
          - {at: 0s, rule: hot, key: metric.lab-1}
          - {at: 5m, rule: hot, key: metric.lab-1, kind: resolved}

Times are durations since the first moment of the test, or RFC 3339 where the events say so. What is expected must be all
that happens, in this order; `kind` is firing (if it is left out), again or resolved, and `again` is looked at only where it
is expected. Of an alert may be named: rule, key, entity, value, count, title, severity, reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from actors.alerts.backtest import nanoseconds
from actors.alerts.engine import Engine, Signal
from actors.alerts.fields import DAY, Fields, Note, meant
from actors.alerts.marked import BadYaml, MarkedMap, load
from actors.alerts.rules import BadRules, Mistake, Rule
from actors.alerts.scope import is_own, written
from router.errors import BadInput
from router.event import Event

# 2027-01-01: when a test begins whose events have no date.
BEGINNING = 1_798_761_600_000_000_000
NS = 1_000_000_000
MAX_TESTS = 1000
MAX_EVENTS = 1_000_000

EXPECTED = ("at", "rule", "key", "kind", "entity", "value", "count", "title", "severity", "reason")
_EVENT = ("at", "time", "subject", "type", "data", "id", "source", "key", "event_type", "timestamp")
_KINDS = ("firing", "again", "resolved")


@dataclass(frozen=True)
class RuleTest:
    """Events, and what they must lead to; times are ns."""

    name: str
    events: tuple[Event, ...] | None
    until: float | None
    expect: tuple[Mapping[str, Any], ...]


def read_tests(raw: bytes | str, file: str) -> tuple[RuleTest, ...]:
    """Reads the tests of a rules file; raises BadRules with every mistake in them."""
    try:
        document = load(raw)
    except BadYaml as fault:
        raise BadRules([Mistake(file, "", f"is not YAML: {fault}", "", *fault.position)]) from None
    entries = document.get("tests") if isinstance(document, dict) else None
    if not isinstance(entries, (list, type(None))) or len(entries or ()) > MAX_TESTS:
        raise BadRules([Mistake(file, "", f"tests must be a list of at most {MAX_TESTS}")])
    mistakes: list[Mistake] = []
    tests: list[RuleTest] = []
    for place, entry in enumerate(entries or (), 1):
        notes: list[Note] = []
        if not isinstance(entry, Mapping):
            mistakes.append(Mistake(file, f"test {place}", "must be a map with events and expect"))
            continue
        test = _test(Fields(entry, notes, []), place)
        label = f"test {entry.get('name', place)}"[:80]
        mistakes += [Mistake(file, label, note.reason, note.field, *note.at) for note in notes]
        tests.append(test)
    if mistakes:
        raise BadRules(mistakes)
    return tuple(tests)


def _test(fields: Fields, place: int) -> RuleTest:
    fields.only(("name", "events", "until", "expect"))
    name = fields.text("name", f"test {place}", 200) or ""
    events: list[Event] | None = None
    if "events" in fields:
        events = []
        for each in _maps(fields, "events"):
            try:
                events.append(event_of(each))
            except (BadInput, ValueError) as fault:
                at = each.position if isinstance(each, MarkedMap) else None
                fields.note("events", str(fault), at)
    expect = _maps(fields, "expect")
    for each in expect:
        inner = fields.under(each, "expect.")
        inner.only(EXPECTED)
        if "rule" not in each or "at" not in each:
            fields.note("expect", "needs rule and at", inner.place("rule").value)
        if "kind" in each:
            inner.choice("kind", _KINDS)
    until = fields.seconds("until", None, 0, 366 * DAY)
    return RuleTest(name, None if events is None else tuple(events), until, tuple(expect))


def _maps(fields: Fields, field: str) -> list[Mapping[str, Any]]:
    value = fields.entry.get(field, [])
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        fields.note(field, "must be a list of maps")
        return []
    return value


def read_events(lines: Iterable[str], file: str) -> list[Event]:
    """Reads events, one JSON object a line, as `callboard tail --json` writes them; raises BadRules."""
    events: list[Event] = []
    mistakes: list[Mistake] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if len(events) >= MAX_EVENTS:
            raise BadRules([Mistake(file, "", f"has more than {MAX_EVENTS} events", "", number, 1)])
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise ValueError("must be a JSON object with subject, data and at or time")
            events.append(event_of(entry, f"{file}-{number}"))
        except (BadInput, ValueError, RecursionError) as fault:
            mistakes.append(Mistake(file, "", str(fault)[:300], "", number, 1))
    if mistakes:
        raise BadRules(mistakes)
    return events


def event_of(entry: Mapping[str, Any], id: str | None = None) -> Event:
    """Makes an event of a map; raises BadInput or ValueError."""
    strange = [field for field in entry if field not in (*_EVENT, "cursor")]
    if strange:
        raise ValueError(f"{str(strange[0])[:40]!r} is not a field of an event{meant(strange[0], _EVENT)}")
    when = entry.get("at", entry.get("time", entry.get("timestamp", 0)))
    return Event.new(
        entry.get("subject", ""),
        entry.get("data") or {},
        type=entry.get("type", entry.get("event_type")),
        source=str(entry.get("source", "test")),
        id=entry.get("id"),
        time_ns=moment(when),
        key=entry.get("key"),
    )


def moment(when: object) -> int:
    """A time in ns: a duration since the beginning of a test, RFC 3339, or ns since the epoch. Raises ValueError."""
    if isinstance(when, datetime):
        return nanoseconds(when.astimezone())
    if isinstance(when, str) and "T" in when:
        found = datetime.fromisoformat(when)
        if found.tzinfo is None:
            raise ValueError(f"{when[:40]!r} needs a time zone, such as Z at its end")
        return nanoseconds(found)
    if isinstance(when, int) and not isinstance(when, bool) and when > 10**15:
        return when
    notes: list[Note] = []
    seconds = Fields({"at": when}, notes, []).seconds("at", 0.0, 0, 366 * DAY)
    if notes or seconds is None:
        raise ValueError(f"at: {notes[0].reason if notes else 'is missing'}")
    return BEGINNING + round(seconds * NS)


def run_test(rules: Sequence[Rule], test: RuleTest, events: Sequence[Event] = ()) -> list[str]:
    """Runs a test; `events` are those for one that has none of its own. Returns what differs, nothing where all is right."""
    engine = Engine(rules)
    signals: list[Signal] = []
    clock = 0
    for event in test.events if test.events is not None else events:
        if is_own(event):
            continue
        clock = max(clock, event.time)
        signals += engine.advance(clock - 1)
        signals += engine.process(event)
    begun = BEGINNING if clock < BEGINNING + 366 * DAY * NS and clock >= BEGINNING else 0
    signals += engine.advance(max(clock, begun + round((test.until or 0) * NS)))
    looked = {"firing", "resolved"} | {str(each.get("kind", "firing")) for each in test.expect}
    happened = [signal for signal in signals if signal.kind in looked]
    differences = []
    for place in range(max(len(happened), len(test.expect))):
        if place >= len(happened):
            differences.append(f"expected and did not happen: {_listed(test.expect[place])}")
        elif place >= len(test.expect):
            differences.append(f"happened and was not expected: {_listed(_said(happened[place]))}")
        elif wrong := _differs(happened[place], test.expect[place]):
            differences.append(
                f"expected {_listed(test.expect[place])}, but {wrong}: {_listed(_said(happened[place]))}"
            )
    return differences + [f"rule {each.rule} failed: {each.error!r}" for each in engine.take_faults()]


def _said(signal: Signal) -> dict[str, Any]:
    offset = (signal.at - BEGINNING) / NS
    found: dict[str, Any] = {"at": f"{offset:g}s" if 0 <= offset < 366 * DAY else written(signal.at)}
    found |= {"rule": signal.rule.name, "key": signal.key, "kind": signal.kind, "count": signal.count}
    if signal.scope:
        found |= {"entity": signal.scope.get("entity"), "value": signal.value}
        found |= {"title": signal.rule.title.fill(signal.scope, 200)}
    found |= {"severity": signal.rule.severity.value, "reason": signal.reason}
    return {name: value for name, value in found.items() if value is not None}


def _differs(signal: Signal, expected: Mapping[str, Any]) -> str:
    said = _said(signal)
    for field, value in {"kind": "firing", **expected}.items():
        if field == "at":
            try:
                if moment(value) != signal.at:
                    return "at is another"
            except ValueError as fault:
                return str(fault)
        elif said.get(field) != value:
            return f"{field} is another"
    return ""


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in values.items())
