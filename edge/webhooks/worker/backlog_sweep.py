"""Sweeps the backlogs of one partition: gives up jobs that have waited too long, and corrects counts."""

from __future__ import annotations

import logging
import time

from edge.sessions.registry import Session
from edge.webhooks.endpoint.dispatch import EndpointDispatcher
from edge.webhooks.endpoint.state_sync import StateSync
from edge.webhooks.queue.backlog import next_job
from edge.webhooks.queue.catch_up import CatchUp
from edge.webhooks.queue.in_hand import JobsInHand
from edge.webhooks.queue.job import FRESH
from edge.webhooks.queue.ordering import OrderedQueue
from edge.webhooks.queue.post import PendingJob
from edge.webhooks.worker.context import WorkerContext
from edge.webhooks.worker.endpoints import PartitionEndpoints
from edge.webhooks.worker.settlement import Settler
from router.clock import wall
from router.coalescing import coalesced_sleep
from router.errors import BrokerError

log = logging.getLogger(__name__)

# The share of its time that a worker spends on counting what is parked.
RECOUNT_SHARE = 0.01
# Parked jobs of one endpoint that are looked at in one sweep: pages of so many.
EXPIRE_PAGES, EXPIRE_JOBS = 256, 16
# A dispatcher with nothing to remember is removed after so many sweeps.
IDLE_SWEEPS = 10


class BacklogSweep:
    """Looks after the backlogs of one partition, at intervals."""

    def __init__(
        self,
        context: WorkerContext,
        partition: int,
        in_hand: JobsInHand,
        endpoints: PartitionEndpoints,
        states: StateSync,
        catch_up: CatchUp,
        settler: Settler,
    ) -> None:
        self._context = context
        self._partition = partition
        self._in_hand = in_hand
        self._endpoints = endpoints
        self._states = states
        self._catch_up = catch_up
        self._settler = settler
        self._recount_at = 0.0

    async def run(self) -> None:
        """Sweeps until cancelled."""
        every = self._context.settings.sweep
        while True:
            await coalesced_sleep(every)
            try:
                await self._sweep()
            except BrokerError as fault:
                log.debug("backlogs cannot be swept; they will be swept again", extra={"fault": str(fault)})

    async def _sweep(self) -> None:
        if not self._catch_up.done:
            # What was there before may have been removed meanwhile.
            subjects = f"{FRESH}.{self._partition}.*"
            following = await next_job(self._context.broker, subjects, self._catch_up.reached)
            if not following or following > self._catch_up.last:
                self._catch_up.done = True
                self._endpoints.wake_all()
        if time.monotonic() >= self._recount_at:
            await self._recount()
        dispatchers = self._endpoints.dispatchers
        for dispatcher in list(dispatchers.values()):
            if dispatcher.policy is None:
                continue
            await self._expire(dispatcher)
            if dispatcher.idle and time.monotonic() - dispatcher.used > IDLE_SWEEPS * self._context.settings.sweep:
                dispatcher.end()
                dispatchers.pop(dispatcher.session, None)

    async def _recount(self) -> None:
        """Counts what is parked, as the server knows it, in case it was counted wrongly here."""
        backlog = self._context.backlog
        if not await backlog.holds_any():
            # As it mostly is: one question of all partitions, in place of a list for each.
            return
        begun = time.monotonic()
        counts = await backlog.counts(self._partition)
        for (session_id, name), count in counts.items():
            dispatcher = self._endpoints.get(session_id)
            if dispatcher is None:
                continue
            queue = dispatcher.backlog_queue(name)
            if not (queue.behind > 0 or queue.waiting or queue.under_way or queue.parking):
                queue.behind, queue.after = count, 0
                dispatcher.wake()
        now = time.monotonic()
        # The server lists each queue by name: of tens of thousands that takes as long as a share of the time allows.
        self._recount_at = now + (now - begun) / RECOUNT_SHARE

    async def _expire(self, dispatcher: EndpointDispatcher) -> None:
        """Gives up what has waited too long for an endpoint that takes nothing."""
        session = self._context.webhook(dispatcher.session)
        if session is None or session.spec.webhook is None:
            return
        policy = dispatcher.policy or session.spec.webhook
        reason = "endpoint_disabled" if dispatcher.breaker.state == "disabled" else "ttl_expired"
        born = wall.now_ns() - int(self._context.max_age(policy) * 1e9)
        for queue in list(dispatcher.queues.values()):
            while (
                queue.waiting
                and dispatcher.is_shut(queue)
                and not queue.under_way
                and queue.waiting[0].job.queued < born
            ):
                await self._forget_head(dispatcher, queue)
                await self._settler.give_up(session, queue.waiting.popleft(), reason)
        oldest = await self._expire_parked(dispatcher, session, born, reason) if dispatcher.parked else 0
        dispatcher.oldest = oldest / 1e9
        if dispatcher.shown != (dispatcher.parked, dispatcher.oldest):
            dispatcher.shown = (dispatcher.parked, dispatcher.oldest)
            self._states.note(dispatcher)

    async def _expire_parked(self, dispatcher: EndpointDispatcher, session: Session, born: int, reason: str) -> int:
        """Gives up what is parked and was queued before `born`, where nothing may be posted; says when the oldest was, in ns.

        All queues are read together, oldest first, up to the first job that is young enough: one page, however many queues
        there are. Raises BrokerError.
        """
        after = oldest = 0
        for _ in range(EXPIRE_PAGES):
            given_up = False
            page, _ = await self._context.backlog.page(self._partition, dispatcher.session, "*", after, EXPIRE_JOBS)
            for parked in page:
                after, job = parked.sequence, parked.job
                if job is None or self._in_hand.is_removed(after):
                    continue
                if job.queued >= born:
                    return min(oldest or job.queued, job.queued)
                queue = dispatcher.queues.get(parked.subject.rpartition(".")[2])
                if queue is None or not _may_expire(dispatcher, queue, after):
                    oldest = min(oldest or job.queued, job.queued)
                    continue
                await self._forget_head(dispatcher, queue)
                queue.behind -= 1
                await self._settler.give_up(session, PendingJob(job, 0.0, parked_at=after), reason)
                given_up = True
            if not page or not (given_up or dispatcher.blocked_for > 0):
                break  # what is posted meanwhile expires where it is posted
        await self._context.acks.flushed()
        return oldest

    async def _forget_head(self, dispatcher: EndpointDispatcher, queue: OrderedQueue) -> None:
        """Forgets how far a queue's first post has come, because it is given up unposted."""
        if queue.head is not None:
            queue.head, queue.not_before = None, 0.0
            await self._states.keep_head(dispatcher, queue)


def _may_expire(dispatcher: EndpointDispatcher, queue: OrderedQueue, place: int) -> bool:
    """Whether a parked job may be given up where it is: what has been fetched is in hand, and expires there."""
    return not (queue.waiting or queue.under_way or place <= queue.after) and dispatcher.is_shut(queue)
