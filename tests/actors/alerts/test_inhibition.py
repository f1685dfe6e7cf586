"""Alerts that keep others from being raised."""

from __future__ import annotations

from actors.alerts.engine import Engine
from actors.alerts.inhibition import ranks
from actors.alerts.parser import parse
from tests.actors.alerts.feeding import event

RULES = """
rules:
  - {name: slow, when: data.ms > 100, resolve_when: data.ms < 50, cooldown: 0, inhibit: {by: down}}
  - {name: busy, for: 10, when: data.busy == true, inhibit: {severity: critical, equal: [entity]}}
  - {name: down, severity: critical, when: data.up == false, resolve_when: data.up == true, cooldown: 0}
"""


def said(alerts: Engine, *events: object) -> list[tuple[str, str, float]]:
    start = event(0).time
    return [(s.kind, s.rule.name, (s.at - start) / 1e9) for each in events for s in alerts.process(each)]  # type: ignore[arg-type]


def test_a_rule_is_silent_while_one_that_inhibits_it_fires_for_the_same_entity() -> None:
    alerts = Engine(parse(RULES, "x"))

    assert said(alerts, event(0, up=False, ms=200)) == [("firing", "down", 0)]
    assert said(alerts, event(1, ms=200), event(1, "b", ms=200)) == [("firing", "slow", 1)]
    assert said(alerts, event(2, up=True), event(3, ms=200)) == [("resolved", "down", 2), ("firing", "slow", 3)]


def test_what_holds_when_the_inhibition_ends_fires_then() -> None:
    alerts = Engine(parse(RULES, "x"))
    said(alerts, event(0, up=False, busy=True))

    assert alerts.advance(event(20).time) == []
    assert said(alerts, event(30, up=True, busy=True)) == [("resolved", "down", 30), ("firing", "busy", 30)]


def test_a_rule_does_not_inhibit_itself_and_one_that_inhibits_looks_first() -> None:
    rules = parse(
        "rules:\n  - {name: b, severity: critical, when: 'true', inhibit: {severity: critical}}\n"
        "  - {name: c, when: 'true', inhibit: {by: d}}\n  - {name: d, when: 'true', inhibit: {by: [b, c]}}\n",
        "x",
    )

    assert said(Engine(rules), event(0)) == [("firing", "b", 0), ("firing", "c", 0)]
    assert set(ranks(rules)) == {"b", "c", "d"}


def test_a_closed_alert_inhibits_nothing() -> None:
    alerts = Engine(parse(RULES, "x"))
    said(alerts, event(0, up=False, busy=True))
    alerts.advance(event(20).time)

    assert [(each.kind, each.rule.name) for each in alerts.close("down", "metric.a")] == [("firing", "busy")]
