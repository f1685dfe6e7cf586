"""Stores jobs in HOOKS side by side, and makes dead letters of those that cannot be stored."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence

from edge.sessions.registry import Session
from edge.stats import Stats
from edge.webhooks import metrics
from edge.webhooks.fanout.members import Member, MemberJob
from edge.webhooks.queue.job import Job, origin_of
from edge.webhooks.queue.room import Room
from router.broker import Broker
from router.deadletter import webhook_subject
from router.deadletters import DeadLetters
from router.errors import BrokerError, Cut, Forbidden, Refused, Timeout
from router.nats.publisher import Publish, Publisher, is_too_large
from router.nats.refusals import has_no_room
from router.nats.stream import Ack

log = logging.getLogger(__name__)

# Backoff between two tries of a job that NATS does not allow: at first, and at most.
FORBIDDEN_SECONDS = (0.5, 5.0)


class JobWriter:
    """Stores the jobs of sessions."""

    def __init__(
        self, broker: Broker, publisher: Publisher, room: Room, stats: Callable[[str], Stats], pipeline: int
    ) -> None:
        """At most `pipeline` jobs wait for their acknowledgement at once."""
        self._broker = broker
        self._publisher = publisher
        self._room = room
        self._stats = stats
        self._pipeline = pipeline
        self._deadletters = DeadLetters(broker)

    async def store(self, jobs: Sequence[MemberJob]) -> list[MemberJob]:
        """Publishes jobs side by side, those of an ordered session one after the other, and gives those without room.

        Every other is stored, dead-lettered, or without a session. Of an ordered session nothing behind a job without room
        is stored.
        """
        pending: deque[list[MemberJob]] = deque()
        ordered: dict[str, list[MemberJob]] = {}
        refused: list[MemberJob] = []
        for member, job in await self._store_unordered(jobs, refused):
            if not _is_ordered(member.session):
                pending.append([(member, job)])
            elif (queue := ordered.get(job.session)) is not None:
                queue.append((member, job))
            else:
                pending.append(ordered.setdefault(job.session, [(member, job)]))

        async def drain() -> None:
            while pending:
                queue = pending.popleft()
                for place, (member, job) in enumerate(queue):
                    if not await self._store_one(member, job):
                        refused.extend(queue[place:])
                        break

        if pending:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(len(pending), self._pipeline)):
                    tasks.create_task(drain())
        for _, job in jobs:
            self._room.settled(job.session)
        return refused

    async def _store_unordered(self, jobs: Sequence[MemberJob], refused: list[MemberJob]) -> list[MemberJob]:
        """Stores the jobs that need no order, with one round trip for all of them; gives those that are to be retried.

        Jobs for which there is no room are added to `refused`.
        """
        left: list[MemberJob] = []
        free: list[MemberJob] = []
        for each in jobs:
            (left if _is_ordered(each[0].session) else free).append(each)
        for first in range(0, len(free), self._pipeline):
            some = [(member, job) for member, job in free[first : first + self._pipeline] if not member.removed]
            answers = await self._publisher.send([Publish(job.address, job.payload, job.headers()) for _, job in some])
            for (member, job), answer in zip(some, answers, strict=True):
                if isinstance(answer, Ack):
                    self._stored(job, answer)
                elif isinstance(answer, Refused) and has_no_room(answer) and not is_too_large(answer):
                    refused.append((member, job))
                else:
                    left.append((member, job))
        return left

    def _stored(self, job: Job, ack: Ack) -> None:
        if ack.duplicate:
            metrics.jobs.labels("repeated").inc()
        else:
            metrics.queued.inc()
            self._stats(job.session).offered(1)

    async def _store_one(self, member: Member, job: Job) -> bool:
        """Stores one job, or makes a dead letter of it; False where there is no room for it."""
        pause = FORBIDDEN_SECONDS[0]
        while not member.removed:
            try:
                ack = await self._broker.store(job.address, job.payload, job.headers(), await_right=False)
            except Refused as refusal:
                if is_too_large(refusal):
                    await self.dead_letter(member.session, job, "too_large", refusal.description, by_reference=True)
                    return True
                if has_no_room(refusal):
                    return False
                log.warning("NATS refused a webhook job; it is stored again", extra={"reason": refusal.description})
                await asyncio.sleep(0.5)
            except Cut as fault:
                await self.dead_letter(member.session, job, "unwritable", str(fault), by_reference=True)
                return True
            except Forbidden:
                # The log says so, and readiness; each try costs the server a line in its own.
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, FORBIDDEN_SECONDS[1])
            except Timeout as fault:
                # Stored or not: the same id is tried again, for as long as the role is ours.
                log.warning("NATS did not acknowledge a webhook job; it is stored again", extra={"fault": str(fault)})
            else:
                self._stored(job, ack)
                return True
        return True

    async def dead_letter(
        self, session: Session, job: Job, reason: str, detail: str, by_reference: bool = False
    ) -> None:
        """Makes a dead letter of a job that is not to be stored, again and again while the store does not answer."""
        endpoint = session.spec.webhook
        while True:
            try:
                await self._deadletters.add(
                    webhook_subject(job.session),
                    job.payload,
                    origin=origin_of(job),
                    reason=reason,
                    detail=detail,
                    attempts=0,
                    first=job.queued,
                    destination=endpoint.destination if endpoint is not None else "",
                    source=job.session,
                    id=job.deadletter_id,
                    by_reference=by_reference,
                )
                break
            except BrokerError as fault:
                log.warning("a dead letter was not stored; it is stored again", extra={"fault": str(fault)})
                await asyncio.sleep(0.5)
        metrics.jobs.labels("deadlettered").inc()
        stats = self._stats(job.session)
        stats.offered(1)
        stats.failed += 1
        stats.last_error = reason


def _is_ordered(session: Session) -> bool:
    """Whether a session's jobs must lie in HOOKS in the order of their events."""
    return session.spec.webhook is not None and session.spec.webhook.mode != "unordered"
