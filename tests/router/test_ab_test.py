"""Counts of A/B tests in the shapes in which they are published."""

from __future__ import annotations

from typing import Any

import pytest

from router import catalogue
from router.ab_test import MAX_VARIANTS, significance_of
from router.errors import BadData

A, B = {"conversions": 200, "visitors": 1000}, {"conversions": 260, "visitors": 1000}


@pytest.mark.parametrize(
    "data",
    [
        {"variants": [{"id": "A", **A}, {"id": "B", **B}]},
        {"variants": {"A": A, "B": B}},
        {"variantA": A, "variantB": B, "testId": "t"},
        {"variant_A": {"metrics": A}, "variant_B": {"metrics": B}},
        {"variants": [{"variant": "B", **B}, {"variant": "A", "control": True, **A}]},
        {"variants": {"B": B, "A": A}, "control": "A"},
    ],
)
def test_every_shape_of_the_same_counts_has_the_same_significance(data: dict[str, Any]) -> None:
    found = significance_of(data)

    assert found is not None
    assert (found["control"], found["winner"], found["successes"], found["trials"]) == (
        "A",
        "B",
        "conversions",
        "visitors",
    )
    (b,) = found["comparisons"]
    # z of 200 and 260 of 1,000: 0.06 / sqrt(0.23 * 0.77 * 2 / 1000).
    assert b["statistic"] == pytest.approx(3.1881, abs=5e-5) and b["p_value"] == pytest.approx(0.001432, abs=5e-7)
    assert b["test"].startswith("two-proportion z-test") and "Agresti" in b["source"]


def test_clicks_of_impressions_serve_where_there_are_no_conversions() -> None:
    found = significance_of(
        {"variants": {"a": {"clicks": 3, "impressions": 10}, "b": {"clicks": 3, "impressions": 10}}}
    )

    assert found is not None
    assert (found["successes"], found["trials"], found["winner"]) == ("clicks", "impressions", None)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"variants": [{"id": "A", **A}]},
        {"variants": [{"id": "A", **A}, {"id": "B", "conversions": 5}]},
        {"variants": [{"id": "A", **A}, {"id": "B", "conversions": 5, "visitors": 4}]},
        {"variants": [{"id": "A", **A}, {"id": "B", "conversions": 1.5, "visitors": 4}]},
        {"variants": [{"id": "A", **A}, {"id": "B", "conversions": float("nan"), "visitors": 4}]},
        {"variants": [{"id": "A", **A}, {"id": "B", "conversions": -1, "visitors": 4}]},
        {"variants": {str(n): A for n in range(MAX_VARIANTS + 1)}},
        {"variants": "A"},
    ],
)
def test_what_has_no_valid_counts_has_no_significance(data: dict[str, Any]) -> None:
    assert significance_of(data) is None


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, ""),
        ({"testId": "t"}, ""),
        ({"variants": {"A": 1}}, "variants.A"),
        ({"variants": [A, "B"]}, "variants.1"),
        ({"variants": {"A": {"conversions": 1.5}}}, "variants.A.conversions"),
        ({"variants": {"A": {"visitors": "7"}}}, "variants.A.visitors"),
        ({"variantId": "A", "metrics": {"clicks": -1}}, "metrics.clicks"),
        ({"variants": {"A": {"conversions": 5, "visitors": 4}}}, "variants.A.conversions"),
    ],
)
def test_a_result_that_cannot_be_is_refused(data: dict[str, Any], field: str) -> None:
    with pytest.raises(BadData) as fault:
        catalogue.check("ab_test_result", data)
    assert (fault.value.field, fault.value.type) == (field, "ab_test_result")


@pytest.mark.parametrize(
    "data",
    [
        {"variants": {"A": A, "B": B}},
        {"variantId": "A", "metrics": {"ctr": 0.1, "clicks": None}},
        {"testId": "t", "statisticalSignificance": 0.9},
        {"variantA": A, "variantB": {}},
    ],
)
def test_a_result_with_some_figures_is_taken(data: dict[str, Any]) -> None:
    catalogue.check("ab_test_result", data)


def test_the_schema_of_a_result_names_who_won_and_whether_that_is_significant() -> None:
    data = {"variants": {"A": A, "B": B}}
    catalogue.check("ab_test_result", {**data, "significance": significance_of(data)})
    with pytest.raises(BadData, match=r"data\.significance\.winner"):
        catalogue.check("ab_test_result", {**data, "significance": {"winner": 1}})
