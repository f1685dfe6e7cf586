"""Windows: aggregates over a sliding time."""

from __future__ import annotations

import pytest

from tests.actors.alerts.feeding import engine, event, fed


@pytest.mark.parametrize(
    ("fn", "limit", "fires"),
    [
        ("avg", "above: 4", 3),
        ("sum", "above: 10", 3),
        ("max", "above: 5", 3),
        ("min", "below: 2", 2),
        ("count", "above: 3", 3),
        ("p95", "above: 5", 3),
        ("p90", "above: 5", 3),
    ],
)
def test_each_function_fires_with_the_event_that_passes_its_limit(fn: str, limit: str, fires: float) -> None:
    alerts = engine(f"window: {{of: data.n, fn: {fn}, over: 60s, {limit}}}")

    said = fed(alerts, *(event(at, n=n) for at, n in enumerate([2, 4, 1, 10])))

    assert said[0] == ("firing", fires, "metric.a")


def test_it_ends_when_a_sample_leaves_the_window_also_without_an_event() -> None:
    alerts = engine("window: {of: data.n, fn: max, over: 60s, above: 5}")

    assert fed(alerts, event(0, n=9), event(30, n=1), until=59) == [
        ("firing", 0, "metric.a"),
        ("again", 30, "metric.a"),
    ]
    assert fed(alerts, until=60) == [("resolved", 60, "ended")]


def test_it_begins_when_a_sample_leaves_the_window_also_without_an_event() -> None:
    alerts = engine('window: {of: data.n, fn: avg, over: 60s, above: 5}\n    title: "{value} {data.n}"')

    said = [*alerts.process(event(0, n=0)), *alerts.process(event(30, n=9)), *alerts.advance(event(60).time)]

    assert [signal.rule.title.fill(signal.scope, 40) for signal in said] == ["9 9"]


def test_with_hysteresis_it_ends_at_the_other_limit_and_of_too_few_samples_it_says_nothing() -> None:
    alerts = engine(
        "window: {of: data.n, fn: avg, over: 10s, samples: 2}\n    hysteresis: {fire_above: 5, resolve_below: 3}"
    )

    said = fed(alerts, event(0, n=9), event(1, n=9), event(2, n=-5), event(3, n=-5), until=99)

    assert [each for each in said if each[0] != "again"] == [("firing", 1, "metric.a"), ("resolved", 3, "ended")]


def test_a_window_that_is_empty_ends_its_alert_and_a_late_sample_finds_its_place() -> None:
    alerts = engine("window: {of: data.n, fn: sum, over: 10s, above: 5}")

    assert fed(alerts, event(5, n=3), event(1, n=3)) == [("firing", 1, "metric.a")]
    assert fed(alerts, until=11) == [("resolved", 11, "ended")]
    assert fed(alerts, event(-50, n=99)) == []
