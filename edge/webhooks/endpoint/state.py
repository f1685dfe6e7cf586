"""Holds the state of an endpoint as it is stored and shown, and the changes of it that are announced."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from router.clock import wall
from router.codec import rfc3339

State = Literal["closed", "open", "half_open", "disabled"]

STATES: tuple[State, ...] = ("closed", "open", "half_open", "disabled")

# How a closed endpoint is shown while posts pause because it signalled overload (429, 503, Retry-After).
PAUSED = "paused"


class EndpointState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of an endpoint as it is stored in ENDPOINTS. Times are seconds since the epoch, 0 for never."""

    state: State = "closed"
    since: float = 0.0
    until: float = 0.0
    trips: int = 0
    # Failures in a row, and attempts since the last success.
    failures: int = 0
    attempts: int = 0
    failing_since: float = 0.0
    warned: int = 0
    reason: str = ""
    limit: float = 0.0
    # How much is parked, as of the last look, and when the oldest of it was queued.
    parked: int = 0
    oldest: float = 0.0
    closed_at: float = 0.0
    # When somebody last enabled it: whatever was halted before goes on.
    enabled_at: float = 0.0

    def describe(self, rate: float | None = None, now: float | None = None) -> dict[str, Any]:
        """The state as the API shows it."""
        now = wall.now() if now is None else now
        state = shown_state(self.state, self.until, now)
        return {
            "state": state,
            "since": _when(self.since),
            "until": _when(self.until) if self.state == "open" or self.until > now else None,
            # Of a pause that is over there is nothing to say any more.
            "reason": self.reason or None if state != "closed" else None,
            "trips": self.trips,
            "failures": self.failures,
            "failing_since": _when(self.failing_since),
            "rate": rate,
            "parked": self.parked,
            "oldest_parked_seconds": round(max(0.0, now - self.oldest), 3) if self.oldest else None,
        }


def shown_state(state: State, until: float, now: float) -> str:
    """The state as people see it: `paused` for a closed one that gets no posts until a time."""
    return PAUSED if state == "closed" and until > now else state


class StateChange(NamedTuple):
    """A change that is announced: `opened`, `closed`, `recovered`, `failing`, `disabled` or `enabled`."""

    name: str
    reason: str = ""


def _when(moment: float) -> str | None:
    return rfc3339(int(moment * 1e9)) if moment else None
