"""Retries, circuit breaker and auto-disable, as an endpoint or the deployment sets them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edge.errors import Problem
from edge.sessions.endpoint.parse import parse_change, parse_endpoint
from edge.sessions.endpoint.settings import EndpointSettings
from edge.settings import AutoDisableSettings, BreakerSettings, PolicySettings
from edge.webhooks.client.outcome import of_status
from edge.webhooks.endpoint.breaker import CircuitBreaker, CircuitBreakerSettings
from tests.edge.conftest import RunningEdge

URL = {"webhook_url": "https://a.example/"}
OWN = {
    "retry_schedule": [1.0, 2.0, 4.0],
    "retry_statuses": [429, "5xx"],
    "breaker": {"failures": 3, "pause": 2.0, "max_pause": 60.0, "probes": 1, "window": 30.0, "failure_share": 0.8},
    "auto_disable": {"after": 3600.0, "attempts": 10},
}


def test_what_an_endpoint_sets_is_shown_as_it_was_given_and_outlives_the_bucket():
    endpoint = parse_endpoint({**URL, **OWN})

    assert OWN.items() <= endpoint.describe().items()
    # As often as its schedule has pauses.
    assert endpoint.retry_attempts == 3
    assert msgspec.json.decode(msgspec.json.encode(endpoint), type=EndpointSettings) == endpoint


def test_what_an_endpoint_does_not_set_is_null_and_can_be_given_back():
    plain, own = parse_endpoint(URL), parse_endpoint({**URL, **OWN})

    assert plain.policy is None
    assert all(plain.describe()[name] is None for name in OWN)
    assert parse_change(own, dict.fromkeys(OWN), "callback").policy is None
    assert parse_change(own, {"timeout": 3}, "callback").policy == own.policy
    assert parse_change(own, {"retry_schedule": [5, 5]}, "callback").retry_attempts == 2
    assert parse_endpoint({**URL, "auto_disable": False}).describe()["auto_disable"] is False


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("retry_schedule", []),
        ("retry_schedule", 5),
        ("retry_schedule", ["1"]),
        ("retry_schedule", [True]),
        ("retry_schedule", [-1]),
        ("retry_schedule", [float("nan")]),
        ("retry_schedule", [8 * 86400]),
        ("retry_schedule", [1] * 21),
        ("retry_statuses", 429),
        ("retry_statuses", [200]),
        ("retry_statuses", [410]),
        ("retry_statuses", ["2xx"]),
        ("retry_statuses", [4.5]),
        ("retry_statuses", list(range(400, 460))),
        ("breaker", 5),
        ("breaker", {"failures": 0}),
        ("breaker", {"failures": 2.5}),
        ("breaker", {"pause": "1s"}),
        ("breaker", {"pause": 10, "max_pause": 5}),
        ("breaker", {"failure_share": 1.5}),
        ("breaker", {"trips": 1}),
        ("auto_disable", True),
        ("auto_disable", {"after": 1}),
        ("auto_disable", {"attempts": 0}),
        ("auto_disable", {"days": 3}),
    ],
    ids=str,
)
def test_a_bad_policy_is_refused_and_names_its_field(field: str, value: Any):
    with pytest.raises(Problem) as refused:
        parse_endpoint({**URL, field: value})

    assert (refused.value.code, refused.value.status, refused.value.more) == ("bad_webhook", 422, {"field": field})


async def test_the_api_takes_shows_changes_and_refuses_a_policy(edge: RunningEdge):
    session = await edge.session(delivery_method="webhook", webhook_url="http://127.0.0.1:9/", **OWN)
    address = f"/callbacks/sessions/{session}"

    assert OWN.items() <= (await edge.http.get(address)).json().items()
    changed = await edge.http.patch(address, json={"breaker": {"failures": 10}, "retry_statuses": None})
    assert (changed.json()["breaker"], changed.json()["retry_statuses"]) == ({"failures": 10}, None)
    assert changed.json()["retry_schedule"] == OWN["retry_schedule"]
    refused = await edge.http.patch(address, json={"breaker": {"failures": -1}})
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (422, "bad_webhook", "breaker")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"retry_schedule": (-1.0,)}, "retry_schedule"),
        ({"retry_statuses": ("200",)}, "retry_statuses"),
        ({"retry_statuses": ("410",)}, "retry_statuses"),
        ({"retry_attempts": 21}, "retry_attempts"),
    ],
)
def test_bad_defaults_of_a_deployment_are_refused_at_start(given: dict[str, Any], named: str):
    with pytest.raises(ValueError, match=named):
        PolicySettings(**given)


def test_a_bad_breaker_of_a_deployment_is_refused_at_start():
    with pytest.raises(ValueError, match="max_pause"):
        BreakerSettings(pause=10, max_pause=5)
    with pytest.raises(ValueError, match="failures"):
        BreakerSettings(failures=0)
    with pytest.raises(ValueError, match="after"):
        AutoDisableSettings(after=1)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("away", [0.5, 3.0, 10.0])
def test_the_restart_of_a_receiver_costs_no_more_than_it_takes(away: float):
    clock = Clock()
    breaker = CircuitBreaker(CircuitBreakerSettings(), 8, None, clock)
    back, pauses = clock.now + away, []
    for _ in range(5):
        breaker.record(of_status(502, None, 0.0), 8)

    while breaker.state != "closed":
        pauses.append(breaker.blocked_for)
        clock.now += breaker.blocked_for
        assert breaker.places(8) == 1
        well = clock.now >= back
        while breaker.state == "half_open":
            breaker.record(of_status(200 if well else 502, None, 0.0), 8)

    assert clock.now - back <= 1.3 * away + 1.2
    assert pauses == pytest.approx([2.0**n for n in range(len(pauses))], rel=0.21)
