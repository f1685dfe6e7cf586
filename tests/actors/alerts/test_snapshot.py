"""What an engine knows, written and read again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.alerts.snapshot import digest, dump_marks, load_marks
from tests.actors.alerts.feeding import engine, event, fed

RULE = "when: data.n > 5\n    for: 30s\n    lateness: 5"


def test_a_time_that_runs_goes_on_after_a_restart_and_what_was_seen_is_seen() -> None:
    alerts, again = engine(RULE), engine(RULE)
    seen = [event(0, n=6), event(20, n=7), event(21, n=8)]
    fed(alerts, *seen)

    state = json.loads(json.dumps(alerts.state()))
    assert again.restore(state) == 0

    assert fed(again, *seen, until=35) == []
    assert fed(again, until=40) == [("firing", 30, "metric.a")]


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"version": 99},
        {"version": 1, "rules": {"gone": {}}},
        {"version": 1, "rules": {"it": {"keys": {"a": 1, "b": {"memory": "x"}, "c": {"since": "x"}}}}},
        {"version": 1, "rules": {"it": 7}, "recent": 5, "lanes": {"5000000000": {"events": ["!"]}}},
        {"version": 1, "lanes": {"5000000000": {"horizon": 1, "events": ["AAAA"]}, "7": {}}},
    ],
)
def test_a_part_that_cannot_be_read_costs_only_itself(state: dict[str, Any]) -> None:
    alerts = engine(RULE)
    alerts.restore(state)

    assert fed(alerts, event(0, n=6), until=99) == [("firing", 30, "metric.a")]


def test_marks_are_digests() -> None:
    assert load_marks(dump_marks(["a", "b"], [digest("c")])) == {digest(each) for each in "abc"}
    assert load_marks(None) == load_marks("!") == frozenset()
