"""`for`: a condition that must have held for some time."""

from __future__ import annotations

from tests.actors.alerts.feeding import engine, event, fed

RULE = "when: data.n > 5\n    for: 30s"


def test_it_fires_once_it_has_held_so_long_and_ends_with_the_first_event_that_does_not_match() -> None:
    alerts = engine(RULE)

    assert fed(alerts, event(0, n=6), event(20, n=7), until=29) == []
    assert fed(alerts, until=31) == [("firing", 30, "metric.a")]
    assert fed(alerts, event(40, n=1)) == [("resolved", 40, "ended")]


def test_an_event_that_does_not_match_begins_the_time_anew() -> None:
    alerts = engine(RULE)

    assert fed(alerts, event(0, n=6), event(29, n=1), event(31, n=6), until=60) == []
    assert fed(alerts, until=61) == [("firing", 61, "metric.a")]


def test_the_deadline_comes_before_events_behind_it() -> None:
    assert fed(engine(RULE), event(0, n=6), event(31, n=1)) == [("firing", 30, "metric.a"), ("resolved", 31, "ended")]


def test_an_event_at_the_deadline_counts() -> None:
    assert fed(engine(RULE), event(0, n=6), event(30, n=1), until=99) == []


def test_what_it_shows_is_the_newest_match() -> None:
    alerts = engine(RULE + '\n    title: "{entity}: {data.n} {data.deep.x} {count}"\n    value: data.n')
    alerts.process(event(0, n=6, deep={"x": [1, 2]}))
    alerts.process(event(20, n=9, deep={"x": "y" * 999}))

    [signal] = alerts.advance(event(30).time)

    assert signal.rule.title.fill(signal.scope, 40) == "a: 9 " + "y" * 35
    assert (signal.value, signal.count, signal.event) == (9, 2, None)


def test_what_holds_anew_is_another_alert_for_which_the_cooldown_of_the_one_before_does_not_count() -> None:
    slow = engine("rules: [{name: it, when: data.n > 5, for: 1, cooldown: 60}]")

    assert fed(slow, event(0, n=6), event(2, n=1), event(3, n=6), until=99) == [
        ("firing", 1, "metric.a"),
        ("resolved", 2, "ended"),
        ("firing", 4, "metric.a"),
    ]
