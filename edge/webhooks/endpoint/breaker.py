"""Implements the circuit breaker of an endpoint: it opens and probes, limits concurrency on overload, and auto-disables.

One process owns an endpoint at a time, so this is a plain object and exact. Its `EndpointState` is stored in ENDPOINTS at each
transition, for the next owner and for the API.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from edge.webhooks.client.outcome import MAX_RETRY_AFTER, Outcome, Verdict
from edge.webhooks.endpoint.state import EndpointState, State, StateChange, shown_state
from router.clock import wall

# Answers that signal overload; they are not counted as failures.
_OVERLOADED = (429, 503)
# The jitter that is added to Retry-After at most, as a share of it: the endpoint may have said the same to many.
RETRY_AFTER_JITTER = 0.1


@dataclass(frozen=True)
class CircuitBreakerSettings:
    """When an endpoint gets no posts for a while, and when it is disabled. Times in seconds."""

    # Ten failures among twenty within a minute, or five in a row, say more than bad luck.
    window: float = 60.0
    buckets: int = 6
    min_attempts: int = 10
    failure_share: float = 0.5
    failures: int = 5
    # The breaker opens for so long, twice as long each time (backoff), give or take a fifth: a restart takes seconds.
    pause: float = 1.0
    max_pause: float = 900.0
    jitter: float = 0.2
    # So many probes in a row must be answered with 2xx before it closes.
    probes: int = 3
    # Trips are forgotten after so long without one.
    forget: float = 600.0
    # After so many overload signals in a row without Retry-After, posts pause for this long, doubled each time.
    overloads_before_pause: int = 3
    overload_pause: float = 1.0
    max_overload_pause: float = 900.0
    # Five days without one success, and so many attempts in them, disable it; warnings are published before.
    disable_after: float = 5 * 86400.0
    disable_attempts: int = 50
    warn_after: tuple[float, ...] = (86400.0, 3 * 86400.0, 4 * 86400.0)


class CircuitBreaker:
    """The circuit breaker of one endpoint, in the process that owns it."""

    __slots__ = (
        "_buckets",
        "_clock",
        "_jitter",
        "_overloads",
        "_probed",
        "_ramping",
        "attempts",
        "closed_at",
        "enabled_at",
        "failing_since",
        "failures",
        "limit",
        "reason",
        "settings",
        "since",
        "state",
        "trips",
        "until",
        "warned",
    )

    def __init__(
        self,
        settings: CircuitBreakerSettings,
        concurrency: int,
        state: EndpointState | None = None,
        clock: Callable[[], float] = wall.now,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._jitter = jitter
        self.limit = float(concurrency)
        self.enabled_at = 0.0
        self._ramping = False
        self._reset()
        if state is not None:
            self.adopt(state)

    def _reset(self) -> None:
        self.state: State = "closed"
        self.since = self.until = self.failing_since = self.closed_at = 0.0
        self.trips = self.failures = self.attempts = self.warned = 0
        self.reason = ""
        self._probed = 0
        self._overloads = 0
        self._buckets: list[list[float]] = []  # [number of the bucket of time, requests, failures]

    def adopt(self, state: EndpointState) -> None:
        """Goes on from a stored state."""
        self._reset()
        self.state, self.since, self.until = state.state, state.since, state.until
        self.trips, self.failures, self.attempts = state.trips, state.failures, state.attempts
        self.failing_since, self.warned, self.reason = state.failing_since, state.warned, state.reason
        self.closed_at, self.enabled_at = state.closed_at, state.enabled_at
        if state.limit:
            self.limit, self._ramping = state.limit, True

    def snapshot(self, parked: int = 0, oldest: float = 0.0) -> EndpointState:
        """The state to store, for the next owner and for the API."""
        return EndpointState(
            state=self.state,
            since=self.since,
            until=self.until,
            trips=self.trips,
            failures=self.failures,
            attempts=self.attempts,
            failing_since=self.failing_since,
            warned=self.warned,
            reason=self.reason,
            limit=self.limit if self._ramping else 0.0,
            parked=parked,
            oldest=oldest,
            closed_at=self.closed_at,
            enabled_at=self.enabled_at,
        )

    # What may begin now

    def _end_impossible_pause(self, now: float) -> None:
        """Ends a pause that is longer than any legal one: a clock that was ahead has written it."""
        settings = self.settings
        longest = max(settings.pause, settings.max_pause) * (1 + settings.jitter)
        longest = max(longest, settings.max_overload_pause, MAX_RETRY_AFTER * (1 + RETRY_AFTER_JITTER))
        # A second for what passes between two looks at the clock.
        if self.until > now + longest + 1.0:
            self.until = now

    def places(self, concurrency: int) -> int:
        """How many posts may be under way at once; 0 where none may begin."""
        now = self._clock()
        self._end_impossible_pause(now)
        if self.state == "open" and now >= self.until:
            self.state, self.since, self._probed = "half_open", now, 0
        if self.state == "disabled" or now < self.until:
            return 0
        if self.state == "half_open":
            return 1
        return max(1, min(concurrency, int(self.limit)))

    @property
    def blocked_for(self) -> float:
        """The seconds until a post may begin; infinite for a disabled endpoint."""
        if self.state == "disabled":
            return float("inf")
        now = self._clock()
        self._end_impossible_pause(now)
        return max(0.0, self.until - now)

    @property
    def shown_state(self) -> str:
        """The state as people see it."""
        return shown_state(self.state, self.until, self._clock())

    @property
    def has_state(self) -> bool:
        """Whether it differs from the breaker of an endpoint that has never failed."""
        return bool(self.state != "closed" or self.failing_since or self._ramping or self.blocked_for or self._recent())

    def resize(self, concurrency: int) -> None:
        """Sets how many posts may be under way to an endpoint that is well."""
        self.limit = min(self.limit, float(concurrency)) if self._ramping else float(concurrency)

    # What attempts say

    def record(self, outcome: Outcome, concurrency: int) -> list[StateChange]:
        """Takes in the outcome of an attempt, and returns the state changes to announce."""
        if outcome.disable and self.state != "disabled":
            return self.disable(outcome.fault or "asked")
        if self.state == "disabled":
            return []
        if outcome.verdict is Verdict.DELIVERED:
            return self._succeeded(concurrency)
        if outcome.verdict is Verdict.FINAL:
            return []  # it is about this event alone, or no request was made
        now = self._clock()
        self.attempts += 1
        self.failing_since = self.failing_since or now
        if outcome.slow_down:
            self.limit = max(1.0, min(self.limit, concurrency) / 2)
            self._ramping = True
            self._overloads += 1
        changes: list[StateChange] = []
        if outcome.status in _OVERLOADED:
            self._pause(outcome, now)
        else:
            self.failures += 1
            changes = self._failed(outcome, now)
        return changes + self._auto_disable(now)

    def _succeeded(self, concurrency: int) -> list[StateChange]:
        self.failures = self._overloads = 0
        self.attempts = 0
        was_known = self.warned > 0
        self.failing_since, self.warned = 0.0, 0
        now = self._clock()
        if self.state == "closed":
            self._count(now, 0)
            if self._ramping:
                # One more for each that is answered: from one to two to four, round by round.
                self.limit = min(self.limit + 1.0, float(concurrency))
                self._ramping = self.limit < concurrency
            return [StateChange("recovered")] if was_known else []
        if self.state == "open":
            return []  # it was under way when the breaker opened; the probes decide
        self._probed += 1
        if self._probed < self.settings.probes:
            return []
        self.state, self.since, self.until, self.closed_at, self.reason = "closed", now, 0.0, now, ""
        self.limit, self._ramping = 1.0, True
        self._buckets.clear()
        return [StateChange("closed"), StateChange("recovered")]

    def _failed(self, outcome: Outcome, now: float) -> list[StateChange]:
        if self.state == "half_open":
            return self._open(outcome, now)
        if self.state == "open":
            return []
        self._count(now, 1)
        requests, failures = self._recent() or (0, 0)
        settings = self.settings
        if self.failures >= settings.failures or (
            requests >= settings.min_attempts and failures >= requests * settings.failure_share
        ):
            return self._open(outcome, now)
        return []

    def _open(self, outcome: Outcome, now: float) -> list[StateChange]:
        settings = self.settings
        if self.state == "closed" and now - self.closed_at > settings.forget:
            self.trips = 0
        length = min(settings.pause * 2.0**self.trips, settings.max_pause)
        length *= self._jitter(1 - settings.jitter, 1 + settings.jitter)
        was_open = self.state == "half_open"
        self.state, self.since, self.reason = "open", now, outcome.detail
        self.until = now + max(length, outcome.retry_after)
        self.trips = min(self.trips + 1, 30)
        # A failed probe changes nothing: the breaker was open all the time.
        return [] if was_open else [StateChange("opened", outcome.detail)]

    def _pause(self, outcome: Outcome, now: float) -> None:
        """Pauses posts for as long as the endpoint asked, or where it signals overload again and again without saying how long."""
        settings, retry_after = self.settings, outcome.retry_after
        pause = retry_after + self._jitter(0.0, RETRY_AFTER_JITTER * retry_after) if retry_after else 0.0
        if not pause and self._overloads >= settings.overloads_before_pause:
            most = min(
                settings.overload_pause * 2.0 ** (self._overloads - settings.overloads_before_pause),
                settings.max_overload_pause,
            )
            pause = self._jitter(most / 2, most)
        if pause:
            self.until = max(self.until, now + pause)
            if self.state == "closed":
                self.reason = outcome.detail

    def _auto_disable(self, now: float) -> list[StateChange]:
        settings = self.settings
        failing = now - self.failing_since
        if failing >= settings.disable_after and self.attempts >= settings.disable_attempts:
            return self.disable("failing")
        due = sum(1 for after in settings.warn_after if failing >= after)
        if due > self.warned:
            self.warned = due
            return [StateChange("failing", f"no success for {failing / 86400:.1f} days")]
        return []

    def disable(self, reason: str) -> list[StateChange]:
        """Lets no post begin until somebody enables the endpoint."""
        self.state, self.since, self.until, self.reason = "disabled", self._clock(), 0.0, reason
        return [StateChange("disabled", reason)]

    def enable(self) -> list[StateChange]:
        """Starts anew, with one post at a time."""
        self._reset()
        self.since = self.closed_at = self.enabled_at = self._clock()
        self.limit, self._ramping = 1.0, True
        return [StateChange("enabled")]

    # The window

    def _count(self, now: float, failed: int) -> None:
        stretch = now // (self.settings.window / self.settings.buckets)
        if not self._buckets or self._buckets[-1][0] != stretch:
            self._buckets.append([stretch, 0, 0])
            del self._buckets[: -self.settings.buckets]
        self._buckets[-1][1] += 1
        self._buckets[-1][2] += failed

    def _recent(self) -> tuple[int, int] | None:
        """Requests and failures within the window; None where there were no failures."""
        oldest = self._clock() // (self.settings.window / self.settings.buckets) - self.settings.buckets
        requests = failures = 0
        for stretch, asked, failed in self._buckets:
            if stretch > oldest:
                requests, failures = requests + int(asked), failures + int(failed)
        return (requests, failures) if failures else None
