"""The engine of alerts: what it answers to events and moments."""

from __future__ import annotations

import pytest

from actors.alerts.engine import Engine, Signal
from actors.alerts.parser import parse
from router.event import Event
from tests.actors.alerts.readings import HOT, START, S, reading


def engine(text: str, keys: int = 10_000) -> Engine:
    return Engine(parse(text, "rules.yaml"), keys)


def told(signals: list[Signal]) -> list[tuple[str, str, str, float, int]]:
    return [(each.kind, each.rule.name, each.key, (each.at - START) / S, each.count) for each in signals]


def test_a_match_fires_and_says_so_again_after_the_cooldown() -> None:
    alerts = engine(HOT)

    first, second, third = (alerts.process(reading(90, at)) for at in (0, 30, 60))

    assert told(first) == [("firing", "hot", "metric.lab-1", 0, 1)]
    assert second == []
    assert told(third) == [("again", "hot", "metric.lab-1", 60, 3)]
    assert first[0].alert == third[0].alert and first[0].since == third[0].since == START
    assert (first[0].value, first[0].scope["entity"]) == (90, "lab-1")


def test_an_event_that_comes_again_gets_the_answer_that_it_got() -> None:
    alerts = engine(HOT)
    cause = reading(90)
    answer = alerts.process(cause)
    alerts.process(reading(91, 5))

    assert alerts.process(cause) == answer
    assert alerts.count("hot", "metric.lab-1") == 2


def test_moments_end_what_was_quiet_at_the_time_that_was_due() -> None:
    alerts = engine(HOT + "    resolve_after: 30\n")
    alerts.process(reading(90, 0))
    alerts.process(reading(90, 10))

    assert alerts.advance(START + 39 * S) == []
    [ended] = alerts.advance(START + 99 * S)

    assert (ended.kind, ended.reason, ended.at, ended.count) == ("resolved", "resolve_after", START + 40 * S, 2)
    assert alerts.advance(START + 199 * S) == []


def test_an_event_behind_a_deadline_finds_the_alert_ended() -> None:
    alerts = engine(HOT.replace("cooldown: 60", "cooldown: 0") + "    resolve_after: 30\n")
    alerts.process(reading(90, 0))

    assert [each.kind for each in alerts.process(reading(90, 31))] == ["resolved", "firing"]


def test_an_alert_that_was_stored_goes_on_and_one_that_a_person_closed_begins_anew() -> None:
    alerts = engine(HOT.replace("cooldown: 60", "cooldown: 0"))
    assert alerts.adopt("hot", "metric.lab-1", alert="hot-1", since=START, told=START, last=START, count=4)
    assert not alerts.adopt("gone", "x", alert="gone-1", since=START, told=None, last=START, count=1)

    [again] = alerts.process(reading(90, 1))
    assert (again.kind, again.alert, again.count) == ("again", "hot-1", 5)

    alerts.close("hot", "metric.lab-1")
    [anew] = alerts.process(reading(90, 2))
    assert anew.kind == "firing" and anew.alert != "hot-1"


@pytest.mark.parametrize(
    ("condition", "after"),
    [
        ("when: data.celsius > 80", 0),
        ("hysteresis: {of: data.celsius, fire_above: 80, resolve_below: 70}", 0),
        ("when: data.celsius > 80\n    for: 5s", 5),
        ("window: {of: data.celsius, fn: avg, over: 5m, above: 80}", 0),
        ("when: data.celsius > 80\n    threshold: {count: 1, within: 60s}\n    resolve_after: 1h", 0),
        ("change: {of: data.celsius, by: 1}", 0),
    ],
    ids=["plain", "hysteresis", "for", "window", "threshold", "change"],
)
@pytest.mark.parametrize("restarted", [False, True])
def test_what_a_person_resolved_fires_anew_within_the_cooldown(condition: str, after: int, restarted: bool) -> None:
    rule = f"rules:\n  - name: hot\n    cooldown: 1h\n    {condition}\n"
    alerts = engine(rule)
    said = [signal for at in (0, 6) for signal in alerts.process(reading(90 + at, at)) + alerts.advance(START + 7 * S)]
    [first] = [each for each in said if each.kind == "firing"]

    alerts.close("hot", "metric.lab-1")
    if restarted:
        state, alerts = alerts.state(), engine(rule)
        assert alerts.restore(state) == 0
    assert alerts.advance(START + 9 * S) == []
    [anew] = alerts.process(reading(99, 10)) + alerts.advance(START + 19 * S)

    assert (anew.kind, (anew.at - START) / S) == ("firing", 10 + after) and anew.alert != first.alert


def test_new_rules_keep_what_fires_and_end_what_no_rule_stands_for() -> None:
    alerts = engine(HOT + "  - {name: warm, when: data.celsius > 30}\n")
    alerts.process(reading(90, 0))

    ended = alerts.replace(parse(HOT.replace("80", "85"), "rules.yaml"))

    assert [(each.kind, each.rule.name, each.reason) for each in ended] == [("resolved", "warm", "rule_removed")]
    assert [each.kind for each in alerts.process(reading(90, 60))] == ["again"]
    assert set(alerts.rules) == {"hot"}


def test_a_rule_that_counts_as_before_goes_on_counting_after_a_change_of_its_texts() -> None:
    rule = HOT + "    key: data.room\n    threshold: {count: 2, within: 60}\n"
    alerts = engine(rule)
    alerts.process(room(0))
    alerts.replace(parse(rule.replace("is hot", "is very hot"), "rules.yaml"))

    [signal] = alerts.process(room(1))

    assert signal.rule.title.fill(signal.scope, 99) == "lab-1 is very hot"
    alerts.replace(parse(rule.replace("count: 2", "count: 3"), "rules.yaml"))
    assert alerts.firing() == [("hot", "cellar", signal.alert)]


def test_what_holds_goes_on_after_a_change_of_its_limits() -> None:
    rule = "rules: [{name: hot, hysteresis: {of: data.celsius, fire_above: 80, resolve_below: 70}}]"
    alerts = engine(rule)
    alerts.process(reading(90, 0))
    alerts.replace(parse(rule.replace("70", "60"), "rules.yaml"))

    assert alerts.process(reading(65, 1)) == []
    assert [each.reason for each in alerts.process(reading(59, 2))] == ["ended"]


def room(at: float) -> Event:
    return Event.new("metric.lab-1.temperature", {"celsius": 90, "room": "cellar"}, time_ns=START + int(at * S))
