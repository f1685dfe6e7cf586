"""Limits."""

from __future__ import annotations

import pytest

from actors.alerts.conditions.limit import Limit


@pytest.mark.parametrize(
    ("limit", "held", "values"),
    [
        (Limit(True, 5), False, {5: False, 6: True}),
        (Limit(True, 5), True, {5: False, 6: True}),
        (Limit(False, 5), True, {5: False, 4: True}),
        (Limit(True, 5, 3), True, {5: True, 3: True, 2: False}),
        (Limit(True, 5, 3), False, {5: False, 3: False, 6: True}),
        (Limit(False, 3, 5), True, {5: True, 6: False}),
    ],
)
def test_a_limit_holds_beyond_it_and_with_hysteresis_until_the_other(
    limit: Limit, held: bool, values: dict[float, bool]
) -> None:
    assert {value: limit.holds(value, held) for value in values} == values
    assert not limit.holds(None, held)
