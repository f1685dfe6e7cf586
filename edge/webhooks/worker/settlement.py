"""Settles the jobs of a post: delivered, tried again, split, halted or dead-lettered.

What must be known is stored before what it replaces is acknowledged: the retry before the job's end, the dead letter before
the job's end. A process that dies anywhere leaves the job unacknowledged, and another one gets it; what was stored twice has
the same id. So a delivery may happen twice, and is never lost.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Literal, NamedTuple

from edge.sessions.endpoint.settings import EndpointSettings
from edge.sessions.registry import Session
from edge.webhooks import metrics
from edge.webhooks.client.outcome import Outcome, Verdict
from edge.webhooks.endpoint.dispatch import EndpointDispatcher
from edge.webhooks.endpoint.recorder import Decision, OutcomeRecorder
from edge.webhooks.endpoint.splitting import following, halve, head_of, is_to_be_split
from edge.webhooks.endpoint.state_sync import StateSync
from edge.webhooks.endpoint.tasks import until_stored
from edge.webhooks.queue.in_hand import JobsInHand
from edge.webhooks.queue.job import Job
from edge.webhooks.queue.ordering import ALL, Head, OrderedQueue
from edge.webhooks.queue.post import PendingJob, Post
from edge.webhooks.worker.context import WorkerContext
from edge.webhooks.worker.deadletters import add_deadletters
from router.clock import wall
from router.errors import Cut, Refused
from router.nats.publisher import is_too_large
from router.topology import RETRIES

log = logging.getLogger(__name__)

# What ends a job without its endpoint having said anything: no reason to halt a queue.
_OURS = frozenset({"decode_error", "ttl_expired", "poison", "ssrf_blocked", "bad_url"})
# How much of an exception's text is kept with a dead letter.
MAX_NOTE = 500


class PostTask(NamedTuple):
    """A post, and what it is made for: its queue, its endpoint's dispatcher, session and settings."""

    post: Post
    queue: OrderedQueue
    dispatcher: EndpointDispatcher
    session: Session
    endpoint: EndpointSettings


class Settlement(NamedTuple):
    """What became of a post's jobs, and why they became dead letters."""

    kind: Literal["delivered", "retried", "split", "halted", "deadlettered"]
    reason: str = ""


DELIVERED, RETRIED, SPLIT, HALTED = (
    Settlement("delivered"),
    Settlement("retried"),
    Settlement("split"),
    Settlement("halted"),
)


class Settler:
    """Settles the posts of one partition."""

    def __init__(
        self, context: WorkerContext, in_hand: JobsInHand, states: StateSync, recorder: OutcomeRecorder
    ) -> None:
        self._context = context
        self._in_hand = in_hand
        self._states = states
        self._recorder = recorder

    def settle_simple(self, task: PostTask, outcome: Outcome) -> Settlement | None:
        """Settles a delivery that leaves nothing to store, at once; None for any other outcome."""
        post = task.post
        if task.queue.head is not None or outcome.verdict is not Verdict.DELIVERED:
            return None
        if post.suspect or post.replaces_deadletters:
            return None
        self._in_hand.end(post.pending)
        return DELIVERED

    async def settle(self, task: PostTask, decision: Decision) -> Settlement:
        """Stores what follows from an attempt. Raises BrokerError where the jobs must stay as they are."""
        outcome = decision.outcome
        if outcome.verdict is Verdict.DELIVERED:
            return await self._delivered(task)
        self._context.stats(task.session.id).last_error = outcome.detail
        if decision.wait is not None:
            return await self._retry(task, outcome, decision.wait)
        if is_to_be_split(task.post.job, outcome):
            return await self._split(task, outcome, outcome.retry_after)
        reason = outcome.fault if outcome.verdict is Verdict.FINAL else "exhausted"
        if task.queue.serial and task.endpoint.on_exhausted == "halt" and reason not in _OURS:
            return await self._halt(task, outcome)
        return await self._deadletter(task, outcome, reason)

    async def fail(self, task: PostTask, fault: Exception) -> Settlement:
        """Gives up jobs at which the work itself failed: each becomes a dead letter that says so. Raises BrokerError."""
        outcome = Outcome(Verdict.FINAL, fault="fault", note=repr(fault)[:MAX_NOTE])
        if is_to_be_split(task.post.job, outcome) and not task.queue.serial:
            return await self._split(task, outcome, 0.0)
        return await self._deadletter(task, outcome, "fault")

    async def _delivered(self, task: PostTask) -> Settlement:
        post = task.post
        if post.suspect and not task.queue.serial:
            # A worker that died may have left a retry of this delivery, which would deliver it again.
            await self._context.broker.stream(RETRIES).purge(post.job.next_attempt(0).schedule)
        for part in post.jobs if post.replaces_deadletters else ():
            await self._context.redriven.remove(part)
        await self._over(task)
        return DELIVERED

    async def _retry(self, task: PostTask, outcome: Outcome, wait: float) -> Settlement:
        """Lets a post be tried again in so many seconds: in a serial queue in its place, else by way of RETRIES."""
        post, queue, job = task.post, task.queue, task.post.job
        if queue.serial:
            head = Head(
                post.id,
                len(post.pending),
                job.attempt + 1,
                wall.now() + wait,
                last_status=outcome.status,
                tried=job.tried,
                rest=queue.rest,
            )
            task.dispatcher.retry(queue, post, head)
            await self._states.keep_head(task.dispatcher, queue)
            return RETRIED
        if await self._store_retry(task.session, job.next_attempt(outcome.status), wait):
            self._in_hand.end(post.pending)
            return RETRIED
        if len(job.parts) > 1:
            return await self._split(task, outcome, wait)
        # What the last attempt said is kept with it.
        await add_deadletters(self._context, task.session, post, outcome, "too_large")
        self._in_hand.end(post.pending)
        return Settlement("deadlettered", "too_large")

    async def _store_retry(self, session: Session, job: Job, wait: float) -> bool:
        """Schedules a job to come back in so many seconds; False where it is too large to be stored. Raises BrokerError."""
        try:
            await self._context.broker.store(job.schedule, job.body, job.due(wall.now_ns() + int(wait * 1e9)))
        except (Refused, Cut) as fault:
            if not (isinstance(fault, Cut) or is_too_large(fault)):
                raise
            log.error(
                "retry is too large to be stored; a batch is split, a job is moved to dead letters",
                extra={"session": session.id, "fault": str(fault)},
            )
            return False
        return True

    async def _split(self, task: PostTask, outcome: Outcome, wait: float) -> Settlement:
        """Tries a batch in two halves, after so many seconds: in a serial queue one after the other."""
        post, queue, dispatcher, session, _ = task
        halves = halve(post.job, outcome)
        if queue.serial and len(post.pending) > 1:
            dispatcher.retry(queue, post, head_of(halves, queue.head, wall.now() + wait if wait else 0.0))
            await self._states.keep_head(dispatcher, queue)
        else:
            for half in halves:
                if not await self._store_retry(session, half, wait):
                    lost = Post([], half)
                    await add_deadletters(self._context, session, lost, outcome, "too_large")
                    count(self._context, session, lost, Settlement("deadlettered", "too_large"))
            await self._over(task)
        log.info(
            "a batch was split; its halves are tried next",
            extra={"session": session.id, "events": len(post.jobs), "reason": outcome.fault, "status": outcome.status},
        )
        return SPLIT

    async def _halt(self, task: PostTask, outcome: Outcome) -> Settlement:
        """Keeps a serial queue's post in front, until somebody enables the endpoint."""
        post, queue, dispatcher, session, _ = task
        head = Head(post.id, len(post.pending), 1, 0.0, True, outcome.status, wall.now(), rest=queue.rest)
        dispatcher.retry(queue, post, head)
        await self._states.keep_head(dispatcher, queue)
        self._recorder.halt(dispatcher, session, queue.name == ALL, post, outcome)
        return HALTED

    async def _deadletter(self, task: PostTask, outcome: Outcome, reason: str) -> Settlement:
        await add_deadletters(self._context, task.session, task.post, outcome, reason)
        await self._over(task)
        return Settlement("deadlettered", reason)

    async def _over(self, task: PostTask) -> None:
        """Ends a post for good."""
        self._in_hand.end(task.post.pending)
        queue = task.queue
        if queue.head is not None:
            queue.head, queue.not_before = following(queue.head), 0.0
            await self._states.keep_head(task.dispatcher, queue)

    def drop(self, some: Iterable[PendingJob]) -> None:
        """Ends jobs of a session that was deleted."""
        for pending in some:
            self._in_hand.end([pending])
            metrics.jobs.labels("dropped").inc(len(pending.job.parts) or 1)

    async def give_up(self, session: Session, pending: PendingJob, reason: str) -> None:
        """Moves a job to the dead letters that is over before it was posted."""
        post, outcome = Post([pending], pending.job), Outcome(Verdict.FINAL, fault=reason)
        await until_stored(lambda: add_deadletters(self._context, session, post, outcome, reason))
        self._in_hand.end([pending])
        count(self._context, session, post, Settlement("deadlettered", reason))

    async def give_up_unparked(self, session_id: str, pending: PendingJob, reason: str) -> None:
        """Moves a job to the dead letters that cannot be parked; drops it where its session was deleted."""
        session = self._context.webhook(session_id)
        if session is not None:
            await self.give_up(session, pending, reason)
        else:
            self.drop([pending])


def count(context: WorkerContext, session: Session, post: Post, settlement: Settlement) -> None:
    """Counts a settlement in the session's figures and in the metrics."""
    stats = context.stats(session.id)
    match settlement.kind:
        case "delivered":
            stats.offered(post.requested)
            stats.written(len(post.jobs))
            now = wall.now_ns()
            for part in post.jobs:
                metrics.age.observe_many(max(0.0, (now - part.queued) / 1e9), 1)
        case "retried":
            stats.retries += 1
            metrics.retried.inc()
        case "split":
            metrics.jobs.labels("split").inc()
        case "deadlettered":
            stats.offered(post.requested)
            stats.failed += len(post.jobs)
            stats.last_error = stats.last_error or settlement.reason
            metrics.jobs.labels("deadlettered").inc(len(post.jobs))
