"""Makes the operational events of webhooks: state changes of an endpoint, and what became of a delivery.

They are `system` events, `system.webhook.<kind>`, and read like any other: by a session, which may be a webhook itself. A failed
delivery is also an `error` in the shape of the callback guide, `system.delivery.error`, for clients that know its types only.
"""

from __future__ import annotations

from typing import Any

from edge.sessions.registry import Session
from edge.webhooks.client.outcome import Outcome
from edge.webhooks.endpoint.splitting import UNPOSTED, attempts_of
from edge.webhooks.endpoint.state import EndpointState, StateChange
from edge.webhooks.queue.job import FAILURES, OPERATIONAL, Job
from router.deadletter import DeadLetter
from router.event import Event
from router.event_place import cursor_at, locate
from router.subject import escape

SOURCE = "edge.webhooks"
# After so many failed attempts, a delivery that is tried again is announced.
FAILING_ATTEMPTS = 3
# The detail of a dead letter has the head of the answer.
MAX_ERROR = 500
# Of an endpoint, and of a delivery.
ENDPOINT_KINDS = ("opened", "closed", "failing", "recovered", "disabled", "enabled")
DELIVERY_KINDS = ("attempt_failing", "attempt_recovered", "deadlettered")


def is_announced(job: Job) -> bool:
    """Whether events are published about a job: not about operational ones, else two dead endpoints would announce one another for ever."""
    return not any(part.subject.startswith("system.") for part in job.parts or (job,))


def endpoint_event(
    session: Session,
    change: StateChange,
    unique: str,
    state: EndpointState,
    job: Job | None = None,
    outcome: Outcome | None = None,
    epoch: str = "",
) -> Event:
    """The event of an endpoint's state change; job and outcome are those of the attempt that led to it, if one did."""
    shown = state.describe()
    return Event.new(
        f"{OPERATIONAL}{change.name}",
        {
            **_endpoint(session),
            "reason": change.reason or None,
            "state": shown["state"],
            "until": shown["until"],
            "failures": shown["failures"],
            "failing_since": shown["failing_since"],
            "answer": _answer(outcome),
            "event": _event(job, epoch) if job is not None else None,
        },
        source=SOURCE,
        id=f"{session.id}.{change.name}.{unique}",
        key=escape(session.id),
    )


def attempt_event(kind: str, session: Session, job: Job, outcome: Outcome, epoch: str) -> Event:
    """The event of a delivery that goes on failing (`attempt_failing`), or was made after that (`attempt_recovered`)."""
    return Event.new(
        f"{OPERATIONAL}{kind}",
        {
            **_endpoint(session),
            "attempts": job.attempt,
            "answer": _answer(outcome),
            "event": _event(job, epoch),
        },
        source=SOURCE,
        id=f"{job.deadletter_id.removeprefix('dead.')}.{kind}",
        key=escape(session.id),
        cause=_first(job).event_id,
    )


def deadletter_event(session: Session, part: Job, job: Job, outcome: Outcome, reason: str, epoch: str) -> Event:
    """The event of a delivery that became a dead letter; `job` is the batch that it was part of, or itself."""
    attempts = attempts_of(job, outcome)
    return Event.new(
        f"{OPERATIONAL}deadlettered",
        {
            **_endpoint(session),
            "event_id": part.event_id,
            "subject": part.subject,
            "reason": reason,
            "attempts": attempts,
            "status": outcome.status or None,
            "answer": _answer(outcome),
            "event": {**_event(part, epoch), "attempt": attempts},
        },
        source=SOURCE,
        id=part.deadletter_id.removeprefix("dead.") + ".deadlettered",
        key=escape(session.id),
        cause=part.event_id,
    )


def failing_error(session: Session, job: Job, outcome: Outcome, epoch: str) -> Event:
    """The error of a delivery that goes on failing and is tried again."""
    destination = session.spec.webhook.destination if session.spec.webhook is not None else ""
    return Event.new(
        f"{FAILURES}error",
        {
            "error": f"attempt {job.attempt} to deliver to {destination} failed: {outcome.detail}",
            "error_type": outcome.fault,
            "recoverable": True,
            "retry_count": job.attempt - 1,
            **_endpoint(session),
            "event": _event(job, epoch),
        },
        source=SOURCE,
        id=f"{job.deadletter_id.removeprefix('dead.')}.failing",
        key=escape(session.id),
        cause=_first(job).event_id,
    )


def given_up_error(letter: DeadLetter, count: int, unique: str) -> Event:
    """The error of a delivery that was given up, or of `count` of one endpoint, of which this is the first."""
    what = "a delivery" if count == 1 else f"{count} deliveries"
    return Event.new(
        f"{FAILURES}error",
        {
            "error": f"{what} to {letter.destination} failed for good: {letter.detail or letter.reason}"[:MAX_ERROR],
            "error_type": letter.reason,
            "recoverable": False,
            "retry_count": max(0, letter.attempts - 1),
            "session_id": letter.name,
            "destination": letter.destination or None,
            "count": count,
            "event": {"id": letter.event_id or None, "subject": letter.event_subject or None},
        },
        source=SOURCE,
        id=f"error.{unique}",
        key=escape(letter.name),
        cause=letter.event_id or None if count == 1 else None,
    )


def _endpoint(session: Session) -> dict[str, Any]:
    endpoint = session.spec.webhook
    return {
        "session_id": session.id,
        "name": session.spec.name,
        "destination": endpoint.destination if endpoint is not None else None,
    }


def _answer(outcome: Outcome | None) -> dict[str, Any] | None:
    """What the endpoint answered, or why it did not; None where nothing was posted. What it wrote is in the attempt log."""
    if outcome is None or outcome.fault in UNPOSTED:
        return None
    return {
        "status": outcome.status or None,
        "error": outcome.fault or None,
        "detail": outcome.note or None,
        "retry_after": outcome.retry_after or None,
        "seconds": round(outcome.seconds, 3),
    }


def _event(job: Job, epoch: str) -> dict[str, Any]:
    """The event of an attempt; of a batch the first one, and how many there are."""
    first = _first(job)
    return {
        "id": first.event_id,
        "type": first.subject.rpartition(".")[2],
        "subject": first.subject,
        "cursor": str(cursor_at(locate(first.sequence), epoch)) if epoch else None,
        "events": len(job.parts) or 1,
        "delivery": job.id,
        "webhook_id": f"msg_{job.id}",
        "attempt": job.attempt,
    }


def _first(job: Job) -> Job:
    return job.parts[0] if job.parts else job
