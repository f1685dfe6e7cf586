"""Backfills sessions from EVENTS: each on its own and in order, until it has caught up and joins the others."""

from __future__ import annotations

import asyncio
import logging
import time

from edge.filters.evaluation import Filtering
from edge.sessions.registry import Session
from edge.webhooks.fanout.admission import FanoutAdmission
from edge.webhooks.fanout.enqueue import JobWriter
from edge.webhooks.fanout.matcher import Matcher
from edge.webhooks.fanout.members import Member, MemberJob, Members
from edge.webhooks.fanout.progress import FanoutProgress
from edge.webhooks.fanout.retention import Retention
from edge.webhooks.fanout.settings import FanoutSettings
from edge.webhooks.queue.job import Job
from router.errors import BrokerError
from router.layout import Shard
from router.replay import Replay

log = logging.getLogger(__name__)

# Pages that a session is backfilled with before the next one has its turn.
MAX_PAGES = 16


class Backfill:
    """Reads the past of sessions that have not joined, a page at a time, and stores its jobs."""

    def __init__(
        self,
        shard: Shard,
        progress: FanoutProgress,
        members: Members,
        replay: Replay,
        filtering: Filtering,
        matcher: Matcher,
        admission: FanoutAdmission,
        writer: JobWriter,
        retention: Retention,
        settings: FanoutSettings,
    ) -> None:
        self._shard = shard
        self._progress = progress
        self._members = members
        self._replay = replay
        self._filtering = filtering
        self._matcher = matcher
        self._admission = admission
        self._writer = writer
        self._retention = retention
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.filling)
        # Sessions whose filters are over budget queue by themselves, so that new ones do not wait for them.
        self._slow_slots = asyncio.Semaphore(settings.filling)

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Backfills the sessions that wait as soon as they may have jobs, until cancelled. Sleeps while none waits."""
        waiting, has_waiting = self._members.waiting, self._members.has_waiting
        while True:
            if not waiting:
                has_waiting.clear()
                await has_waiting.wait()
            await asyncio.sleep(self._settings.room_every)
            now = time.monotonic()
            for session_id, member in list(waiting.items()):
                if member.telling or member.not_before > now:
                    continue
                member.reason = self._admission.may_go_on(member.session)
                if not member.reason or member.expired > member.after:
                    del waiting[session_id]
                    self.start(member, tasks)

    def start(self, member: Member, tasks: asyncio.TaskGroup) -> None:
        """Begins to backfill a session."""
        tasks.create_task(self._fill(member), name="fan-out backfill")

    async def _fill(self, member: Member) -> None:
        """Brings one session towards where the others are, page by page, as long as it may have jobs; then it waits."""
        try:
            async with self._slow_slots if member.slow else self._slots:
                for _ in range(MAX_PAGES):
                    if member.removed or self._members.join(member):
                        return
                    member.reason = self._admission.may_go_on(member.session)
                    if (member.reason and member.expired <= member.after) or not await self._fill_page(member):
                        break
        finally:
            if not member.joined and not member.removed:
                self._members.wait(member)

    async def _fill_page(self, member: Member) -> bool:
        """Stores the next jobs of one session; says whether it may go on at once."""
        session = member.session
        try:
            stretch = await self._replay.of_shard(
                self._shard, session.view.patterns, member.after, self._progress.matched
            )
            shown = await self._filtering.select(session.view, stretch.records)
            # What ran out of retention while it was read is missing in it.
            if await self._retention.skip_lost(member):
                return True
        except BrokerError as fault:
            log.warning(
                "past events cannot be read for a webhook; it tries again",
                extra={"session": session.id, "fault": str(fault)},
            )
            await asyncio.sleep(0.5)
            return False
        # An endpoint that takes nothing may have events that waited for too long: those become dead letters.
        upto = min(stretch.upto, member.expired) if member.reason else stretch.upto
        jobs: list[MemberJob] = []
        for job in self._matcher.jobs(member, shown):
            sequence = job.stored
            if sequence > upto or sequence in member.ahead:
                continue
            if sequence <= member.expired:
                await self._expire(session, job)
            elif reason := self._admission.take(session, job):
                member.reason, upto = reason, sequence - 1
                break
            else:
                jobs.append((member, job))
        refused = await self._writer.store(jobs)
        if refused:
            member.reason, upto = "stream", min(job.stored for _, job in refused) - 1
            member.not_before = time.monotonic() + self._settings.refused_pause
            member.note_ahead([job for _, job in jobs], [job for _, job in refused])
        member.after = max(member.after, upto)
        member.ahead = {sequence for sequence in member.ahead if sequence > member.after}
        self._members.dirty.add(session.id)
        return not member.reason

    async def _expire(self, session: Session, job: Job) -> None:
        reason = "endpoint_disabled" if self._admission.is_disabled(session) else "ttl_expired"
        await self._writer.dead_letter(session, job, reason, "it waited for its endpoint for longer than it may")
