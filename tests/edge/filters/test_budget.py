"""A principal's filters have a share of the event loop's time."""

from __future__ import annotations

import pytest

from edge.filters.budget import Allowance
from edge.settings import FilterSettings


def test_an_allowance_is_spent_and_grows_back_by_its_share() -> None:
    allowance = Allowance(FilterSettings(burst=0.010, share=0.25), 0.0)
    allowance.take(0.030)

    assert allowance.left(0.0) == pytest.approx(-0.020)
    assert allowance.left(0.040) == pytest.approx(-0.010)
    assert allowance.left(10.0) == pytest.approx(0.010)
