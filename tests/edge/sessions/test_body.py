"""The bodies that create and change a session have bounds."""

from __future__ import annotations

import pytest

from edge.errors import Problem, read_as
from edge.sessions.body import NewSession, SessionChange


def test_a_change_has_no_field_that_a_session_keeps_for_life() -> None:
    lifelong = {"delivery_method", "dialect", "cursor", "since", "last"}

    assert set(NewSession.__struct_fields__) - set(SessionChange.__struct_fields__) == lifelong


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"events": ["a"] * 129}, "events"),
        ({"events": ["A"]}, "events"),
        ({"subjects": ["a.b.c"] * 65}, "subjects"),
        ({"filter": "x" * 2001}, "filter"),
        ({"max_rate": 1001}, "max_rate"),
        ({"ttl": 367 * 86400}, "ttl"),
        ({"include_intermediate_results": None}, "include_intermediate_results"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_out_of_bounds_is_refused_by_name(body: dict[str, object], field: str) -> None:
    with pytest.raises(Problem) as refused:
        read_as(body, NewSession)

    assert (refused.value.code, refused.value.more) == ("bad_body", {"field": field})
