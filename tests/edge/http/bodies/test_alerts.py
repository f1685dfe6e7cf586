"""Alerts are answered as they are documented, and a snooze has bounds."""

from __future__ import annotations

import msgspec
import pytest

from edge.errors import Problem, read_as
from edge.http.alerts import shown_alert
from edge.http.bodies.alerts import AlertAnswer, SnoozeRequest
from router.alerts import act, fire
from router.clock import wall
from tests.router.firings import found


@pytest.mark.parametrize("seconds", [0, -1, 31 * 86400, "", "6" * 41, [60]])
def test_a_snooze_out_of_bounds_is_refused(seconds: object) -> None:
    assert read_as({"for": 60}, SnoozeRequest).duration == 60
    assert read_as({"for": "1h30m"}, SnoozeRequest).duration == "1h30m"
    with pytest.raises(Problem) as refused:
        read_as({"for": seconds}, SnoozeRequest)
    assert (refused.value.code, refused.value.more) == ("bad_body", {"field": "for"})


def test_an_alert_is_answered_as_it_is_documented() -> None:
    record = act(fire(None, found("hot"), 1), "snooze", "alice", 1, until=wall.now_ns())
    shown = shown_alert(record, history=True)
    assert msgspec.convert(shown, AlertAnswer).id == record.id
    optional = {"labels"}
    assert set(shown) == set(AlertAnswer.__struct_fields__) - optional
