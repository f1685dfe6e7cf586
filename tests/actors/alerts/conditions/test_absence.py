"""Absence: the next event of a key does not come."""

from __future__ import annotations

from tests.actors.alerts.feeding import engine, event, fed


def test_it_fires_where_no_event_of_a_key_comes_for_so_long_and_ends_with_the_next() -> None:
    alerts = engine("absence: 60s")

    assert fed(alerts, event(0), event(50), event(55, "b"), until=109) == []
    assert fed(alerts, until=120) == [("firing", 110, "metric.a"), ("firing", 115, "metric.b")]
    assert fed(alerts, event(130)) == [("resolved", 130, "ended")]
    assert fed(alerts, until=190) == [("firing", 190, "metric.a")]


def test_events_that_do_not_match_are_not_waited_for() -> None:
    assert fed(engine("when: data.ok\n    absence: 60s"), event(0, ok=True), event(50, ok=False), until=60) == [
        ("firing", 60, "metric.a")
    ]


def test_an_event_in_the_last_moment_is_in_time() -> None:
    assert fed(engine("absence: 60s"), event(0), event(60), until=119) == []


def test_a_producer_whose_clock_is_hours_behind_is_absent_once_and_not_anew_with_each_event() -> None:
    alerts = engine("absence: 60s")
    assert fed(alerts, event(0), until=10_000) == [("firing", 60, "metric.a")]
    for at in range(30, 300, 30):
        assert fed(alerts, event(at), until=10_000 + at) == []

    assert fed(alerts, event(10_290)) == [("resolved", 10_290, "ended")]


def test_one_that_comes_too_late_to_have_been_in_time_ends_nothing() -> None:
    alerts = engine("absence: 60s")
    fed(alerts, event(100), until=170)

    assert fed(alerts, event(90)) == []
