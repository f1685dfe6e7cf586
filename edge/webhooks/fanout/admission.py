"""Applies backpressure to the fan-out: decides whether a webhook session gets more jobs now.

One that does not stays a cursor in EVENTS until its endpoint is available and it holds less than its share of HOOKS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from edge.sessions.registry import Session
from edge.webhooks.endpoint.breaker import CircuitBreaker, CircuitBreakerSettings
from edge.webhooks.endpoint.state import EndpointState
from edge.webhooks.queue.job import Job
from edge.webhooks.queue.ordering import ALL, queue_of
from edge.webhooks.queue.room import Room
from router.clock import wall

# Why a session waits: its endpoint is not available, its share of HOOKS is used up, HOOKS refused a job for want of room,
# or its filter costs more than its principal may spend.
Reason = Literal["", "endpoint", "share", "stream", "filter"]
REASONS: tuple[Reason, ...] = ("endpoint", "share", "stream", "filter")

# Jobs that an endpoint may hold whose breaker is open and about to be probed; that takes three by default.
PROBES = 4


class FanoutAdmission:
    """Checks the state of endpoints and the room in HOOKS."""

    def __init__(
        self, room: Room, condition: Callable[[str], EndpointState | None], health: CircuitBreakerSettings | None = None
    ) -> None:
        """`condition` gives the state that the owner of an endpoint last stored."""
        self.room = room
        self._condition = condition
        self._health = health or CircuitBreakerSettings()
        # Until when each endpoint gets no jobs, as its state says, in seconds of the store's clock.
        self._known: dict[str, tuple[EndpointState, float]] = {}

    def take(self, session: Session, job: Job) -> Reason:
        """Reserves room for one more job; or gives the reason why the session gets none now."""
        if reason := self._blocked(session):
            return reason
        lane = ALL
        if session.spec.webhook is not None and session.spec.webhook.mode == "keyed":
            lane = queue_of(job, "keyed")[0]
        return "" if self.room.take(session.id, len(job.payload), lane) else "share"

    def may_go_on(self, session: Session) -> Reason:
        """Why a waiting session has to wait longer; "" where it may continue."""
        return self._blocked(session) or ("" if self.room.is_roomy(session.id) else "share")

    def is_disabled(self, session: Session) -> bool:
        """Whether the endpoint's stored state is disabled."""
        condition = self._condition(session.id)
        return condition is not None and condition.state == "disabled"

    def forget(self, session: str) -> None:
        self._known.pop(session, None)
        self.room.forget(session)

    def clear(self) -> None:
        self._known.clear()
        self.room.clear()

    def _blocked(self, session: Session) -> Reason:
        """Whether the endpoint is not available now: not verified, disabled, or its circuit breaker is open or half open."""
        endpoint = session.spec.webhook
        if endpoint is not None and not endpoint.active:
            return "endpoint"
        condition = self._condition(session.id)
        if condition is None:
            return ""
        known = self._known.get(session.id)
        if known is None or known[0] is not condition:
            # As its owner reads it: a time further ahead than any legal one does not count.
            seconds = CircuitBreaker(self._health, 1, condition).blocked_for
            known = self._known[session.id] = condition, wall.now() + seconds if seconds else 0.0
        if known[1] and wall.now() < known[1]:
            return "endpoint"
        if condition.state in ("open", "half_open") and self.room.held(session.id)[0] >= PROBES:
            return "endpoint"
        return ""
