"""What an endpoint sets of retries, circuit breaker and auto-disable, beside the deployment's defaults."""

from __future__ import annotations

from typing import Any

import msgspec

from edge.errors import Problem
from edge.sessions.endpoint.body import AutoDisableBody, BreakerBody, EndpointBody, set_fields
from edge.settings import statuses_fault


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


def parse_policy(given: EndpointBody) -> Policy | None:
    """Reads the policy of an endpoint's body; None where it sets nothing. Raises Problem `bad_webhook`."""
    policy = Policy(
        None if given.retry_schedule is None else tuple(given.retry_schedule),
        _statuses(given.retry_statuses),
        _breaker(given.breaker),
        _auto_disable(given.auto_disable),
    )
    return None if policy == Policy() else policy


def _statuses(given: list[int | str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    texts = tuple(dict.fromkeys(str(each).lower() for each in given))
    if why := statuses_fault(texts):
        raise _refused("retry_statuses", f"retry_statuses {why}")
    return texts


def _breaker(given: BreakerBody | None) -> Breaker | None:
    if given is None:
        return None
    if given.pause is not None and given.max_pause is not None and given.max_pause < given.pause:
        raise _refused("breaker", "breaker: max_pause may not be less than pause")
    breaker = Breaker(**set_fields(given))
    return None if breaker == Breaker() else breaker


def _auto_disable(given: AutoDisableBody | bool | None) -> AutoDisable | None:
    if given is None:
        return None
    if given is True:
        raise _refused("auto_disable", "auto_disable must be an object or false")
    disable = AutoDisable(after=0.0) if given is False else AutoDisable(**set_fields(given))
    return None if disable == AutoDisable() else disable


def _refused(field: str, detail: str) -> Problem:
    return Problem("bad_webhook", detail, field=field)
