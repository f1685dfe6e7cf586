"""Fans out events to webhooks: one job for each session that shows an event, made in one process at a time.

The owner of the role reads EVENTS in order, from a position that it keeps as a checkpoint in LEASES. The position moves on
only once every job before it is stored; what a successor repeats has the same ids, and JetStream drops it.

A session starts at its own cursor, which usually lies behind the position: it is backfilled from there on its own, in
order, and joins the others in the moment it has caught up. How far each has come is saved too.

A session whose endpoint takes nothing, or that holds its share of HOOKS, gets no more jobs: it leaves the others, and is
backfilled once there is room (backpressure: `edge.webhooks.fanout.admission`). So it delays no other session, and its events
wait in EVENTS, where they cost nothing. A gap is published for events that EVENTS no longer has by then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from edge.filters.evaluation import Filtering
from edge.sessions.registry import Registry, Session
from edge.stats import Stats
from edge.webhooks import metrics
from edge.webhooks.endpoint.breaker import CircuitBreakerSettings
from edge.webhooks.endpoint.state import EndpointState
from edge.webhooks.fanout.admission import FanoutAdmission
from edge.webhooks.fanout.backfill import Backfill
from edge.webhooks.fanout.checkpoint import Checkpoint
from edge.webhooks.fanout.cleanup import Cleanup
from edge.webhooks.fanout.enqueue import JobWriter
from edge.webhooks.fanout.gaps import publish_gap
from edge.webhooks.fanout.matcher import Matcher
from edge.webhooks.fanout.members import MemberJob, Members
from edge.webhooks.fanout.progress import FanoutProgress
from edge.webhooks.fanout.retention import Retention
from edge.webhooks.fanout.settings import FanoutSettings
from edge.webhooks.fanout.source import EventSource, Subscribe
from edge.webhooks.queue.room import Room
from router.broker import Broker
from router.cluster.role import LeadershipLost, Role
from router.coalescing import coalesced_sleep
from router.cursor import Cursor
from router.errors import BrokerError, Conflict
from router.nats.bucket import Bucket
from router.nats.publisher import Publisher
from router.record import Record
from router.replay import Replay
from router.topology import LEASES

log = logging.getLogger(__name__)

ROLE = "role.fanout"

# About a millisecond of asking sessions whether they show an event; then other tasks get their turn.
MAX_MATCHES_PER_TURN = 1000


class Fanout:
    """The role that makes the jobs."""

    def __init__(
        self,
        broker: Broker,
        registry: Registry,
        stats: Callable[[str], Stats],
        publisher: Publisher,
        partitions: int,
        holder: str,
        settings: FanoutSettings | None = None,
        forget: Callable[[str], Awaitable[None]] | None = None,
        kept: Callable[[], Awaitable[set[str]]] | None = None,
        undecodable: Callable[[Record], None] = lambda _record: None,
        filtering: Filtering | None = None,
        condition: Callable[[str], EndpointState | None] = lambda _session: None,
        health: CircuitBreakerSettings | None = None,
        keep: float = 7 * 86400.0,
        subscribe: Subscribe | None = None,
    ) -> None:
        """`subscribe` receives events by what the process has subscribed already; without it the fan-out subscribes itself.

        `forget` and `kept` are those of Cleanup; `undecodable` is called with each record that is no event.

        `condition` gives what the owner of an endpoint last said of it. Events wait at most `keep` seconds for an endpoint,
        where its session does not say how long.
        """
        self.settings = settings = settings or FanoutSettings()
        filtering = filtering or Filtering()
        self._broker = broker
        self._registry = registry
        self._stats = stats
        self._replay = Replay(broker, undecodable)
        bucket = Bucket(broker.connection, LEASES)
        self._role = Role(bucket, ROLE, holder, settings.role)
        self._wake = asyncio.Event()
        self._progress = progress = FanoutProgress()
        self._members = members = Members(progress, partitions, self._wake)
        self._source = EventSource(
            broker, progress, self._wake, subscribe, buffer=settings.buffer, batch=settings.pipeline
        )
        self._checkpoint = Checkpoint(broker, bucket, self._replay, registry, progress, members)
        self.room = Room(broker, settings.room)
        self._admission = FanoutAdmission(self.room, condition, health)
        self._matcher = Matcher(members, filtering, self._admission, stats, undecodable)
        self._writer = JobWriter(broker, publisher, self.room, stats, settings.pipeline)
        self._retention = Retention(broker, progress, members, stats, keep, settings)
        self._backfill = Backfill(
            progress,
            members,
            self._replay,
            filtering,
            self._matcher,
            self._admission,
            self._writer,
            self._retention,
            settings,
        )
        self._cleanup = Cleanup(broker, bucket, registry, members, forget, kept)
        # The tasks of this ownership; None while another process owns the role.
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def owner(self) -> bool:
        """Whether this process fans out."""
        return self._tasks is not None

    @property
    def position(self) -> int:
        """The sequence up to which every job is stored; known to the owner."""
        return self._progress.position

    async def run(self) -> None:
        """Fans out whenever this process owns the role, until cancelled; then releases it at once."""
        await self._role.run(self._own)

    async def _own(self) -> None:
        await self._take_over()
        metrics.owner.set(1)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for session in list(self._registry.sessions.values()):
                    self.change(session.id, session)
                tasks.create_task(self._save_often(), name="fan-out position")
                tasks.create_task(self._cleanup.run(self.settings.sweep_every), name="fan-out cleanup")
                tasks.create_task(self._backfill.run(tasks), name="fan-out backfills")
                tasks.create_task(self._measure(), name="fan-out room")
                tasks.create_task(self._retention.run(), name="fan-out retention")
                tasks.create_task(self._follow(), name="fan-out")
        finally:
            self._tasks = None
            metrics.owner.set(0)
            self._checkpoint.remember()
            self._members.clear()
            self._admission.clear()
            self._report()

    async def _take_over(self) -> None:
        """Reads how far the predecessor came."""
        while True:
            try:
                await self._checkpoint.load()
                break
            except BrokerError as fault:
                log.warning("the fan-out cannot start yet; it tries again", extra={"fault": str(fault)})
                await asyncio.sleep(0.5)
        await self.room.measure_or_not()
        self._source.clear()

    def change(self, session_id: str, session: Session | None) -> None:
        """Follows a session that was made or changed; None for one that was deleted."""
        if self._tasks is None:
            return
        member = self._members.all.get(session_id)
        if session is None or session.spec.delivery_method != "webhook":
            if member is None:
                return
            self._members.remove(member)
            self._admission.forget(session_id)
        elif member is not None:
            self._members.change(member, session)
        elif (behind := self._members.admit(session)) is not None:
            self._backfill.start(behind, self._tasks)
        self._wake.set()

    # From events to jobs

    async def _follow(self) -> None:
        """Turns events into jobs as they come."""
        source = self._source
        try:
            while True:
                self._wake.clear()
                if not self._members.all:
                    # There is no session to make jobs for: events need not even be received.
                    await source.close()
                    await self._wake.wait()
                    continue
                if not source.is_open:
                    await source.open()
                    continue
                if self._progress.suspect and not await self._is_settled():
                    await asyncio.sleep(0.2)
                    continue
                self._members.pass_over()
                records = await self._next()
                if records:
                    await self._match(records)
                else:
                    await self._wait()
        finally:
            await source.close()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self.settings.check_every):
                await self._wake.wait()
        except TimeoutError:
            self._progress.suspect = True

    async def _is_settled(self) -> bool:
        """Finds out whether the stream is the one that was matched so far; False where it does not answer.

        Before that no position is saved: its time would be later than what may have been stored meanwhile. Raises LeadershipLost.
        """
        progress = self._progress
        self._replay.checks.clear()
        try:
            state = await self._broker.state()
            continued = (
                state.epoch == progress.epoch
                and state.last >= progress.matched
                and await self._replay.fits(Cursor(progress.epoch, *progress.newest), state)
            )
        except BrokerError:
            return False
        if not continued:
            log.error("the event stream was replaced or rolled back; the fan-out starts again from its checkpoint")
            raise LeadershipLost
        progress.suspect = False
        self._source.behind = self._source.behind or state.last > progress.matched
        return True

    async def _next(self) -> list[Record]:
        """Gives the next events in order: those that were received where none is missing, else from the store.

        Where none was received and none can be missing, the store is not asked.
        """
        records = self._source.received()
        if records or not self._source.needs_store:
            return records
        try:
            records = await self._source.read()
            if records and records[0].sequence > self._progress.matched + 1:
                await self._count_lost()
            return records
        except BrokerError as fault:
            log.warning("the fan-out cannot read events; it tries again", extra={"fault": str(fault)})
            await asyncio.sleep(0.2)
            self._wake.set()
            return []

    async def _count_lost(self) -> None:
        matched = self._progress.matched
        missing = (await self._broker.state()).first - 1 - matched
        if missing > 0:
            metrics.lost.inc(missing)
            log.error(
                "events ran out of retention before they were fanned out; a gap is published for each webhook",
                extra={"events": missing},
            )
            assert self._tasks is not None
            self._tasks.create_task(self._publish_gaps(matched + 1, matched + missing), name="fan-out gap")

    async def _publish_gaps(self, first: int, last: int) -> None:
        """Publishes a gap for every session that the fan-out itself was too late for."""
        for member in [member for member in self._members.joined if member.after < last]:
            self._stats(member.session.id).gaps += 1
            try:
                await publish_gap(self._broker, member.session, max(first, member.after + 1), last)
            except BrokerError as fault:
                log.warning("a gap was not published", extra={"session": member.session.id, "fault": str(fault)})

    async def _match(self, records: list[Record]) -> None:
        """Makes the jobs of some events and waits until all are stored, or their sessions have left."""
        progress, matcher = self._progress, self._matcher
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
        metrics.lag.set(max(0, self._source.last_received - progress.position))

    async def _store(self, jobs: list[MemberJob]) -> None:
        """Stores a batch of jobs. Sessions of which one was refused leave, and so do those that left while matching."""
        refused = await self._writer.store(jobs)
        for member, job in refused:
            self._members.leave(member, job.sequence - 1, "stream")
        for member in {member for member, _ in refused}:
            member.not_before = time.monotonic() + self.settings.refused_pause
            member.note_ahead(
                [job for each, job in jobs if each is member], [job for each, job in refused if each is member]
            )
        self._progress.position = self._progress.matched
        # Only now, when all before is stored: else its mark could be saved, and jobs be missing after a crash.
        self._members.part()

    # Beside

    async def _save_often(self) -> None:
        try:
            while True:
                await coalesced_sleep(self.settings.save_every)
                try:
                    await self._save()
                except Conflict:
                    raise LeadershipLost from None
                except BrokerError as fault:
                    log.debug("the fan-out's position was not saved", extra={"fault": str(fault)})
        except asyncio.CancelledError:
            # Leaving in good order: the successor then repeats nothing.
            try:
                async with asyncio.timeout(1.0):
                    await self._save()
            except (BrokerError, TimeoutError):
                log.debug("the fan-out's last position was not saved; the successor repeats some jobs")
            raise

    async def _save(self) -> None:
        if self._progress.suspect:
            return
        await self._checkpoint.save()
        await self._cleanup.remove_deleted()

    async def _measure(self) -> None:
        """Keeps measuring the room there is."""
        waiting = self._members.waiting
        while True:
            wanted = any(member.reason in ("share", "stream") for member in waiting.values())
            if (seconds := self.room.due_in(wanted)) > 0:
                if waiting:
                    await asyncio.sleep(min(seconds, self.settings.room.every))
                else:
                    await self.room.wait(seconds)
                continue
            await self.room.measure_or_not()
            self._report()

    def _report(self) -> None:
        """Brings the metrics up to date."""
        progress = self._progress
        apart = [member for member in self._members.all.values() if not member.joined]
        reasons = Counter[str](member.reason or "past" for member in apart)
        for reason in metrics.WAITING:
            metrics.waiting.labels(reason).set(reasons[reason])
        shares = Counter("all" if share >= 0.95 else "half" if share > 0.5 else "some" for share in self.room.shares())
        for share in metrics.SHARES:
            metrics.held.labels(share).set(shares[share])
        behind = max((progress.matched - member.after for member in apart), default=0)
        metrics.backlog.set(max(0, behind))
        kept = progress.matched - progress.oldest
        metrics.backlog_share.set(min(1.0, behind / kept) if kept > 0 and behind > 0 else 0.0)
