"""Merging windows of events by reducers: in any grouping the same, and sums of deltas are the total."""

from __future__ import annotations

from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import reduce as reducing
from router.catalogue import find
from router.metrics_delta import complete
from router.reduce import merge

REDUCERS = {"n": "sum", "top": "max", "text": "concat", "state": "last", "change": "sum", "deep.count": "sum"}
SMALL = st.integers(-50, 50)
MAYBE = st.none() | SMALL
MAPS = st.dictionaries(st.sampled_from(["a", "b", "c"]), MAYBE, max_size=3)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "n": MAYBE,
        "top": MAYBE,
        "text": st.text(max_size=3) | st.none(),
        "state": MAPS,
        "change": MAPS | st.none(),
        "deep": st.fixed_dictionaries({}, optional={"count": MAYBE, "name": SMALL}),
        "other": SMALL,
    },
)


def _one(events: list[dict[str, Any]]) -> dict[str, Any]:
    return reduce(lambda earlier, later: merge(REDUCERS, earlier, later), events)


@given(st.lists(EVENTS, min_size=2, max_size=8), st.data())
def test_however_a_window_is_cut_the_merged_event_is_the_same(
    events: list[dict[str, Any]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(events) - 1))
    again = data.draw(st.integers(1, cut))
    parts = [events[:again], events[again:cut], events[cut:]]

    assert _one([_one(part) for part in parts if part]) == _one(events)


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=30), st.integers(1, 7))
def test_sums_of_deltas_over_windows_are_the_total(values: list[int], window: int) -> None:
    declared = find("live_metric_update", "metric")
    events, previous = [], None
    for value in values:
        previous = complete("live_metric_update", previous, {"metric": "clicks", "value": value})
        events.append(previous)

    windows = [
        reduce(lambda one, other: merge(declared.reduce, one, other), events[at : at + window])
        for at in range(0, len(events), window)
    ]

    assert sum(each.get("delta", 0) for each in windows) == values[-1] - values[0]
    assert [each["value"] for each in windows] == [
        (values[at : at + window])[-1] for at in range(0, len(values), window)
    ]
    # The first event has no delta, for what came before is not known.
    for each in windows if window > 1 and len(values) > 1 else windows[1:]:
        before = each["value"] - each["delta"]
        assert each["deltaPercent"] == (
            pytest.approx(each["delta"] / abs(before) * 100) if before else (0.0 if not each["delta"] else None)
        )


def test_changes_of_a_campaign_are_added_and_its_figures_are_the_last() -> None:
    declared = find("campaign_metrics", "metric")
    one = {"campaignId": "c", "metrics": {"clicks": 4, "spend": 1.0}, "change": {"clicks": 1, "spend": 0.5}}
    other = {"campaignId": "c", "metrics": {"clicks": 9}, "change": {"clicks": 5}}

    assert merge(declared.reduce, one, other) == {
        "campaignId": "c",
        "metrics": {"clicks": 9, "spend": 1.0},
        "change": {"clicks": 6, "spend": 0.5},
    }
    assert one["change"] == {"clicks": 1, "spend": 0.5}


def test_a_text_is_cut_at_its_beginning_where_it_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reducing, "MAX_TEXT", 5)

    assert merge({"t": "concat"}, {"t": "abcd"}, {"t": "efg"})["t"] == "cdefg"


def test_values_of_different_kinds_are_not_merged() -> None:
    assert merge(REDUCERS, {"n": "x", "change": 4}, {"n": 2, "change": {"a": 1}}) == {"n": 2, "change": {"a": 1}}
    assert merge({"n": "sum"}, {"n": True}, {"n": 2}) == {"n": 2}
