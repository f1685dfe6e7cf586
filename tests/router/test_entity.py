"""Putting an entity together from a snapshot and a change."""

from __future__ import annotations

from router.entity import apply, names_of, token, token_of, token_of_state, version_of
from router.event import Event

WHOLE = {"entity": "c1", "version": 4, "values": {"a": 1, "b": 2}, "tests": {"t": {"x": 1}}, "updated": "then"}


def test_a_change_is_applied_to_any_version_from_its_base_on() -> None:
    change = {"base": 4, "version": 7, "values": {"a": 5, "b": None, "c": 3}, "change": {"a": 4}, "tests": {"t": None}}

    for version in (4, 5, 6):
        found = apply({**WHOLE, "version": version}, change)
        assert found is not None
        assert (found["version"], found["values"], found["tests"]) == (7, {"a": 5, "c": 3}, {})
        assert (found["entity"], found["change"], found["previous_version"]) == ("c1", {"a": 4}, 4)
    assert WHOLE["values"] == {"a": 1, "b": 2}


def test_a_change_of_a_snapshot_that_was_missed_is_told_from_one_that_is_old() -> None:
    assert apply(WHOLE, {"base": 5, "version": 6, "values": {}}) is None
    assert apply(WHOLE, {"base": 1, "version": 4, "values": {"a": 0}}) is WHOLE


def test_what_has_no_version_is_nothing() -> None:
    assert [version_of({"version": wrong}) for wrong in (None, "3", True, -1, 2.0)] == [0] * 5
    assert apply(WHOLE, {"version": 9}) is WHOLE


def test_an_event_is_of_the_entity_of_its_subject_or_of_the_part_that_its_data_name() -> None:
    def of(type: str, **data: object) -> str:
        return token_of(Event.new(f"metric.c-1.{type}", {"metrics": {}, "metric": "m", "value": 1, **data}))

    assert of("campaign_metrics") == of("campaign_metrics", campaignId="c-1") == of("metric", name="x") == "c-1"
    assert of("campaign_metrics", campaign_id="c.2") == "c-1.c=2E2" == token("c-1", "c.2")
    assert of("live_metric_update", entityId="c-2") == token_of_state("metric.c-1.c-2.changed") == "c-1.c-2"
    assert (names_of("c-1"), names_of("c-1.c=2E2")) == (("c-1", None), ("c-1", "c.2"))
