"""Reads what an endpoint sets of retries, circuit breaker and auto-disable, and merges it with the deployment's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as with_fields
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from edge import settings as bounds
from edge.errors import Problem
from edge.fields import unknown_fields
from edge.settings import PolicySettings, schedule_fault, statuses_fault
from edge.webhooks.health import HealthSettings
from edge.webhooks.outcome import Outcome, Verdict

# Faults that are an answer's status and nothing else: what `retry_statuses` decides.
_BY_STATUS = frozenset(
    {"payload_too_large", "unsupported_type", "throttled", "server_error", "redirect", "rejected"}
)  # fmt: skip


class Breaker(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an endpoint sets of its circuit breaker; None is the deployment's. Times in seconds."""

    failures: int | None = None
    failure_share: float | None = None
    min_attempts: int | None = None
    window: float | None = None
    pause: float | None = None
    max_pause: float | None = None
    probes: int | None = None


class AutoDisable(msgspec.Struct, frozen=True, omit_defaults=True):
    """After how long without a success, and how many attempts, an endpoint is disabled; `after` 0 is never."""

    after: float | None = None
    attempts: int | None = None


class Policy(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an endpoint sets of its own; None, for all of it or for one field, is the deployment's default."""

    retry_schedule: tuple[float, ...] | None = None
    retry_statuses: tuple[str, ...] | None = None
    breaker: Breaker | None = None
    auto_disable: AutoDisable | None = None

    def body(self) -> dict[str, Any]:
        """The fields as the API takes and shows them."""
        disable = self.auto_disable
        return {
            "retry_schedule": None if self.retry_schedule is None else list(self.retry_schedule),
            "retry_statuses": None
            if self.retry_statuses is None
            else [int(text) if text.isdecimal() else text for text in self.retry_statuses],
            "breaker": msgspec.to_builtins(self.breaker) if self.breaker else None,
            "auto_disable": (False if disable.after == 0 else msgspec.to_builtins(disable)) if disable else None,
        }


FIELDS = ("retry_schedule", "retry_statuses", "breaker", "auto_disable")

_BREAKER: Mapping[str, tuple[tuple[float, float], bool]] = {
    "failures": (bounds.BREAKER_FAILURES, True),
    "failure_share": (bounds.BREAKER_SHARE, False),
    "min_attempts": (bounds.BREAKER_MIN_ATTEMPTS, True),
    "window": (bounds.BREAKER_WINDOW, False),
    "pause": (bounds.BREAKER_PAUSE, False),
    "max_pause": (bounds.BREAKER_MAX_PAUSE, False),
    "probes": (bounds.BREAKER_PROBES, True),
}
_AUTO_DISABLE: Mapping[str, tuple[tuple[float, float], bool]] = {
    "after": (bounds.DISABLE_AFTER, False),
    "attempts": (bounds.DISABLE_ATTEMPTS, True),
}


class Rules(NamedTuple):
    """What counts for one endpoint: its own settings, and the deployment's where it has none."""

    schedule: tuple[float, ...]
    statuses: frozenset[int] | None
    health: HealthSettings

    def judge(self, outcome: Outcome) -> Outcome:
        """The outcome with its status retried or not, as `retry_statuses` says."""
        if self.statuses is None or outcome.fault not in _BY_STATUS or outcome.disable:
            return outcome
        verdict = Verdict.RETRY if outcome.status in self.statuses else Verdict.FINAL
        return outcome if verdict is outcome.verdict else replace(outcome, verdict=verdict)


def rules_of(
    own: Policy | None, schedule: tuple[float, ...], defaults: PolicySettings, health: HealthSettings
) -> Rules:
    """Merges what an endpoint sets with the defaults; `schedule` is the one where it sets none."""
    own = own or Policy()
    statuses = own.retry_statuses if own.retry_statuses is not None else defaults.retry_statuses or None
    return Rules(
        schedule if own.retry_schedule is None else own.retry_schedule,
        None if statuses is None else _codes(statuses),
        _health(own, health),
    )


def default_health(defaults: PolicySettings) -> HealthSettings:
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
    return _health(own, HealthSettings())


def _health(own: Policy, health: HealthSettings) -> HealthSettings:
    if own.breaker is None and own.auto_disable is None:
        return health
    breaker, disable = own.breaker or Breaker(), own.auto_disable or AutoDisable()
    given: dict[str, Any] = {
        "in_a_row": breaker.failures,
        "share": breaker.failure_share,
        "least": breaker.min_attempts,
        "window": breaker.window,
        "open": breaker.pause,
        "open_most": breaker.max_pause,
        "probes": breaker.probes,
        "disable_after": float("inf") if disable.after == 0 else disable.after,
        "disable_attempts": disable.attempts,
    }
    changed = with_fields(health, **{name: value for name, value in given.items() if value is not None})
    # Of the first and the longest pause the one that the endpoint sets wins over the other of the deployment.
    if breaker.pause is None:
        return with_fields(changed, open=min(changed.open, changed.open_most))
    return with_fields(changed, open_most=max(changed.open, changed.open_most))


def _codes(statuses: tuple[str, ...]) -> frozenset[int]:
    codes: set[int] = set()
    for text in statuses:
        first = int(text[0]) * 100
        codes.update(range(first, first + 100) if text.endswith("xx") else (int(text),))
    return frozenset(codes)


# Reading


def parse_policy(body: Mapping[str, Any]) -> Policy | None:
    """Reads the policy fields of a session's body; None where there are none. Raises Problem `bad_webhook`."""
    policy = Policy(
        _schedule(body.get("retry_schedule")),
        _statuses(body.get("retry_statuses")),
        _breaker(body.get("breaker")),
        _auto_disable(body.get("auto_disable")),
    )
    return None if policy == Policy() else policy


def _schedule(value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(_is_number(pause) for pause in value):
        raise _fault("retry_schedule", "retry_schedule must be a list of pauses in seconds")
    if fault := schedule_fault(value):
        raise _fault("retry_schedule", f"retry_schedule {fault}")
    return tuple(float(pause) for pause in value)


def _statuses(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) or _is_whole(each) for each in value):
        raise _fault("retry_statuses", "retry_statuses must be a list of statuses such as 429 or 5xx")
    texts = tuple(dict.fromkeys(str(each).lower() for each in value))
    if fault := statuses_fault(texts):
        raise _fault("retry_statuses", f"retry_statuses {fault}")
    return texts


def _breaker(value: Any) -> Breaker | None:
    if value is None:
        return None
    breaker = Breaker(**_object("breaker", value, _BREAKER))
    if breaker.pause is not None and breaker.max_pause is not None and breaker.max_pause < breaker.pause:
        raise _fault("breaker", "breaker: max_pause may not be less than pause")
    return None if breaker == Breaker() else breaker


def _auto_disable(value: Any) -> AutoDisable | None:
    if value is None:
        return None
    if value is False:
        return AutoDisable(after=0.0)
    disable = AutoDisable(**_object("auto_disable", value, _AUTO_DISABLE, "an object or false"))
    return None if disable == AutoDisable() else disable


def _object(
    field: str, value: Any, known: Mapping[str, tuple[tuple[float, float], bool]], kind: str = "an object"
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _fault(field, f"{field} must be {kind} of {', '.join(known)}")
    if fault := unknown_fields(value, known):
        raise _fault(field, f"{field}: {fault}")
    found: dict[str, Any] = {}
    for name, given in value.items():
        if given is None:
            continue
        (least, most), whole = known[name]
        if not (_is_whole(given) if whole else _is_number(given)) or not least <= given <= most:
            kind = "a whole number" if whole else "a number"
            raise _fault(field, f"{field}: {name} must be {kind} from {least:g} to {most:g}")
        found[name] = given if whole else float(given)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _fault(field: str, detail: str) -> Problem:
    return Problem("bad_webhook", detail, field=field)
