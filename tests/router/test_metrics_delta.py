"""What is completed of metric events, and what is left as the producer gave it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.metrics_delta import complete, is_incomplete, is_unknown, key_of, remember


def test_the_change_of_a_campaign_is_that_to_the_event_before() -> None:
    before = {"campaignId": "c1", "metrics": {"impressions": 100, "clicks": 4}}

    found = complete("campaign_metrics", before, {"campaignId": "c1", "metrics": {"impressions": 150, "clicks": 4}})

    assert found["change"] == {"impressions": 50, "clicks": 0}


def test_what_the_producer_gave_of_a_change_stays_and_the_rest_is_filled_in() -> None:
    before = {"metrics": {"impressions": 100, "clicks": 4}}

    found = complete(
        "campaign_metrics", before, {"metrics": {"impressions": 150, "clicks": 6}, "change": {"impressions": 7}}
    )

    assert found["change"] == {"impressions": 7, "clicks": 2}


def test_of_a_value_that_is_seen_for_the_first_time_no_change_is_told() -> None:
    for kind, first in (
        ("campaign_metrics", {"metrics": {"clicks": 4, "name": "x"}}),
        ("live_metric_update", {"metric": "ctr", "value": 2.5}),
    ):
        assert complete(kind, None, first) is first
        assert is_incomplete(kind, first) and is_unknown(kind, None, first)
    second = complete("campaign_metrics", {"metrics": {"clicks": 4}}, {"metrics": {"clicks": 6, "spend": 2}})
    assert second["change"] == {"clicks": 2}


def test_each_figure_of_a_campaign_is_compared_with_its_own_last_value() -> None:
    known = remember("campaign_metrics", None, {"metrics": {"clicks": 1}})
    known = remember("campaign_metrics", known, {"metrics": {"impressions": 9, "clicks": None}})

    assert complete("campaign_metrics", known, {"metrics": {"clicks": 4}})["change"] == {"clicks": 3}
    assert not is_unknown("campaign_metrics", known, {"metrics": {"clicks": 4}})


@pytest.mark.parametrize(
    ("before", "data", "delta", "share"),
    [
        (80, {"value": 100}, 20, 25.0),
        (-80, {"value": -100}, -20, -25.0),
        (0, {"value": 3}, 3, None),
        (0, {"value": 0}, 0, 0.0),
        (80, {"value": 100, "delta": 25}, 25, 25.0),
        (80, {"value": 100, "previousValue": 50}, 50, 100.0),
        (None, {"value": 100, "delta": 50}, 50, 100.0),
        (80, {"value": 100, "deltaPercent": 1.0}, 20, 1.0),
    ],
)
def test_delta_and_percentage_are_worked_out(
    before: float | None, data: dict[str, Any], delta: float, share: float | None
) -> None:
    found = complete("live_metric_update", None if before is None else {"value": before}, data)

    assert (found["delta"], found["deltaPercent"]) == (delta, share)


def test_what_is_whole_or_of_another_type_is_the_same_object() -> None:
    whole = {"value": 1, "delta": 0, "deltaPercent": 0.0}
    assert complete("live_metric_update", {"value": 9}, whole) is whole
    other = {"value": 1}
    assert complete("progress", {"value": 0}, other) is other
    told = {"metrics": {"a": 1}, "change": {"a": 1}}
    assert complete("campaign_metrics", None, told) is told


def test_a_result_of_an_ab_test_gets_its_significance_and_keeps_one_that_it_has() -> None:
    data = {"variants": {"A": {"clicks": 20, "impressions": 100}, "B": {"clicks": 40, "impressions": 100}}}

    found = complete("ab_test_result", None, data)
    assert found["significance"]["winner"] == "B"
    assert found["statisticalSignificance"] == 1 - found["significance"]["comparisons"][0]["p_adjusted"]
    told = {**data, "significance": {"p": 1}}
    assert complete("ab_test_result", None, told) is told


def test_metrics_of_one_subject_are_told_apart_by_the_key_of_their_type() -> None:
    for kind, one, other in (
        ("live_metric_update", {"metric": "ctr"}, {"metric": "roas"}),
        ("live_metric_update", {"metric": "ctr", "entityId": "a"}, {"metric": "ctr", "entity_id": "b"}),
        ("campaign_metrics", {"campaignId": "a"}, {"campaignId": "b"}),
        ("metric", {"name": "x"}, {}),
    ):
        assert key_of(kind, one) != key_of(kind, other)
        assert key_of(kind, one) == key_of(kind, {**one, "value": 1})


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
DATA = st.dictionaries(
    st.sampled_from(["metrics", "change", "value", "delta", "deltaPercent", "variants", "previousValue"]), JUNK
)


@given(st.sampled_from(["campaign_metrics", "live_metric_update", "metric", "ab_test_result"]), DATA, DATA)
def test_no_data_whatever_raise_and_nothing_given_is_changed(
    kind: str, before: dict[str, Any], data: dict[str, Any]
) -> None:
    found = complete(kind, before, data)

    for name, value in data.items():
        if value is not None and name != "change":
            assert found[name] is value
    # What it gives is complete: a second pass has nothing to add.
    assert complete(kind, before, found) is found
    assert is_incomplete(kind, data) or found is data or kind == "ab_test_result"
    remember(kind, before, data), is_unknown(kind, before, data), key_of(kind, data)


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=20))
def test_deltas_add_up_to_the_last_value_less_the_first(values: list[int]) -> None:
    previous, total, change = None, 0, 0
    previous_campaign = None
    for value in values:
        previous = complete("live_metric_update", previous, {"value": value})
        previous_campaign = complete("campaign_metrics", previous_campaign, {"metrics": {"n": value}})
        total += previous.get("delta", 0)
        change += previous_campaign.get("change", {}).get("n", 0)

    assert total == change == values[-1] - values[0]
