"""Admits the jobs that arrive: each goes to its endpoint's dispatcher, what is not a job goes to the dead letters."""

from __future__ import annotations

import asyncio
import logging
from typing import Literal

from edge.errors import Problem
from edge.sessions.registry import is_deleted
from edge.webhooks import metrics
from edge.webhooks.endpoint.tasks import PartitionTasks
from edge.webhooks.queue.catch_up import CatchUp
from edge.webhooks.queue.in_hand import JobsInHand
from edge.webhooks.queue.job import PARKED, read
from edge.webhooks.queue.post import PendingJob
from edge.webhooks.worker.context import WorkerContext
from edge.webhooks.worker.deadletters import add_undecodable
from edge.webhooks.worker.endpoints import PartitionEndpoints
from edge.webhooks.worker.settlement import Settler
from router.errors import BrokerError
from router.nats.consumer import Consumer, Message
from router.topology import HOOKS

log = logging.getLogger(__name__)

# Between two look-ups of a session that is not known here yet, in seconds.
LOOK_UP_SECONDS = 0.3

Found = Literal["webhook", "other", "deleted", "unknown"]


class JobIntake:
    """The jobs of one partition on their way from its consumers to its dispatchers."""

    def __init__(
        self,
        context: WorkerContext,
        partition: int,
        in_hand: JobsInHand,
        endpoints: PartitionEndpoints,
        tasks: PartitionTasks,
        catch_up: CatchUp,
        settler: Settler,
    ) -> None:
        self.catch_up = catch_up
        # Up to which place of each stream jobs were in the hands of a predecessor that died.
        self.suspects: dict[str, int] = {}
        self._context = context
        self._partition = partition
        self._in_hand = in_hand
        self._endpoints = endpoints
        self._tasks = tasks
        self._settler = settler

    def receive(self, message: Message, consumer: Consumer) -> None:
        """Takes a message from the read loop, and finds its job a place."""
        if not self._tasks.open:
            return  # a successor gets it
        key = (consumer.stream, message.sequence, message.time)
        fresh = consumer.stream == HOOKS
        if (known := self._in_hand.find(key)) is not None:
            # Handed out again while it is worked on: there is one more way to acknowledge it, and nothing more to do.
            known.message = message
            consumer.done()
            metrics.redelivered.inc()
        elif self._in_hand.is_settled(key):
            metrics.redelivered.inc()
            self._tasks.spawn(_acknowledge_again(message, consumer))
        elif (job := read(message)) is None:
            log.error("message in HOOKS is not a job; moved to dead letters", extra={"subject": message.subject})
            self._tasks.spawn(self._discard(message, consumer))
        else:
            pending = PendingJob(job, asyncio.get_running_loop().time(), message, consumer, size=len(message.payload))
            pending.suspect = message.sequence <= self.suspects.get(consumer.stream, 0) or message.attempt > 1
            self._in_hand.add(key, pending)
            if job.due_at:
                metrics.lateness.observe(max(0.0, (message.time - job.due_at) / 1e9))
            self.admit(pending)
        if fresh and self.catch_up.arrived(message.sequence):
            self._endpoints.wake_all()

    def admit(self, pending: PendingJob) -> None:
        """Gives a job to its endpoint's dispatcher; it waits where its session is not known here yet."""
        session_id = pending.job.session
        unresolved = self.catch_up.unresolved
        if session_id in unresolved:
            # Behind those that came before it, although the session may be known by now.
            unresolved[session_id].append(pending)
        elif (dispatcher := self._endpoints.get(session_id)) is not None:
            dispatcher.admit(pending)
        else:
            unresolved[session_id] = [pending]
            self._tasks.spawn(self._resolve(session_id), "find")

    async def _resolve(self, session_id: str) -> None:
        """Looks up a session that is not known here yet, or was deleted; its jobs wait meanwhile."""
        while self._tasks.open:
            found = await self._look_up(session_id)
            if found == "unknown":
                await asyncio.sleep(LOOK_UP_SECONDS)
                continue
            for pending in self.catch_up.unresolved.pop(session_id, []):
                if found == "webhook" and (dispatcher := self._endpoints.get(session_id)) is not None:
                    dispatcher.admit(pending)
                else:
                    self._settler.drop([pending])
            return

    async def resolve_backlog(self, session_id: str) -> None:
        """Looks up a session with parked jobs that is not known here yet; those of a deleted one are removed."""
        while self._tasks.open:
            found = await self._look_up(session_id)
            if found == "unknown":
                await asyncio.sleep(LOOK_UP_SECONDS)
                continue
            if found == "deleted":
                # Deleted meanwhile, as the fan-out's owner will find, too.
                self._tasks.spawn(self._purge(f"{PARKED}.{self._partition}.{session_id}.*"), "purge")
            else:
                self._endpoints.get(session_id)
            return

    async def _look_up(self, session_id: str) -> Found:
        """What a session is; `unknown` where that cannot be read now."""
        registry = self._context.registry
        try:
            session = await registry.find(session_id)
            return "webhook" if session.spec.webhook is not None else "other"
        except BrokerError as fault:
            log.debug("a session could not be looked up; it will be looked up again", extra={"fault": str(fault)})
            return "unknown"
        except Problem:
            pass
        try:
            return "deleted" if await is_deleted(registry, session_id) else "unknown"
        except BrokerError as fault:
            log.debug("a session could not be looked up; it will be looked up again", extra={"fault": str(fault)})
            return "unknown"

    async def _purge(self, subjects: str) -> None:
        try:
            await self._context.broker.stream(HOOKS).purge(subjects)
        except BrokerError as fault:
            log.debug("parked jobs of a deleted session were not removed", extra={"fault": str(fault)})

    async def _discard(self, message: Message, consumer: Consumer) -> None:
        """Moves a message that is not a job to the dead letters."""
        try:
            await add_undecodable(self._context, consumer.stream, message.sequence, message.subject, message.payload)
            await message.term("not a job")
        except BrokerError:
            log.debug("a message that is not a job was not ended; it will be handed out again")
        finally:
            consumer.done()


async def _acknowledge_again(message: Message, consumer: Consumer) -> None:
    """Acknowledges a settled job that was handed out again."""
    try:
        await message.ack()
    except BrokerError:
        log.debug("a settled job was not acknowledged; it will be handed out again")
    finally:
        consumer.done()
