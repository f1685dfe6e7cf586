"""Holds the deployment's defaults for retries, the circuit breaker and auto-disable; an endpoint may set its own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

DEFAULT_RETRY_ATTEMPTS = 3
MAX_RETRY_ATTEMPTS = 20
# A week: a longer pause outlives what the event store keeps.
MAX_PAUSE = 7 * 86400.0
MAX_RETRY_STATUSES = 50
# What a circuit breaker and auto-disable may be set to: least and most.
FAILURES = (1, 1000)
SHARE = (0.01, 1.0)
MIN_ATTEMPTS = (1, 10_000)
WINDOW = (1.0, 3600.0)
BREAKER_PAUSE = (0.1, 3600.0)
BREAKER_MAX_PAUSE = (0.1, 86400.0)
PROBES = (1, 100)
DISABLE_AFTER = (60.0, 366 * 86400.0)
DISABLE_ATTEMPTS = (1, 100_000)

# 410 disables the endpoint, whatever is retried.
_STATUS = re.compile(r"[345][0-9]{2}\Z|[345]xx\Z")


@dataclass(frozen=True)
class BreakerSettings:
    """When the circuit breaker of an endpoint opens, and for how long. Times in seconds."""

    # So many failures in a row, or this share of at least `min_attempts` within the window.
    failures: int = 5
    failure_share: float = 0.5
    min_attempts: int = 10
    window: float = 60.0
    # Its first pause, doubled each time the probe after it fails: a receiver that restarts is missed for seconds only.
    pause: float = 1.0
    max_pause: float = 900.0
    # So many probes in a row must succeed before it closes.
    probes: int = 3

    def __post_init__(self) -> None:
        _check(self, "failures", FAILURES)
        _check(self, "failure_share", SHARE)
        _check(self, "min_attempts", MIN_ATTEMPTS)
        _check(self, "window", WINDOW)
        _check(self, "pause", BREAKER_PAUSE)
        _check(self, "max_pause", BREAKER_MAX_PAUSE)
        _check(self, "probes", PROBES)
        if self.max_pause < self.pause:
            raise ValueError("max_pause may not be less than pause")


@dataclass(frozen=True)
class AutoDisableSettings:
    """When an endpoint without any success is disabled: `after` seconds (0: never) and so many attempts."""

    after: float = 5 * 86400.0
    attempts: int = 50

    def __post_init__(self) -> None:
        if self.after:
            _check(self, "after", DISABLE_AFTER)
        _check(self, "attempts", DISABLE_ATTEMPTS)


@dataclass(frozen=True)
class PolicySettings:
    """How webhooks are retried, and when their endpoints are left alone, where a session does not say. Times in seconds."""

    # The longest pause before each retry; without it that of the profile `guide`.
    retry_schedule: tuple[float, ...] = ()
    # Retries after the first attempt; without it as many as the schedule has pauses, or 3.
    retry_attempts: int | None = None
    # Statuses that are retried, such as 429 or 5xx; without them all but 410, 413 and 415.
    retry_statuses: tuple[str, ...] = ()
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    auto_disable: AutoDisableSettings = field(default_factory=AutoDisableSettings)

    def __post_init__(self) -> None:
        if fault := schedule_fault(self.retry_schedule):
            raise ValueError(f"retry_schedule {fault}")
        if fault := statuses_fault(self.retry_statuses):
            raise ValueError(f"retry_statuses {fault}")
        if self.retry_attempts is not None:
            _check(self, "retry_attempts", (0, MAX_RETRY_ATTEMPTS))

    @property
    def default_attempts(self) -> int:
        """The retries of a session that names neither a number, nor a schedule, nor a profile."""
        if self.retry_attempts is not None:
            return self.retry_attempts
        return len(self.retry_schedule) or DEFAULT_RETRY_ATTEMPTS


def schedule_fault(schedule: Iterable[float]) -> str:
    """What is wrong with a retry schedule, "" for nothing."""
    pauses = list(schedule)
    if len(pauses) > MAX_RETRY_ATTEMPTS or not all(0 <= pause <= MAX_PAUSE for pause in pauses):
        return f"needs at most {MAX_RETRY_ATTEMPTS} pauses, each from 0 to {MAX_PAUSE:.0f} seconds"
    return ""


def statuses_fault(statuses: Iterable[str]) -> str:
    """What is wrong with a list of statuses, "" for nothing."""
    given = list(statuses)
    if len(given) > MAX_RETRY_STATUSES or not all(_STATUS.match(text) and text != "410" for text in given):
        return f"needs at most {MAX_RETRY_STATUSES} statuses from 300 to 599 but 410, or 3xx, 4xx, 5xx"
    return ""


def _check(settings: object, name: str, bounds: tuple[float, float]) -> None:
    least, most = bounds
    if not least <= getattr(settings, name) <= most:
        raise ValueError(f"{name} must be from {least:g} to {most:g}")
