"""Queries are read as Structs, with a problem that names the parameter."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from edge.errors import Problem
from edge.http.bodies.sessions import SessionsQuery, StreamQuery
from edge.http.body import draining_problem, json_answer, read_query


def request(query: str) -> Request:
    return Request({"type": "http", "query_string": query.encode(), "headers": []})


def test_texts_stand_for_numbers_and_truths() -> None:
    assert read_query(request("limit=7&offset=3&else=x"), SessionsQuery) == SessionsQuery(limit=7, offset=3)
    query = read_query(request("conflate=1&max_rate=2.5"), StreamQuery)
    assert (query.conflate, query.max_rate) == (True, 2.5)


@pytest.mark.parametrize("nothing", ["", "undefined", "null"])
def test_what_a_page_sends_before_it_has_a_value_is_nothing(nothing: str) -> None:
    assert read_query(request(f"limit={nothing}"), SessionsQuery).limit == 100


@pytest.mark.parametrize("text", ["0", "1001", "seven", "1.5", "nan", "9" * 30])
def test_a_parameter_out_of_bounds_is_refused_by_name(text: str) -> None:
    with pytest.raises(Problem) as refused:
        read_query(request(f"limit={text}"), SessionsQuery)

    assert (refused.value.code, refused.value.status, refused.value.more) == ("bad_parameter", 400, {"field": "limit"})


def test_no_cache_stores_an_answer_and_a_draining_edge_ends_the_connection() -> None:
    assert json_answer({"a": 1}, 201, {"Location": "/x"}).headers["cache-control"] == "no-store"
    assert draining_problem().headers == {"Retry-After": "1", "Connection": "close"}
