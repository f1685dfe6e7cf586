"""Change: a value differs from the one before it."""

from __future__ import annotations

from tests.actors.alerts.feeding import engine, event, fed


def fired(rule: str, *values: object) -> list[float]:
    return [at for _, at, _ in fed(engine(rule), *(event(at, s=value) for at, value in enumerate(values)))]


def test_each_change_of_a_value_is_a_match_and_the_first_value_is_none() -> None:
    assert fired("change: {of: data.s}", "a", "a", "b", "b", "a", None, "a", "c") == [2, 4, 7]


def test_a_change_from_one_value_to_another_is_that_one_only() -> None:
    assert fired("change: {of: data.s, from: up, to: down}", "up", "odd", "down", "up", "down") == [4]
    assert fired("change: {of: data.s, to: true}", 1, True, 1, True) == [1, 3]


def test_a_change_by_an_amount_or_a_share_is_at_least_so_large() -> None:
    assert fired("change: {of: data.s, by: 10}", 0, 9, 19, 9, 18) == [2, 3]
    assert fired("change: {of: data.s, by_percent: 50}", 10, 14, 21, 10, "x", 20) == [2, 3]


def test_over_a_time_the_value_is_compared_with_each_one_in_it() -> None:
    assert fired("change: {of: data.s, by: 10, within: 3s}", 0, 4, 8, 12, 16, 20) == [3, 4, 5]
    assert fired("change: {of: data.s, by: 10, within: 2s}", 0, 4, 8, 12, 16, 20) == []


def test_an_event_older_than_the_newest_is_passed_over() -> None:
    assert fed(engine("change: {of: data.s}"), event(5, s="a"), event(4, s="b"), event(6, s="a")) == []
