"""The ttl of a lease has bounds, and a domain is one of those that have runs."""

from __future__ import annotations

from typing import get_args

import pytest

from edge.errors import Problem, read_as
from edge.http.bodies.runs import RunDomain, RunHeartbeat, RunStop
from router.catalogue import RUN_DOMAINS


def test_the_domains_are_those_that_have_runs() -> None:
    assert get_args(RunDomain) == RUN_DOMAINS


def test_a_heartbeat_may_say_nothing() -> None:
    assert read_as({}, RunHeartbeat) == RunHeartbeat(domain=None, ttl=10.0, incarnation=None)


@pytest.mark.parametrize("ttl", [0.9, 301, "10", None, True])
def test_a_ttl_out_of_bounds_is_refused(ttl: object) -> None:
    with pytest.raises(Problem) as refused:
        read_as({"ttl": ttl}, RunHeartbeat)

    assert (refused.value.code, refused.value.more) == ("bad_body", {"field": "ttl"})


def test_a_reason_to_stop_is_a_text_of_bounded_length() -> None:
    assert read_as({"reason": "too dear"}, RunStop).reason == "too dear"
    with pytest.raises(Problem):
        read_as({"reason": "x" * 201}, RunStop)
