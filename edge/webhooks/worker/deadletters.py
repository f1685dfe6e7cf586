"""Adds the jobs that are given up to the dead letters, and publishes an event about each."""

from __future__ import annotations

import logging

from edge.sessions.registry import Session
from edge.webhooks.client.outcome import Outcome
from edge.webhooks.endpoint.splitting import attempts_of
from edge.webhooks.endpoint.state_changes import SOURCE, deadletter_event, is_announced
from edge.webhooks.queue.backlog import ParkedJob
from edge.webhooks.queue.job import origin_of
from edge.webhooks.queue.post import Post
from edge.webhooks.worker.context import WorkerContext
from router.clock import wall
from router.deadletter import webhook_subject
from router.errors import BadInput, BrokerError
from router.topology import HOOKS

log = logging.getLogger("callback_manager")

# How much of an answer is kept with the dead letter.
MAX_DETAIL = 512


async def add_deadletters(context: WorkerContext, session: Session, post: Post, outcome: Outcome, reason: str) -> None:
    """Adds each of a post's jobs to the dead letters. Raises BrokerError; done once more it adds nothing twice."""
    endpoint = session.spec.webhook
    assert endpoint is not None
    job = post.job
    attempts = attempts_of(job, outcome)
    detail = outcome.detail + (f": {outcome.head.decode(errors='replace')}" if outcome.head else "")
    for part in post.jobs:
        await context.deadletters.add(
            webhook_subject(session.id),
            part.payload,
            origin=origin_of(part),
            reason=reason,
            detail=detail[:MAX_DETAIL],
            attempts=attempts,
            first=part.queued,
            last=wall.now_ns(),
            destination=endpoint.destination,
            source=session.id,
            redrives=part.run,
            id=part.deadletter_id,
        )
        # The new dead letter takes the place of that of an earlier time.
        await context.redriven.remove(part)
        if is_announced(part):
            event = deadletter_event(session, part, job, outcome, reason, context.epoch_for(part))
            try:
                await context.broker.publish(event)
            except BadInput as fault:
                # Of a job whose headers are not ours; its dead letter is there.
                log.warning("event about a dead letter is invalid; not published", extra={"fault": str(fault)})
    log.warning(
        "webhook delivery failed for good; added to dead letters",
        extra={"session": session.id, "reason": reason, "attempts": attempts},
    )


async def add_undecodable(context: WorkerContext, stream: str, sequence: int, subject: str, payload: bytes) -> None:
    """Adds a message that is not a job to the dead letters. Raises BrokerError."""
    await context.deadletters.add_undecodable(
        stream, sequence, subject, payload, fault="not a job", source=SOURCE, reason="not_a_job"
    )


async def discard(context: WorkerContext, parked: ParkedJob) -> None:
    """Moves a parked message that is not a job to the dead letters."""
    log.error("parked message in HOOKS is not a job; moved to dead letters", extra={"sequence": parked.sequence})
    try:
        await add_undecodable(context, HOOKS, parked.sequence, parked.subject, parked.payload)
        await context.backlog.remove(parked.sequence)
    except BrokerError:
        log.debug("a parked message that is not a job was not removed; it will be read again")
