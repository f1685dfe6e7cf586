"""The fold of an entity's metrics: versions, changes, snapshots, tests, and what survives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.metrics import record as module
from actors.metrics.record import EntityRecord
from actors.system.actor import Reject
from router.entity import Data, apply
from router.event import Event


def metric(name: str, value: float, **more: Any) -> Event:
    return Event.new("metric.c1.live_metric_update", {"metric": name, "value": value}, **more)


def campaign(**metrics: Any) -> Event:
    return Event.new("metric.c1.campaign_metrics", {"campaignId": "c1", "metrics": metrics})


def variant(id: str, conversions: int, visitors: int, **more: Any) -> Event:
    data = {"testId": "t", "variantId": id, "metrics": {"conversions": conversions, "visitors": visitors}, **more}
    return Event.new("metric.c1.ab_test_result", data)


def test_the_figures_of_all_kinds_of_events_are_one_state() -> None:
    record = EntityRecord("c1")
    record.fold(campaign(clicks=4, ctr=0.5, name="no number"))
    record.fold(Event.new("metric.c1.live_metric_update", {"metric": "roas", "value": 2, "entityType": "campaign"}))
    record.fold(Event.new("metric.c1.metric", {"name": "spend", "value": 9}))

    state = record.snapshot(0.0)

    assert state["values"] == {"clicks": 4, "ctr": 0.5, "roas": 2, "spend": 9}
    assert (state["entity"], state["entity_type"], state["version"]) == ("c1", "campaign", 1)


def test_a_change_has_all_that_was_other_since_its_base_even_what_is_as_it_was_then() -> None:
    record = EntityRecord("c1")
    record.fold(campaign(clicks=4, spend=1))
    record.snapshot(0.0)
    record.fold(campaign(clicks=5))
    first = record.changed(1.0)
    record.fold(campaign(clicks=4))
    record.fold(campaign(views=7))

    second = record.changed(2.0)

    assert (first["base"], first["version"], first["values"], first["change"]) == (1, 2, {"clicks": 5}, {"clicks": 1})
    assert (second["base"], second["version"]) == (1, 3)
    assert second["values"] == {"clicks": 4, "views": 7} and second["change"] == {"clicks": 0}, "views are new"


def test_variants_that_come_one_by_one_are_compared_by_their_counts() -> None:
    record = EntityRecord("c1")
    # The control is the first by name, whichever comes first.
    record.fold(variant("B", 260, 1000, isWinner=False))
    record.fold(variant("A", 200, 1000))

    test = record.snapshot(0.0)["tests"]["t"]

    assert test["variants"] == {
        "A": {"conversions": 200, "visitors": 1000},
        "B": {"conversions": 260, "visitors": 1000},
    }
    found = test["significance"]
    assert (found["control"], found["winner"], found["significant"]) == ("A", "B", True)
    assert found["comparisons"][0]["test"].startswith("two-proportion z-test")
    assert found["comparisons"][0]["p_value"] == pytest.approx(0.001432, abs=5e-7)


def test_a_test_without_counts_has_no_significance_until_it_has_them() -> None:
    record = EntityRecord("c1")
    record.fold(Event.new("metric.c1.ab_test_result", {"testId": "t", "variantId": "A", "metrics": {"ctr": 0.1}}))

    test = record.snapshot(0.0)["tests"]["t"]
    assert (test["variants"], test["significance"]) == ({"A": {"ctr": 0.1}}, None)
    assert test["significance_reason"] == "the counts of two variants or more are needed"

    record.fold(variant("B", 260, 1000))
    assert record.snapshot(0.0)["tests"]["t"]["significance_reason"].startswith(
        "each variant needs one of conversions,"
    )
    record.fold(variant("A", 200, 1000))
    assert "significance_reason" not in record.snapshot(0.0)["tests"]["t"]


def test_what_one_source_said_before_does_not_undo_what_it_said_later() -> None:
    record = EntityRecord("c1")
    record.fold(metric("ctr", 2, time_ns=2000))

    assert not record.fold(metric("ctr", 1, time_ns=1000))
    # The clock of another source says nothing about that.
    assert record.fold(metric("ctr", 3, time_ns=500, source="other"))
    assert record.values == {"ctr": 3}


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("campaign_metrics", {}),
        ("campaign_metrics", {"metrics": [1]}),
        ("live_metric_update", {"metric": "ctr", "value": "much"}),
        ("live_metric_update", {"value": 3}),
        ("live_metric_update", {"metric": "x" * 128 + "y", "value": float("nan")}),
        ("ab_test_result", {"variants": {str(n): {} for n in range(40)}}),
    ],
)
def test_what_has_no_figures_is_refused_and_changes_nothing(kind: str, data: dict[str, Any]) -> None:
    record = EntityRecord("c1")

    with pytest.raises(Reject):
        record.fold(Event.new(f"metric.c1.{kind}", data))
    assert not record.pending and not record.values and not record.tests


def test_values_and_tests_are_bounded_and_those_that_go_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_VALUES", 2)
    monkeypatch.setattr(module, "MAX_TESTS", 1)
    record = EntityRecord("c1")
    record.fold(metric("a", 1))
    record.fold(metric("b", 1))
    record.fold(variant("A", 1, 2))
    whole = record.snapshot(0.0)
    record.fold(metric("a", 2))
    record.fold(metric("c", 1))
    record.fold(Event.new("metric.c1.ab_test_result", {"testId": "u", "variantId": "A", "metrics": {"ctr": 1}}))

    change = record.changed(1.0)

    assert change["values"] == {"a": 2, "c": 1, "b": None} and set(change["tests"]) == {"t", "u"}
    found = apply(whole, change)
    assert found is not None
    assert (found["values"], list(found["tests"])) == ({"a": 2, "c": 1}, ["u"])


def test_an_entity_is_rebuilt_from_the_newest_of_each_subject_and_what_was_not_published_is_folded_again() -> None:
    record = EntityRecord("c1")
    record.fold(campaign(clicks=4, spend=1))
    state = Event.new("metric.c1.state", record.snapshot(0.0))
    record.fold(campaign(clicks=5))
    changed = Event.new("metric.c1.changed", record.changed(1.0))
    old = metric("roas", 1)

    again = EntityRecord.recalled("c1", [old, state, changed, campaign(clicks=6, spend=1)])

    assert (again.values, again.version, again.base) == ({"clicks": 6, "spend": 1}, 2, 1)
    assert again.pending and again.behind
    assert again.snapshot(2.0)["version"] == 3
    # Nothing of its own is lost where the snapshot is gone.
    assert EntityRecord.recalled("c1", [changed]).version == 2


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.tuples(st.sampled_from("abc"), st.integers(0, 3))),
        st.tuples(st.just("say"), st.tuples(st.sampled_from("abc"), st.integers(0, 3))),
        st.tuples(st.just("change"), st.booleans()),
        st.tuples(st.just("change"), st.booleans()),
        st.tuples(st.just("snapshot"), st.booleans()),
        st.tuples(st.just("crash"), st.none()),
    ),
    max_size=40,
)


@given(STEPS)
def test_a_client_that_misses_any_of_it_is_right_or_knows_that_it_is_not(steps: list[tuple[str, Any]]) -> None:
    """What is published may be missed (False); the client takes a snapshot where it sees that it must."""
    record = EntityRecord("c1")
    published: list[Event] = []
    client: Data | None = None
    versions: list[int] = []
    now = 0.0
    for step, value in steps:
        now += 1
        if step == "say":
            name, number = value
            record.fold(metric(name, number))
            continue
        if step == "crash":
            newest = {event.type: event for event in published}
            unpublished = [metric(name, number) for name, number in record.values.items()]
            record = EntityRecord.recalled("c1", [event for event in published if newest[event.type] is event])
            for event in unpublished:
                record.fold(event)
            continue
        if step == "change" and record.pending and record.snapped > float("-inf"):
            event = Event.new("metric.c1.changed", record.changed(now))
        elif record.behind:
            event = Event.new("metric.c1.state", record.snapshot(now))
        else:
            continue
        published.append(event)
        versions.append(event.data["version"])
        if not value:
            continue
        if event.type == "state":
            client = event.data
        elif client is not None:
            client = apply(client, event.data)
        if client is None:
            # A gap: the newest snapshot and the newest change are the whole, as GET /entities/{entity} answers.
            newest = {event.type: event.data for event in published}
            client = newest["state"] if "changed" not in newest else apply(newest["state"], newest["changed"])
        assert client is not None
        assert client["version"] == record.version
        assert client["values"] == record.values
    assert versions == sorted(versions)
