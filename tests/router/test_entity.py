"""Putting an entity together from a snapshot and a change."""

from __future__ import annotations

from router.entity import apply, version_of

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
