"""Retries, circuit breaker and auto-disable, as an endpoint or the deployment sets them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from edge.errors import Problem
from edge.sessions.endpoint.policy import AutoDisable, Breaker, Policy
from edge.sessions.endpoint.settings import EndpointSettings, parse_change, parse_endpoint
from edge.settings import AutoDisableSettings, BreakerSettings, PolicySettings
from edge.webhooks.client.outcome import Verdict, of_fault, of_status
from edge.webhooks.endpoint.breaker import CircuitBreaker, CircuitBreakerSettings
from edge.webhooks.endpoint.rules import default_breaker, rules_of
from edge.webhooks.service import WebhookSettings
from tests.edge.conftest import RunningEdge
from tests.edge.webhooks.stage import QUICK, Receiver, Stage
from tests.edge.webhooks.test_order import reasons
from tests.waiting import eventually

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


def test_the_deployment_says_what_an_endpoint_leaves_open():
    defaults = PolicySettings(
        retry_schedule=(7.0, 8.0),
        retry_statuses=("503",),
        breaker=BreakerSettings(failures=9, pause=3.0),
        auto_disable=AutoDisableSettings(after=0),
    )
    settings = WebhookSettings.of(defaults).worker

    plain = rules_of(None, defaults.retry_schedule, defaults, settings.breaker)
    own = rules_of(parse_endpoint({**URL, **OWN}).policy, defaults.retry_schedule, defaults, settings.breaker)

    assert (plain.schedule, plain.statuses) == ((7.0, 8.0), frozenset({503}))
    assert (plain.breaker.failures, plain.breaker.pause, plain.breaker.disable_after) == (9, 3.0, float("inf"))
    assert own.schedule == (1.0, 2.0, 4.0)
    assert own.statuses == frozenset({429, *range(500, 600)})
    assert (own.breaker.failures, own.breaker.pause, own.breaker.max_pause, own.breaker.disable_after) == (
        3,
        2,
        60,
        3600,
    )
    assert (defaults.default_attempts, PolicySettings().default_attempts) == (2, 3)
    assert parse_endpoint(URL, retries=2).retry_attempts == 2
    assert default_breaker(PolicySettings()) == CircuitBreakerSettings()


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


def test_of_two_pauses_the_one_that_an_endpoint_sets_wins():
    breaker = CircuitBreakerSettings(pause=5.0, max_pause=60.0)

    longer = rules_of(Policy(breaker=Breaker(pause=90.0)), (1,), PolicySettings(), breaker).breaker
    shorter = rules_of(Policy(breaker=Breaker(max_pause=2.0)), (1,), PolicySettings(), breaker).breaker

    assert (longer.pause, longer.max_pause) == (90, 90)
    assert (shorter.pause, shorter.max_pause) == (2, 2)


def test_only_the_statuses_that_are_named_are_retried():
    rules = rules_of(Policy(retry_statuses=("413", "5xx")), (1,), PolicySettings(), CircuitBreakerSettings())

    verdicts = {status: rules.judge(of_status(status, None, 0.0)).verdict for status in (200, 404, 413, 429, 503)}

    assert verdicts == {
        200: Verdict.DELIVERED,
        404: Verdict.FINAL,
        413: Verdict.RETRY,
        429: Verdict.FINAL,
        503: Verdict.RETRY,
    }
    # One that got no answer, one that said more than its status.
    assert rules.judge(of_fault(TimeoutError(), 0.0)).verdict is Verdict.RETRY
    assert rules.judge(of_status(503, None, 0.0, control="abort-message")).verdict is Verdict.FINAL
    assert rules.judge(of_status(410, None, 0.0)).disable


async def test_a_status_that_is_not_retried_is_a_dead_letter_at_once_and_still_opens_the_breaker(
    stage: Stage, receiver: Receiver
):
    process = await stage.process()
    policy = Policy(retry_statuses=("404",), breaker=Breaker(failures=2, pause=3600.0))
    session = await stage.session(receiver.url, policy=policy, concurrency=1)
    receiver.answer = 500

    await stage.publish("agent.run-1.progress", 5)

    await eventually(lambda: process.webhooks.health(session.id)["state"] == "open")
    assert len(receiver.posts) == 2
    assert await reasons(stage.broker, session) == ["server_error"] * 2


async def test_a_status_that_is_final_otherwise_can_be_retried(stage: Stage, receiver: Receiver):
    process = await stage.process()
    policy = Policy(retry_statuses=("413",), retry_schedule=(0.0, 0.0))
    session = await stage.session(receiver.url, policy=policy, retry_attempts=2)
    receiver.answer = 413

    await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    assert (len(receiver.posts), await reasons(stage.broker, session)) == (3, ["exhausted"])


async def test_an_endpoint_that_is_disabled_early_is_disabled_early(stage: Stage, receiver: Receiver):
    settings = replace(QUICK, worker=replace(QUICK.worker, breaker=replace(QUICK.worker.breaker, failures=1000)))
    process = await stage.process(settings)
    policy = Policy(auto_disable=AutoDisable(after=0.001, attempts=3))
    session = await stage.session(receiver.url, policy=policy, retry_attempts=0, concurrency=1)
    receiver.answer = 500

    await stage.publish("agent.run-1.progress", 10)

    await eventually(lambda: process.webhooks.health(session.id)["state"] == "disabled")
    assert process.webhooks.health(session.id)["reason"] == "failing"
    assert len(receiver.posts) < 10


async def test_a_changed_breaker_counts_from_now_on(stage: Stage, receiver: Receiver):
    settings = replace(
        QUICK, worker=replace(QUICK.worker, breaker=CircuitBreakerSettings(failures=1000, min_attempts=1000))
    )
    process = await stage.process(settings)
    session = await stage.session(receiver.url, retry_attempts=0, concurrency=1)
    receiver.answer = 500
    await stage.publish("agent.run-1.progress", 5)
    await eventually(lambda: process.webhooks.stats(session.id).failed == 5)
    assert process.webhooks.health(session.id)["state"] == "closed"

    known = process.registry.sessions[session.id]
    hook = msgspec.structs.replace(known.spec.webhook, policy=Policy(breaker=Breaker(failures=1, pause=3600.0)))
    await process.registry.update(known, msgspec.structs.replace(known.spec, webhook=hook))
    await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.health(session.id)["state"] == "open")


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


async def test_a_receiver_that_restarts_is_posted_to_again_after_seconds(stage: Stage, receiver: Receiver):
    """With the deployment's own defaults: half a minute was what a restart cost."""
    process = await stage.process(replace(QUICK, worker=WebhookSettings.of(PolicySettings()).worker))
    session = await stage.session(receiver.url, retry_attempts=20, policy=Policy(retry_schedule=(0.1,)))
    receiver.answer = 502
    await stage.publish("agent.run-1.progress", 10)
    await eventually(lambda: process.webhooks.health(session.id)["state"] == "open")
    condition = process.webhooks.endpoints.of(session.id)
    assert condition is not None
    assert condition.until - condition.since <= 1.2

    receiver.answer = 204
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 10)
    assert await reasons(stage.broker, session) == []
