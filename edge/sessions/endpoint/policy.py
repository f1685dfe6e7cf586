"""Reads what an endpoint sets of retries, circuit breaker and auto-disable, and merges it with the deployment's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from edge import settings as bounds
from edge.errors import Problem, unknown_fields
from edge.settings import schedule_fault, statuses_fault


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
