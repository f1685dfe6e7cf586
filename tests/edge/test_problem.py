"""Tests that a problem is answered as RFC 9457 says, and counted when it is sent and not before."""

from __future__ import annotations

import json
from typing import Any

from prometheus_client import REGISTRY

from edge.errors import Problem
from edge.problem import count_refusal, to_response


def counted(code: str) -> float:
    return REGISTRY.get_sample_value("edge_refusals_total", {"code": code}) or 0.0


def test_a_problem_is_answered_with_its_members_and_headers() -> None:
    answer = to_response(Problem("rate_limited", "too many events", headers={"Retry-After": "3"}, field="events"))

    assert (answer.status_code, answer.headers["content-type"]) == (429, "application/problem+json")
    assert (answer.headers["retry-after"], answer.headers["cache-control"]) == ("3", "no-store")
    assert json.loads(bytes(answer.body)) == {
        "type": "urn:callboard:problem:rate_limited",
        "title": "Rate limit exceeded",
        "status": 429,
        "code": "rate_limited",
        "detail": "too many events",
        "field": "events",
    }


async def test_a_refusal_is_counted_when_it_is_sent() -> None:
    before = counted("no_frame")
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    answer = to_response(Problem("no_frame"))
    assert counted("no_frame") == before

    await answer({"type": "http", "method": "GET", "headers": []}, receive, send)

    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert counted("no_frame") == before + 1
    count_refusal("no_frame")
    assert counted("no_frame") == before + 2
