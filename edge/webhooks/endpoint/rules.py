"""Merges an endpoint's own settings of retries, circuit breaker and auto-disable with the deployment's."""

from __future__ import annotations

from dataclasses import replace as with_fields
from typing import Any, NamedTuple

from msgspec.structs import replace

from edge.sessions.endpoint.policy import AutoDisable, Breaker, Policy
from edge.settings import PolicySettings
from edge.webhooks.client.outcome import Outcome, Verdict
from edge.webhooks.endpoint.breaker import CircuitBreakerSettings

# Faults that are an answer's status and nothing else: what `retry_statuses` decides.
_BY_STATUS = frozenset(
    {"payload_too_large", "unsupported_type", "throttled", "server_error", "redirect", "rejected"}
)  # fmt: skip


class Rules(NamedTuple):
    """The rules of one endpoint: its own settings, and the deployment's where it has none."""

    schedule: tuple[float, ...]
    statuses: frozenset[int] | None
    breaker: CircuitBreakerSettings

    def judge(self, outcome: Outcome) -> Outcome:
        """The outcome with its status retried or not, as `retry_statuses` says."""
        if self.statuses is None or outcome.fault not in _BY_STATUS or outcome.disable:
            return outcome
        verdict = Verdict.RETRY if outcome.status in self.statuses else Verdict.FINAL
        return outcome if verdict is outcome.verdict else replace(outcome, verdict=verdict)


def rules_of(
    own: Policy | None, schedule: tuple[float, ...], defaults: PolicySettings, breaker: CircuitBreakerSettings
) -> Rules:
    """Merges what an endpoint sets with the defaults; `schedule` is the one where it sets none."""
    own = own or Policy()
    statuses = own.retry_statuses if own.retry_statuses is not None else defaults.retry_statuses or None
    return Rules(
        schedule if own.retry_schedule is None else own.retry_schedule,
        None if statuses is None else _codes(statuses),
        _breaker(own, breaker),
    )


def default_breaker(defaults: PolicySettings) -> CircuitBreakerSettings:
    """The breaker and auto-disable of a deployment."""
    breaker, disable = defaults.breaker, defaults.auto_disable
    own = Policy(
        breaker=Breaker(
            breaker.failures,
            breaker.failure_share,
            breaker.min_attempts,
            breaker.window,
            breaker.pause,
            breaker.max_pause,
            breaker.probes,
        ),
        auto_disable=AutoDisable(disable.after, disable.attempts),
    )
    return _breaker(own, CircuitBreakerSettings())


def _breaker(own: Policy, defaults: CircuitBreakerSettings) -> CircuitBreakerSettings:
    if own.breaker is None and own.auto_disable is None:
        return defaults
    breaker, disable = own.breaker or Breaker(), own.auto_disable or AutoDisable()
    given: dict[str, Any] = {
        "failures": breaker.failures,
        "failure_share": breaker.failure_share,
        "min_attempts": breaker.min_attempts,
        "window": breaker.window,
        "pause": breaker.pause,
        "max_pause": breaker.max_pause,
        "probes": breaker.probes,
        "disable_after": float("inf") if disable.after == 0 else disable.after,
        "disable_attempts": disable.attempts,
    }
    merged = with_fields(defaults, **{name: value for name, value in given.items() if value is not None})
    # Of the first and the longest pause the one that the endpoint sets wins over the other of the deployment.
    if breaker.pause is None:
        return with_fields(merged, pause=min(merged.pause, merged.max_pause))
    return with_fields(merged, max_pause=max(merged.pause, merged.max_pause))


def _codes(statuses: tuple[str, ...]) -> frozenset[int]:
    codes: set[int] = set()
    for text in statuses:
        first = int(text[0]) * 100
        codes.update(range(first, first + 100) if text.endswith("xx") else (int(text),))
    return frozenset(codes)
