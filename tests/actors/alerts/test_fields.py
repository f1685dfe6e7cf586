"""The fields of a map, one by one."""

from __future__ import annotations

import pytest

from actors.alerts.fields import Fields, Note, meant


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(5, 5), (0.5, 0.5), ("30s", 30), ("1h30m", 5400), ("250ms", 0.25), ("2d", 172800), ("1.5m", 90)],
)
def test_a_duration_is_a_number_of_seconds_or_a_text(value: object, seconds: float) -> None:
    notes: list[Note] = []

    assert Fields({"it": value}, notes, []).seconds("it", None, 0, 1e9) == seconds and not notes


@pytest.mark.parametrize("value", ["", "5", "m", "5 m", "-5s", "1e9s", True, [], None, float("inf")])
def test_everything_else_is_none(value: object) -> None:
    notes: list[Note] = []

    assert Fields({"it": value}, notes, []).seconds("it", None, 0, 1e9) is None
    assert [note.field for note in notes] == ["it"]


def test_the_word_that_may_have_been_meant_is_asked_for() -> None:
    assert meant("critcal", ["info", "critical"]) == "; is critical meant?"
    assert meant("zzz", ["info", "critical"]) == ""
