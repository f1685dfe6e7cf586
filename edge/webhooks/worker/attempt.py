"""Makes one attempt: builds the payload of a post, sends it, and returns the outcome."""

from __future__ import annotations

from collections.abc import Sequence

from edge.sessions.endpoint.body import MAX_BATCH_BYTES
from edge.sessions.endpoint.settings import EndpointSettings
from edge.sessions.registry import Session
from edge.webhooks import metrics
from edge.webhooks.client.outcome import Outcome, Verdict
from edge.webhooks.client.payload import Payload, build_payload
from edge.webhooks.queue.job import Job
from edge.webhooks.queue.post import PendingJob, Post
from edge.webhooks.worker.context import WorkerContext
from router import tracing
from router.clock import wall
from router.errors import BadInput, BrokerError
from router.event import Event
from router.topology import HOOKS

# What the encoding of a malformed event may raise.
_MALFORMED = (BadInput, ValueError, OverflowError, RecursionError, TypeError, LookupError, AttributeError)
# What a message of a batch takes for each event beside its bytes: its headers.
HEADER_BYTES = 512


async def attempt(context: WorkerContext, session: Session, endpoint: EndpointSettings, post: Post) -> Outcome:
    """Posts to an endpoint, once. An event that cannot be decoded ends it without a post."""
    try:
        payload, event = _payload_of(context, session, post.jobs, bool(post.job.parts))
    except _MALFORMED:
        return Outcome(Verdict.FINAL, fault="decode_error")
    came_with = event.trace
    # The receiver's own spans hang under this attempt.
    trace = tracing.begin(came_with) if came_with and tracing.recorder else came_with
    begun = wall.now_ns()
    metrics.under_way.add(post)
    try:
        outcome = await context.sender.post(
            endpoint,
            post.id,
            session.id,
            payload.body,
            trace,
            content_type=payload.content_type,
            more=payload.headers,
        )
    finally:
        metrics.under_way.discard(post)
    if outcome.verdict is not Verdict.POSTPONED:
        metrics.attempt(outcome.fault, outcome.seconds)
    if trace is not None and trace is not came_with:
        tracing.tell(
            "webhook",
            "client",
            came_with,
            trace,
            begun,
            outcome.fault,
            session=session.id,
            attempt=post.job.attempt,
        )
    if outcome.verdict is Verdict.DELIVERED:
        metrics.acknowledged(event.time, len(post.jobs))
    return outcome


def _payload_of(context: WorkerContext, session: Session, jobs: Sequence[Job], batch: bool) -> tuple[Payload, Event]:
    """The payload of some jobs, and the first one's event. Raises one of `_MALFORMED` where an event cannot be encoded."""
    records = [context.record(job) for job in jobs]
    events = [record.event for record in records]
    if None in events or (first := events[0]) is None:
        raise BadInput("a job's event cannot be read")
    return build_payload(records, context.epoch(), session.id, session.spec.dialect, batch), first


def weigh(context: WorkerContext, pending: PendingJob) -> int:
    """The bytes of a job in a batch."""
    session = context.registry.sessions.get(pending.job.session)
    try:
        # What costs most of it is kept for the post.
        body = _payload_of(context, session, [pending.job], batch=True)[0].body if session else b""
    except _MALFORMED:
        body = b""
    # A batch that fails becomes one message: it holds each event with its headers.
    room = context.broker.connection.max_payload // 2
    return max(len(body) + 1, (pending.size + HEADER_BYTES) * MAX_BATCH_BYTES // room)


def expired(context: WorkerContext, endpoint: EndpointSettings, post: Post) -> Outcome | None:
    """The outcome of a post that is over before it is made, because it has waited too long."""
    age = (wall.now_ns() - post.job.queued) / 1e9
    return Outcome(Verdict.FINAL, fault="ttl_expired") if age > context.max_age(endpoint) else None


async def poisonous(context: WorkerContext, post: Post) -> Outcome | None:
    """The outcome of a post that is over before it is made, because too many workers died while they worked on it."""
    for pending in post.pending:
        if pending.suspect:
            stream, sequence = (
                (HOOKS, pending.parked_at)
                if pending.message is None or pending.consumer is None
                else (pending.consumer.stream, pending.message.sequence)
            )
            pending.suspect = False
            try:
                kills = await context.endpoints.count_kill(stream, sequence)
            except BrokerError:
                continue
            if kills > context.settings.kills:
                return Outcome(Verdict.FINAL, fault="poison")
    return None
