"""Figures are numbers under every name, in the schema that is published and where an event is checked alike."""

from __future__ import annotations

import math
from typing import Any

import pytest

from router import catalogue
from router.errors import BadData
from router.event_types.metrics import METRIC_TYPES, check_figures


@pytest.mark.parametrize("field", ["metrics", "change"])
@pytest.mark.parametrize("value", ["12", True, [1], {"n": 1}, math.nan, math.inf])
def test_a_figure_of_any_name_is_a_number_or_null(field: str, value: Any) -> None:
    check_figures({field: {"clicks": 1, "reach": None, "depth": 0.5}})
    with pytest.raises(BadData) as refused:
        check_figures({field: {"clicks": 1, "reach": value}})
    assert (refused.value.field, refused.value.reason) == (f"{field}.reach", "expected a number or null")


@pytest.mark.parametrize("type", ["live_metric_update", "metric"])
@pytest.mark.parametrize("field", ["value", "delta", "deltaPercent"])
def test_a_value_that_json_has_no_number_for_is_malformed(type: str, field: str) -> None:
    data = {"metric": "ctr", "value": 2**63}
    catalogue.check(type, data)
    for value in (math.nan, -math.inf):
        with pytest.raises(BadData) as refused:
            catalogue.check(type, {**data, field: value})
        assert (refused.value.field, refused.value.reason) == (field, "expected a finite number")


def test_data_without_figures_are_let_pass() -> None:
    check_figures({})
    check_figures({"metrics": None, "change": {}})


def test_each_type_of_metrics_is_in_the_catalogue() -> None:
    for declared in METRIC_TYPES:
        assert catalogue.find(declared.name, "metric") is declared
