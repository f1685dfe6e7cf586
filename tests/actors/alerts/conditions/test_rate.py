"""Rate: matching events a second, or what a counter gains."""

from __future__ import annotations

from tests.actors.alerts.feeding import engine, event, fed


def kinds(said: list[tuple[str, float, str]]) -> list[tuple[str, float]]:
    return [(kind, at) for kind, at, _ in said if kind != "again"]


def test_it_fires_above_so_many_a_second_and_ends_as_they_grow_old() -> None:
    alerts = engine("rate: {over: 10s, above: 0.3}")

    said = fed(alerts, event(0), event(2), event(4), event(6), until=30)

    assert kinds(said) == [("firing", 6), ("resolved", 10)]


def test_below_it_fires_once_the_window_is_whole() -> None:
    alerts = engine("rate: {over: 10s, below: 0.3}")

    said = fed(alerts, *(event(at) for at in range(0, 20, 2)), until=60)

    assert kinds(said) == [("firing", 24)]
    assert kinds(fed(alerts, event(60), event(61), event(62))) == [("resolved", 62)]


def test_a_counter_that_falls_was_set_back() -> None:
    alerts = engine("rate: {of: data.n, over: 10s, above: 2}")

    said = fed(alerts, event(0, n=100), event(3, n=110), event(6, n=4), event(9, n=11), until=40)

    # 10 + 4 + 7 in ten seconds; 11 once the first values have left the window.
    assert kinds(said) == [("firing", 9), ("resolved", 10)]


def test_of_many_events_only_as_many_are_kept_as_the_limit_needs() -> None:
    alerts = engine("rate: {over: 10s, above: 1}")
    fed(alerts, *(event(at / 100) for at in range(500)))

    [(key, kept)] = alerts.state()["rules"]["it"]["keys"].items()
    assert key == "metric.a" and len(kept["memory"][3]) < 150
