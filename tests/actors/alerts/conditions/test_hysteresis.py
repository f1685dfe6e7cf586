"""Hysteresis: one limit from which it fires, another at which it ends."""

from __future__ import annotations

from actors.alerts.conditions.hysteresis import number
from tests.actors.alerts.feeding import engine, event, fed


def test_it_fires_above_one_limit_and_ends_below_the_other() -> None:
    alerts = engine(
        "hysteresis: {of: data.n, fire_above: 80, resolve_below: 70}\n    cooldown: 60".replace(
            "\n    cooldown: 60", ""
        )
    )

    said = fed(alerts, *(event(at, n=n) for at, n in enumerate([75, 80, 81, 75, 70, 69, 75, 81])))

    assert [each for each in said if each[0] != "again"] == [
        ("firing", 2, "metric.a"),
        ("resolved", 5, "ended"),
        ("firing", 7, "metric.a"),
    ]


def test_the_other_way_round_it_fires_below_and_ends_above() -> None:
    alerts = engine("value: data.n\n    hysteresis: {fire_below: 10, resolve_above: 20}")

    said = fed(alerts, *(event(at, n=n) for at, n in enumerate([15, 9, 20, 21])))

    assert said == [("firing", 1, "metric.a"), ("again", 2, "metric.a"), ("resolved", 3, "ended")]


def test_what_is_no_number_changes_nothing() -> None:
    assert [number(each) for each in (1, 2.5, True, "3", None, 10**400, float("nan"))] == [1, 2.5, *[None] * 5]
    alerts = engine("hysteresis: {of: data.n, fire_above: 80, resolve_below: 70}")

    assert [kind for kind, *_ in fed(alerts, event(0, n=90), event(1, n="low"), event(2, m=1))] == [
        "firing",
        "again",
        "again",
    ]
