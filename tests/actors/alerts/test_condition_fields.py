"""Which fields make which condition; their mistakes are in test_parser."""

from __future__ import annotations

import pytest

from actors.alerts.condition_fields import condition
from actors.alerts.conditions import Condition
from actors.alerts.conditions.absence import Absence
from actors.alerts.conditions.change import ValueChange
from actors.alerts.conditions.hold import Hold
from actors.alerts.conditions.hysteresis import Hysteresis
from actors.alerts.conditions.rate import MatchRate
from actors.alerts.conditions.threshold import Threshold
from actors.alerts.conditions.window import Window
from actors.alerts.fields import Fields, Note


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ({}, Threshold),
        ({"threshold": {"count": 2, "within": "1m"}}, Threshold),
        ({"for": 5}, Hold),
        ({"rate": {"over": 5, "above": 1}, "for": 5}, MatchRate),
        ({"absence": 5}, Absence),
        ({"change": {"of": "data.x"}}, ValueChange),
        ({"window": {"of": "data.x", "fn": "avg", "over": 5, "below": 1}}, Window),
        ({"hysteresis": {"of": "data.x", "fire_above": 2, "resolve_below": 1}, "for": 3}, Hysteresis),
    ],
)
def test_the_fields_say_the_kind(rule: dict[str, object], kind: type[Condition]) -> None:
    notes: list[Note] = []

    assert isinstance(condition(Fields(rule, notes, [])), kind) and not notes
