"""Tests the problems that refuse a request: their table, and the check for unknown fields."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from edge.errors import TITLES, UNCHANGEABLE, Problem, json_object, problem_of, read_as, unknown_fields
from router.errors import BadCursor, BadEvent, BrokerError, StoreFailed


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

    assert (refused.value.code, refused.value.detail) == ("unknown_field", "unknown: c, d; known: a, b")
    assert unknown_fields(["x"], ["a", "b"], UNCHANGEABLE) == "cannot be changed: x; can be: a, b"
    assert unknown_fields(["x"], ()) == "unknown: x; known: none"


def test_names_that_are_repeated_to_the_client_are_bounded() -> None:
    assert len(unknown_fields(["x" * 10_000], ("a",))) < 300


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    """An object in a body."""

    auth: Literal["basic", "body"] = "basic"
    rates: list[Annotated[float, msgspec.Meta(ge=1, le=5)] | Literal["any"]] = []


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A body."""

    name: str
    size: Annotated[int, msgspec.Meta(ge=1)] | None = None
    inner: Inner | None = None
    headers: dict[str, str] = {}


@pytest.mark.parametrize(
    ("body", "code", "detail", "field"),
    [
        ([], "bad_webhook", "the body must be a JSON object", None),
        ({}, "missing_field", "name is required", "name"),
        ({"name": "a", "nam": "b"}, "unknown_field", "unknown: nam; known: name, size, inner, headers", "nam"),
        ({"name": 1}, "bad_webhook", "name: expected string, got integer", "name"),
        ({"name": "a", "size": 0}, "bad_webhook", "size: expected integer >= 1", "size"),
        ({"name": "a", "inner": {"rate": 1}}, "bad_webhook", "inner: object contains unknown field rate", "inner"),
        ({"name": "a", "inner": {"auth": "none"}}, "bad_webhook", "inner.auth must be one of basic, body", "inner"),
        ({"name": "a", "inner": {"rates": [2, "all"]}}, "bad_webhook", "inner.rates[1] must be one of any", "inner"),
        ({"name": "a", "inner": {"rates": [9]}}, "bad_webhook", "inner.rates[0]: expected number <= 5.0", "inner"),
        ({"name": "a", "headers": {"x": 1}}, "bad_webhook", "headers[...]: expected string, got integer", "headers"),
    ],
    ids=str,
)
def test_a_validation_error_becomes_a_problem_that_names_the_field(
    body: Any, code: str, detail: str, field: str | None
) -> None:
    with pytest.raises(Problem) as refused:
        read_as(body, Body, "bad_webhook")

    assert (refused.value.code, refused.value.detail) == (code, detail)
    assert refused.value.more.get("field") == field


def test_every_problem_has_a_short_title_of_its_own() -> None:
    titles = [title for _, title in TITLES.values()]

    assert len(set(titles)) == len(titles)
    assert all(title[0].isupper() and len(title) <= 40 and not title.endswith(".") for title in titles)


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        (BadEvent("an id is too long"), "bad_event", 422),
        (BadCursor("it is not one"), "bad_cursor", 400),
        (BrokerError(), "broker_unavailable", 503),
        (StoreFailed("no_quorum", "EVENTS", "no leader"), "no_quorum", 503),
        (StoreFailed("forbidden", "EVENTS", "no permission"), "store_forbidden", 503),
        (ValueError("a secret of ours"), "internal", 500),
    ],
)
def test_errors_are_mapped_to_problems_that_reveal_nothing_else(fault: Exception, code: str, status: int) -> None:
    problem = problem_of(fault)

    assert (problem.code, problem.status) == (code, status)
    assert "secret of ours" not in str(problem.body())


def test_a_problem_stands_for_itself() -> None:
    problem = Problem("bad_json")

    assert problem_of(problem) is problem
