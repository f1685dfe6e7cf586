"""Tests of actors/agent/fields.py."""

from __future__ import annotations

import pytest

from actors.agent import fields
from actors.system.actor import Reject


def test_the_parent_of_an_event_is_found_under_each_of_its_names() -> None:
    assert fields.parent({"parent": "run-1"}) == "run-1"
    assert fields.parent({"parent_run_id": "r", "parent": "s"}) == "r"
    assert fields.parent({"parent": 7}) is None and fields.parent({}) is None


def test_a_text_is_cut_to_what_a_state_shows() -> None:
    assert fields.text("x" * 1000) == "x" * fields.MAX_TEXT
    assert fields.text("") is None and fields.text(5) is None
    assert fields.first({"a": 1, "b": "two"}, "a", "b") == "two"


def test_numbers_are_finite_and_true_is_none() -> None:
    assert fields.number(float("nan")) is None and fields.number(True) is None and fields.number(3) == 3
    assert fields.whole(3.0) == 3 and fields.whole(3.5) is None
    assert fields.amount(-1) is None and fields.amount(0) == 0


def test_tokens_that_are_no_whole_number_are_rejected() -> None:
    assert fields.tokens({}) is None and fields.tokens({"tokens_used": 12}) == 12
    with pytest.raises(Reject, match="tokens_used must be a whole number"):
        fields.tokens({"tokens_used": "many"})


def test_a_time_is_read_to_the_microsecond() -> None:
    assert fields.ns("2026-11-26T00:00:00.000001Z") % 1_000_000_000 == 1000
    with pytest.raises(ValueError):
        fields.ns("yesterday")
