"""The bodies and queries of dead letters are read strictly."""

from __future__ import annotations

from typing import Any

import pytest

from edge.errors import Problem, read_as
from edge.http.bodies.deadletters import DeadLettersQuery, FilterBody, PurgeRequest, RedriveRequest

CODES = {"filter": "bad_filter", "cursor": "bad_cursor"}


def test_rates_are_read_strictly() -> None:
    assert read_as({"id": 1}, RedriveRequest).rate == 100.0
    for bad in (0, -1, True, "5", float("nan"), float("inf"), 1e9):
        with pytest.raises(Problem) as refused:
            read_as({"rate": bad}, RedriveRequest)
        assert (refused.value.code, refused.value.more) == ("bad_body", {"field": "rate"})


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "missing_field", "filter"),
        ({"filter": None}, "bad_filter", "filter"),
        ({"filter": {"origin": "moon"}}, "bad_filter", "filter"),
        ({"filter": {"colour": "red"}}, "bad_filter", "filter"),
        ({"filter": {"text": ""}}, "bad_filter", "filter"),
        ({"filter": {"text": "x" * 256}}, "bad_filter", "filter"),
        ({"filter": {}, "cursor": 7}, "bad_cursor", "cursor"),
        ({"filter": {}, "dry_run": "yes"}, "bad_body", "dry_run"),
        ({"filter": {}, "all": True}, "unknown_field", "all"),
    ],
    ids=str,
)
def test_a_purge_is_refused_with_the_code_of_its_field(body: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(Problem) as refused:
        read_as(body, PurgeRequest, codes=CODES)

    assert (refused.value.code, refused.value.more) == (code, {"field": field})


def test_a_query_has_texts_for_numbers_and_the_fields_of_a_filter() -> None:
    query = read_as({"limit": "7", "order": "oldest", "name": "orders"}, DeadLettersQuery, strict=False)

    assert (query.limit, query.order, query.name) == (7, "oldest", "orders")
    assert set(FilterBody.__struct_fields__) < set(DeadLettersQuery.__struct_fields__)
