"""Records what each attempt says about its endpoint, and decides whether the job is tried again.

One call does all of it: the attempt log, the pace, the circuit breaker, the stored state, and the operational events.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from edge.sessions.endpoint.settings import EndpointSettings
from edge.sessions.registry import Session
from edge.webhooks import metrics
from edge.webhooks.client.outcome import Outcome, Verdict, pause
from edge.webhooks.endpoint.dispatch import EndpointDispatcher
from edge.webhooks.endpoint.rules import Rules
from edge.webhooks.endpoint.splitting import is_to_be_split
from edge.webhooks.endpoint.state import StateChange
from edge.webhooks.endpoint.state_changes import (
    FAILING_ATTEMPTS,
    attempt_event,
    endpoint_event,
    failing_error,
    is_announced,
)
from edge.webhooks.endpoint.state_sync import StateSync
from edge.webhooks.endpoint.tasks import PartitionTasks, until_stored
from edge.webhooks.history.attempt import Attempt, Part
from edge.webhooks.history.attempt_log import AttemptLog
from edge.webhooks.queue.job import Job
from edge.webhooks.queue.post import Post
from router.clock import wall
from router.errors import BadInput
from router.event import Event

# The name that the callback guide gives to what manages sessions and deliveries.
log = logging.getLogger("callback_manager")


class Decision(NamedTuple):
    """What follows from an attempt: its outcome by the endpoint's rules, and the seconds until the next try, None for none."""

    outcome: Outcome
    wait: float | None = None


class OutcomeRecorder:
    """Records the attempts of the endpoints of one partition."""

    def __init__(
        self,
        attempts: AttemptLog,
        states: StateSync,
        tasks: PartitionTasks,
        publish: Callable[[Event], Awaitable[object]],
        epoch: Callable[[Job], str],
    ) -> None:
        """`publish` publishes an operational event, and raises BrokerError."""
        self._attempts = attempts
        self._states = states
        self._tasks = tasks
        self._publish = publish
        self._epoch = epoch

    def record(
        self,
        dispatcher: EndpointDispatcher,
        session: Session,
        endpoint: EndpointSettings,
        post: Post,
        answer: Outcome,
        begun: int,
    ) -> Decision:
        """Records an attempt that was made; `begun` is when, in ns."""
        outcome = dispatcher.rules.judge(answer)
        wait = _wait(dispatcher.rules, endpoint, post, outcome)
        split = wait is None and is_to_be_split(post.job, outcome)
        self._note(dispatcher, post, outcome, begun, 0.0 if split else wait)
        if log.isEnabledFor(logging.DEBUG):
            _say(session, post, outcome, wait)
        dispatcher.took(outcome.seconds)
        # Which answers are retried says nothing about how well the endpoint is.
        changes = dispatcher.breaker.record(answer, endpoint.concurrency)
        if changes or dispatcher.breaker.shown_state != "closed":
            self._states.note(dispatcher)
        for change in changes:
            self.announce(dispatcher, session, change, post, answer)
        if post.job.attempt >= FAILING_ATTEMPTS:
            self._announce_attempt(session, post, outcome, wait is not None or split)
        return Decision(outcome, wait)

    def _note(
        self, dispatcher: EndpointDispatcher, post: Post, outcome: Outcome, begun: int, wait: float | None
    ) -> None:
        """Writes the attempt to the attempt log."""
        job = post.job
        self._attempts.note(
            Attempt.of(
                outcome,
                session=dispatcher.session,
                delivery=post.id,
                event=job.event_id,
                sequence=job.sequence,
                begun=begun,
                subject=job.subject,
                attempt=job.attempt,
                trigger=job.trigger,
                destination=dispatcher.destination,
                next=0 if wait is None else wall.now_ns() + int(wait * 1e9),
                parts=[Part(part.event_id, part.sequence) for part in job.parts],
            )
        )

    def halt(self, dispatcher: EndpointDispatcher, session: Session, whole: bool, post: Post, outcome: Outcome) -> None:
        """Records that an ordered queue halts; `whole` says that it is the only one, so that the endpoint is disabled."""
        changes = dispatcher.breaker.disable("halted") if whole else [StateChange("disabled", "halted")]
        for change in changes:
            self.announce(dispatcher, session, change, post, outcome)
        self._states.note(dispatcher)

    def announce(
        self, dispatcher: EndpointDispatcher, session: Session, change: StateChange, post: Post, outcome: Outcome
    ) -> None:
        """Publishes the event of a state change, with the attempt that led to it."""
        log.warning(
            "webhook endpoint changed state",
            extra={"session": session.id, "change": change.name, "reason": change.reason},
        )
        if change.name == "disabled":
            metrics.disabled.inc()
        breaker = dispatcher.breaker
        unique = f"{int(breaker.since * 1000)}.{breaker.warned}"
        # An event about an operational event does not name it: a chain of them would grow with each link.
        job = post.job if is_announced(post.job) else None
        event = endpoint_event(
            session, change, unique, breaker.snapshot(), job, outcome, self._epoch(job) if job else ""
        )
        self._announce(event)

    def _announce_attempt(self, session: Session, post: Post, outcome: Outcome, again: bool) -> None:
        """Publishes that the attempts of a delivery go on failing, or that it was made after all."""
        job = post.job
        if outcome.verdict is Verdict.DELIVERED:
            kind = "attempt_recovered" if job.attempt > FAILING_ATTEMPTS else ""
        else:
            kind = "attempt_failing" if again and job.attempt == FAILING_ATTEMPTS else ""
        if not kind or not is_announced(job):
            return
        try:
            events = [attempt_event(kind, session, job, outcome, self._epoch(job))]
            if kind == "attempt_failing":
                events.append(failing_error(session, job, outcome, self._epoch(job)))
        except BadInput as fault:
            log.warning("event about a failing delivery is invalid; not published", extra={"fault": str(fault)})
            return
        for event in events:
            self._announce(event)

    def _announce(self, event: Event) -> None:
        self._tasks.spawn(until_stored(lambda: self._publish(event)), "announce")


def _say(session: Session, post: Post, outcome: Outcome, wait: float | None) -> None:
    """Logs an attempt."""
    delivered = outcome.verdict is Verdict.DELIVERED
    said: dict[str, object] = {
        "session": session.id,
        "delivery": post.id,
        "event": post.job.event_id,
        "attempt": post.job.attempt,
        "status": outcome.status,
        "seconds": round(outcome.seconds, 3),
    }
    if not delivered:
        said |= {"fault": outcome.detail, "again_in": None if wait is None else round(wait, 3)}
    log.debug("delivery made" if delivered else "attempt to deliver failed", extra=said)


def _wait(rules: Rules, endpoint: EndpointSettings, post: Post, outcome: Outcome) -> float | None:
    """The seconds until the next try: the backoff of the endpoint's schedule; None where there is no next try."""
    job = post.job
    made = job.attempt - job.tried
    if outcome.verdict is not Verdict.RETRY or made > endpoint.retry_attempts:
        return None
    if job.tried and is_to_be_split(job, outcome):
        return None  # a batch of which one event is refused; the halves say which
    return pause(made, rules.schedule, outcome.retry_after)
