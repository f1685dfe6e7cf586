"""Tests of edge/webhooks/endpoint/rules.py: an endpoint's own settings win over the deployment's."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from edge.sessions.endpoint.parse import parse_endpoint
from edge.sessions.endpoint.policy import AutoDisable, Breaker, Policy
from edge.settings import AutoDisableSettings, BreakerSettings, PolicySettings
from edge.webhooks.client.outcome import Verdict, of_fault, of_status
from edge.webhooks.endpoint.breaker import CircuitBreakerSettings
from edge.webhooks.endpoint.rules import default_breaker, rules_of
from edge.webhooks.service import WebhookSettings
from tests.edge.sessions.endpoint.test_policy import OWN, URL
from tests.edge.webhooks.observing import reasons
from tests.edge.webhooks.stage import QUICK, Receiver, Stage
from tests.waiting import eventually


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
