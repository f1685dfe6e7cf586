"""Tests what is declared of the text that events add to a run."""

from __future__ import annotations

import pytest

from router.catalogue import RUN_DOMAINS, Delivery, check, find
from router.errors import BadData
from router.event_types.runs import RUN_TYPES


@pytest.mark.parametrize("kind", ["streaming_chunk", "token", "delta"])
@pytest.mark.parametrize("name", ["content", "delta", "chunk", "text", "token"])
def test_a_piece_of_text_is_found_under_each_of_its_names(kind: str, name: str) -> None:
    check(kind, {name: "Hel"})
    assert find(kind).text_field({name: "Hel"}) == name
    assert find(kind).text_field({name: {"a": "part"}}) is None


def test_a_piece_without_text_is_refused_and_the_guide_s_own_name_goes_first() -> None:
    with pytest.raises(BadData):
        check("token", {"threadId": "t-1"})
    assert find("token").text_field({"text": "a", "content": "b"}) == "content"


def test_output_is_text_of_a_run_that_is_never_joined() -> None:
    assert find("output").text_field({"line": "12 passed"}) == "line"
    assert find("stderr").text_field({"message": "no such file"}) == "message"
    assert find("output").delivery is Delivery.LOG


def test_each_domain_of_runs_has_a_state_of_its_own() -> None:
    states = {each.domain for each in RUN_TYPES if each.name == "state"}
    assert states == set(RUN_DOMAINS)
