"""What is said of a body that is no object of known fields."""

from __future__ import annotations

import pytest

from edge.errors import UNCHANGEABLE, Problem, json_object, unknown_fields


def test_an_object_of_known_fields_is_returned_as_it_is() -> None:
    body = {"a": 1}

    assert json_object(body, ("a", "b")) is body
    assert unknown_fields(body, frozenset({"a"})) == ""


@pytest.mark.parametrize("body", [None, [], "text", 1])
def test_what_is_no_object_is_refused(body: object) -> None:
    with pytest.raises(Problem) as refused:
        json_object(body, ("a",))

    assert refused.value.code == "bad_body"


def test_unknown_fields_are_named_with_those_that_are_known() -> None:
    with pytest.raises(Problem) as refused:
        json_object({"d": 1, "c": 2, "b": 3}, ("b", "a"))

    assert (refused.value.code, refused.value.detail) == ("unknown_field", "not known: c, d; known are b, a")
    assert unknown_fields(["x"], {"b", "a"}, UNCHANGEABLE) == "cannot be changed: x; can be: a, b"
    assert unknown_fields(["x"], ()) == "not known: x; known are none"


def test_names_that_are_repeated_to_the_client_are_bounded() -> None:
    assert len(unknown_fields(["x" * 10_000], ("a",))) < 300
