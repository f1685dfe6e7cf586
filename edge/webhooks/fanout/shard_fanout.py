"""Fans out the events of one shard: one job for each session that shows an event, in the order of the shard."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

from edge.filters.evaluation import Filtering
from edge.sessions.registry import Registry, Session
from edge.stats import Stats
from edge.webhooks import metrics
from edge.webhooks.fanout.admission import FanoutAdmission
from edge.webhooks.fanout.backfill import Backfill
from edge.webhooks.fanout.checkpoint import Checkpoint, holds
from edge.webhooks.fanout.enqueue import JobWriter
from edge.webhooks.fanout.gaps import publish_gap
from edge.webhooks.fanout.matcher import Matcher
from edge.webhooks.fanout.members import MemberJob, Members
from edge.webhooks.fanout.progress import FanoutProgress
from edge.webhooks.fanout.retention import Retention
from edge.webhooks.fanout.settings import FanoutSettings
from edge.webhooks.fanout.shard_events import ShardEvents
from edge.webhooks.fanout.source import EventSource
from router.broker import Broker
from router.cluster.role import LeadershipLost
from router.cursor import Cursor
from router.errors import BrokerError, Forbidden, Refused
from router.layout import Shard
from router.nats.bucket import Bucket
from router.record import Record
from router.replay import Replay

log = logging.getLogger(__name__)

# About a millisecond of asking sessions whether they show an event; then other tasks get their turn.
MAX_MATCHES_PER_TURN = 1000
GAPS_AT_ONCE = 100


@dataclass(frozen=True)
class FanoutParts:
    """What the shards of one process share."""

    broker: Broker
    registry: Registry
    bucket: Bucket
    replay: Replay
    filtering: Filtering
    admission: FanoutAdmission
    writer: JobWriter
    stats: Callable[[str], Stats]
    undecodable: Callable[[Record], None]
    partitions: int
    keep: float
    events: ShardEvents
    settings: FanoutSettings
    # Called with a shard and a session that has all events of it, where the shard takes no more.
    finished: Callable[[ShardFanout, Session], None]
    # Called where the lag of a shard has changed.
    moved: Callable[[], None]


class ShardFanout:
    """Turns the events of one shard into jobs, while this process owns the role."""

    def __init__(self, shard: Shard, parts: FanoutParts) -> None:
        settings = self.settings = parts.settings
        self.shard = shard
        self.lag = 0
        self._parts = parts
        self._events = parts.broker.shard(shard)
        # The last sequence of a shard that takes no more events.
        self._end: int | None = None
        self._tasks: asyncio.TaskGroup | None = None
        # Up to where sessions were told a gap that others are still to be told.
        self._told: dict[str, int] = {}
        self._wake = asyncio.Event()
        self.progress = progress = FanoutProgress()
        self.members = members = Members(progress, parts.partitions, self._wake)
        self.source = EventSource(
            parts.broker, shard, progress, self._wake, parts.events, buffer=settings.buffer, batch=settings.pipeline
        )
        self.checkpoint = Checkpoint(parts.broker, shard, parts.bucket, parts.replay, parts.registry, progress, members)
        self._matcher = Matcher(members, parts.filtering, parts.admission, parts.stats, parts.undecodable)
        self._retention = Retention(parts.broker, shard, progress, members, parts.stats, parts.keep, settings)
        self._backfill = Backfill(
            shard, progress, members, parts.replay, parts.filtering, self._matcher, parts.admission, parts.writer,
            self._retention, settings,
        )  # fmt: skip

    async def load(self, end: int | None) -> None:
        """Reads how far the predecessor came; `end` is the last sequence of a sealed shard. Raises BrokerError."""
        self._end = end
        await self.checkpoint.load()
        self._told.clear()
        self.source.is_sealed = end is not None
        self.source.clear()

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Begins to fan out, in tasks that are cancelled at the end of the ownership."""
        self._tasks = tasks
        name = f"fan-out {self.shard.stream}"
        tasks.create_task(self._backfill.run(tasks), name=f"{name} backfills")
        tasks.create_task(self._retention.run(), name=f"{name} retention")
        tasks.create_task(self._follow(), name=name)

    def stop(self) -> None:
        """Notes how far this process has come, where it owns the role no longer."""
        self._tasks = None
        self.checkpoint.remember()
        self.members.clear()
        self.lag = 0

    def admit(self, session: Session) -> None:
        """Takes a session in."""
        assert self._tasks is not None
        if (behind := self.members.admit(session)) is not None:
            self._backfill.start(behind, self._tasks)
        self._wake.set()

    def change(self, session: Session) -> None:
        """Takes over what changed of a session."""
        if (member := self.members.all.get(session.id)) is not None:
            self.members.change(member, session)
            self._wake.set()

    def remove(self, session_id: str) -> None:
        """Removes a session that was deleted, or is no webhook any more."""
        if (member := self.members.all.get(session_id)) is not None:
            self.members.remove(member)
            self._wake.set()

    async def save(self) -> None:
        """Saves how far this has come. Raises Conflict where another process owns the role, and BrokerError."""
        if not self.progress.suspect:
            await self.checkpoint.save()

    # From events to jobs

    async def _follow(self) -> None:
        """Turns events into jobs as they come."""
        source = self.source
        try:
            while True:
                self._wake.clear()
                if not self.members.all:
                    # There is no session to make jobs for: events need not even be received.
                    await source.close()
                    await self._wake.wait()
                    continue
                if not source.is_open:
                    await source.open()
                    continue
                if self.progress.suspect and not await self._is_settled():
                    await asyncio.sleep(0.2)
                    continue
                self.members.pass_over()
                if self._end is not None and self.progress.position >= self._end:
                    self._finish()
                    await self._wake.wait()
                    continue
                records = await self._next()
                if records:
                    await self._match(records)
                elif self._end is not None and not source.needs_store:
                    # What was behind the last event is gone; nothing more comes.
                    self.progress.matched = self.progress.position = self._end
                else:
                    await self._wait()
        finally:
            await source.close()

    def _finish(self) -> None:
        """Hands on the sessions that have all events of this shard, which takes no more."""
        for member in list(self.members.joined):
            self.members.release(member)
            self._parts.finished(self, member.session)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self.settings.check_every):
                await self._wake.wait()
        except TimeoutError:
            self.progress.suspect = True

    async def _is_settled(self) -> bool:
        """Finds out whether the stream is the one that was matched so far; False where it does not answer.

        Before that no position is saved: its time would be later than what may have been stored meanwhile. Raises LeadershipLost.
        """
        progress = self.progress
        self._parts.replay.checks.clear()
        try:
            state = await self._events.state()
            continued = (
                state.epoch == progress.epoch
                and state.last >= progress.matched
                and await holds(self._parts.replay, self.shard, Cursor(progress.epoch, *progress.newest), state)
            )
        except BrokerError:
            return False
        if not continued:
            log.error("the event stream was replaced or rolled back; the fan-out starts again from its checkpoint")
            raise LeadershipLost
        progress.suspect = False
        self.source.behind = self.source.behind or state.last > progress.matched
        return True

    async def _next(self) -> list[Record]:
        """Gives the next events in order: those that were received where none is missing, else from the store.

        Where none was received and none can be missing, the store is not asked.
        """
        records = self.source.received()
        if records or not self.source.needs_store:
            return records
        try:
            records = await self.source.read()
            if records and records[-1].sequence - self.progress.matched > len(records):
                return await self._count_lost(records)
            return records
        except BrokerError as fault:
            log.warning("the fan-out cannot go on; it tries again", extra={"fault": str(fault)})
            await asyncio.sleep(0.2)
            # Records that were read already are read again.
            self.source.behind = True
            self._wake.set()
            return []

    async def _count_lost(self, records: list[Record]) -> list[Record]:
        """Counts what ran out of retention before the first of some records; gives them up to where more of it is missing.

        Before the fan-out goes on behind that, the gap is published for each webhook. Raises BrokerError, and may then be called
        again, with more of it missing.
        """
        matched = self.progress.matched
        first = (await self._events.state()).first
        # The records themselves may have run out of retention since they were read: they are not lost.
        missing = min(first, records[0].sequence) - 1 - matched
        if missing > 0:
            await self._publish_gaps(matched + missing)
            metrics.lost.inc(missing)
            log.error(
                "events ran out of retention before they were fanned out; a gap was published for each webhook",
                extra={"events": missing},
            )
        for place, (record, following) in enumerate(pairwise(records), 1):
            if record.sequence + 1 < min(following.sequence, first):
                # Retention overtook the read: the next one begins there, and finds the rest missing.
                self.source.behind = True
                return records[:place]
        return records

    async def _publish_gaps(self, last: int) -> None:
        """Publishes a gap up to an event for every session that the fan-out itself was too late for, from its first event that is lost.

        Raises BrokerError where one was not stored but may be later; those that were are not told again.
        """
        # Sessions may join meanwhile, which miss it, too.
        while late := list(islice(self._late(last), GAPS_AT_ONCE)):
            await asyncio.gather(*(self._publish_gap(session, first, last) for session, first in late))
        self._told.clear()

    def _late(self, last: int) -> Iterator[tuple[Session, int]]:
        """The sessions that are still to be told a gap up to an event, and where it begins for each."""
        for member in self.members.joined:
            session = member.session
            first = max(self.progress.matched, member.after, self._told.get(session.id, 0)) + 1
            if first <= last:
                yield session, first

    async def _publish_gap(self, session: Session, first: int, last: int) -> None:
        try:
            await publish_gap(self._parts.broker, session, self.shard, first, last)
            self._parts.stats(session.id).gaps += 1
        except (Refused, Forbidden) as fault:
            log.warning("a gap cannot be published", extra={"session": session.id, "fault": str(fault)})
        self._told[session.id] = last

    async def _match(self, records: list[Record]) -> None:
        """Makes the jobs of some events and waits until all are stored, or their sessions have left."""
        progress, matcher = self.progress, self._matcher
        jobs: list[MemberJob] = []
        matches = 0
        for record in records:
            # No await between a record's matching and `matched`: a session that joins in between would miss it.
            try:
                matches += matcher.match(record, jobs)
            except Exception as fault:  # noqa: BLE001 - logged with its traceback by `failed`
                matcher.failed(record, fault)
            progress.matched = record.sequence
            progress.newest = record.sequence, record.check
            if matches >= MAX_MATCHES_PER_TURN:
                matches = 0
                await asyncio.sleep(0)
            if len(jobs) >= self.settings.pipeline:
                await self._store(jobs)
                jobs.clear()
        await self._store(jobs)
        self.lag = max(0, self.source.last_received - progress.position)
        self._parts.moved()

    async def _store(self, jobs: list[MemberJob]) -> None:
        """Stores a batch of jobs. Sessions of which one was refused leave, and so do those that left while matching."""
        refused = await self._parts.writer.store(jobs)
        for member, job in refused:
            self.members.leave(member, job.stored - 1, "stream")
        for member in {member for member, _ in refused}:
            member.not_before = time.monotonic() + self.settings.refused_pause
            member.note_ahead(
                [job for each, job in jobs if each is member], [job for each, job in refused if each is member]
            )
        self.progress.position = self.progress.matched
        # Only now, when all before is stored: else its mark could be saved, and jobs be missing after a crash.
        self.members.part()
