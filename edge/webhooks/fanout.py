"""This file is where an event becomes one job for each webhook session that shows it: by one process at a time.

The owner of the role reads EVENTS in order, from a position that it keeps in LEASES under compare-and-set, so that an
owner who lost the role without noticing cannot move it. The position moves on only once every job before it is stored;
what a successor repeats has the same ids, and JetStream drops it.

A session starts at its own cursor, which usually lies behind the position: it is filled from there on its own, in order,
and joins the others in the moment it has caught up. How far each has come is kept too.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec

from edge.filtering import Filtering
from edge.matching import Matching
from edge.metrics import record_faults
from edge.registry import Registry, Session
from edge.stats import Stats
from edge.webhooks import metrics
from edge.webhooks.absence import is_gone
from edge.webhooks.job import DUE, FRESH, NEWS, PARKED, Job, Publish, partition_of
from edge.webhooks.pipeline import Pipeline, is_too_large
from router.broker import Ack, Broker, StreamState
from router.buckets import Bucket, Entry
from router.clock import wall
from router.connection import Listening
from router.cursor import UNKNOWN, Cursor, parse_time
from router.deadletters import DeadLetters, Origin, webhook_subject
from router.errors import BrokerError, Conflict, Cut, Forbidden, Refused, Timeout
from router.event import Event
from router.record import Record
from router.replay import Replay
from router.role import Lost, Role, RoleSettings
from router.stored import decoder
from router.subject import STORED
from router.topology import EVENTS, HOOKS, LEASES, RETRIES

log = logging.getLogger(__name__)

# Between two tries of a job that NATS does not allow: at first, and at most.
FORBIDDEN_SECONDS = (0.5, 5.0)

ROLE = "role.fanout"
POSITION = "fanout.position"
MARKS = "fanout.session"

# About a millisecond of asking sessions whether they show an event; then others get their turn.
MOST_LOOKS = 1000
# JetStream's code for a message that does not fit; the text says by which limit.
_NO_ROOM = 10077
# A mark of a deleted session stays a minute, for a process that was away.
_TOMBSTONE_SECONDS = 60.0
# How much earlier than the kept position the events may be stored that are fanned out again after a restore: for stores
# whose clocks differ, and for a position that was kept late.
MARGIN = timedelta(seconds=60)


@dataclass(frozen=True)
class FanoutSettings:
    """How events are turned into jobs. Times in seconds."""

    role: RoleSettings = field(default_factory=RoleSettings)
    # 512 jobs wait for their acknowledgement at once: a round trip is shared by many, and memory stays small.
    pipeline: int = 512
    # Events that were heard and not yet worked off; more are read from the store instead.
    heard: int = 4096
    # Sessions that are filled from the past at the same time.
    filling: int = 4
    save_every: float = 0.5
    # What was written of a session after its deletion is looked for this often.
    sweep_every: float = 600.0
    # Without news the store is asked this often, in case none was heard.
    look_every: float = 5.0


class _Position(msgspec.Struct):
    """Every event up to `sequence` has been turned into jobs; `check` is that of its place, where it is known."""

    epoch: str
    sequence: int
    check: int = UNKNOWN


class _Mark(msgspec.Struct):
    """How far one session has come: on its own up to `after`, and with the others since then where it has `joined`."""

    epoch: str
    after: int
    joined: bool


_position = decoder(_Position, LEASES)
_mark = decoder(_Mark, LEASES)


class _Member:
    """One webhook session in the fan-out."""

    __slots__ = ("after", "joined", "partition", "removed", "session")

    def __init__(self, session: Session, after: int, joined: bool, partition: int) -> None:
        self.session = session
        self.partition = partition
        self.after = after
        self.joined = joined
        self.removed = False


class Fanout:
    """The role that makes the jobs."""

    def __init__(
        self,
        broker: Broker,
        registry: Registry,
        stats: Callable[[str], Stats],
        pipeline: Pipeline,
        partitions: int,
        holder: str,
        settings: FanoutSettings | None = None,
        forget: Callable[[str], Awaitable[None]] | None = None,
        kept: Callable[[], Awaitable[set[str]]] | None = None,
        undecodable: Callable[[Record], None] = lambda _record: None,
        filtering: Filtering | None = None,
    ) -> None:
        """`forget` removes what else is kept of a deleted session; `undecodable` is told of each record that is no event."""
        self._undecodable = undecodable
        self._filtering = filtering or Filtering()
        self._forget_more = forget
        self._kept = kept
        self.settings = settings or FanoutSettings()
        self._broker = broker
        self._registry = registry
        self._stats = stats
        self._pipeline = pipeline
        self._partitions = partitions
        self._deadletters = DeadLetters(broker)
        self._replay = Replay(broker, undecodable)
        self._bucket = Bucket(broker.connection, LEASES)
        self._role = Role(self._bucket, ROLE, holder, self.settings.role)
        self._owning = False
        self._epoch = ""
        self._members: dict[str, _Member] = {}
        self._marks: dict[str, _Mark] = {}
        self._joined: Matching[_Member] = Matching()
        # Those of the joined that began behind what is matched, when they were last looked at.
        self._ahead: set[_Member] = set()
        # Events up to `matched` have been looked at with the joined sessions; their jobs are stored up to `position`.
        self._matched = 0
        self._position = 0
        # Up to here the predecessor had come.
        self._start = 0
        self._saved = -1
        # The newest event that was looked at: what the stream must still hold at its place.
        self._newest: tuple[int, int] = 0, UNKNOWN
        # Up to where sessions must be filled again at most, because an older state of the stream was restored.
        self._ceiling: int | None = None
        self._unfit: set[str] = set()
        self._revision = 0
        # Where this process's last term ended: counts where LEASES was made anew and nothing is kept there.
        self._former: tuple[_Position, dict[str, _Mark]] | None = None
        self._dirty: set[str] = set()
        # Whether sessions were taken from the others since the marks were kept.
        self._deferred = False
        self._gone: set[str] = set()
        self._heard: deque[Record] = deque(maxlen=self.settings.heard)
        self._last_heard = 0
        self._suspect = False
        self._news = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._room = asyncio.Semaphore(self.settings.filling)
        # Sessions whose filters are over budget queue by themselves, so that new ones do not wait for them.
        self._slow_room = asyncio.Semaphore(self.settings.filling)
        registry.on_change(self._changed)
        broker.connection.on_reconnect(self._reconnected)

    @property
    def owner(self) -> bool:
        """Whether this process fans out."""
        return self._owning

    @property
    def position(self) -> int:
        """The sequence up to which every job is stored; known to the owner."""
        return self._position

    async def run(self) -> None:
        """Fans out whenever this process owns the role, until cancelled; then releases it at once."""
        await self._role.run(self._own)

    async def _own(self) -> None:
        while True:
            try:
                await self._take_over()
                break
            except BrokerError as fault:
                log.warning("the fan-out cannot start yet", extra={"fault": str(fault)})
                await asyncio.sleep(0.5)
        self._owning = True
        metrics.owner.set(1)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for session in list(self._registry.sessions.values()):
                    self._changed(session.id, session)
                tasks.create_task(self._save_often(), name="fan-out position")
                tasks.create_task(self._forget_orphans(), name="fan-out orphans")
                tasks.create_task(self._follow(), name="fan-out")
        finally:
            self._owning = False
            self._tasks = None
            metrics.owner.set(0)
            self._former = (
                _Position(self._epoch, *self._newest)
                if self._newest[0] == self._position
                else _Position(self._epoch, self._position),
                {id: _Mark(self._epoch, each.after, each.joined) for id, each in self._members.items()},
            )
            for member in self._members.values():
                member.removed = True
            self._members.clear()
            self._joined.clear()
            self._ahead.clear()

    async def _take_over(self) -> None:
        """Reads how far the predecessor came."""
        state = await self._broker.state()
        entry = await self._bucket.get(POSITION)
        kept = _position(POSITION, entry.value) if entry else None
        self._revision = entry.revision if entry else 0
        self._epoch = state.epoch
        marks = {
            each.key.rpartition(".")[2]: mark
            for each in await self._bucket.entries(f"{MARKS}.*")
            if (mark := _mark(each.key, each.value)) is not None
        }
        if entry is None and self._former is not None:
            # Another process may have come further since: what it has stored is repeated, and nothing is passed over.
            kept, marks = self._former[0], {**self._former[1], **marks}
        if kept is None:
            # Nobody was before us. Where a predecessor's note cannot be decoded, all that is kept is fanned out again: jobs
            # that were stored lately are dropped as repeats, and none is missing.
            self._position = max(state.first - 1, 0) if entry and entry.value else state.last
        elif kept.epoch != state.epoch:
            # Another life of the stream: all it holds is news.
            self._position = max(state.first - 1, 0)
        else:
            self._position = kept.sequence
        self._replay.forget()
        await self._check_life(state, kept, entry)
        if self._newest[0] != self._position or self._newest[1] == UNKNOWN:
            self._newest = self._position, await self._replay.checks.find(self._position)
        self._matched = self._start = self._position
        self._saved = -1
        self._marks = marks
        # All of them where nothing is kept: those that come no further would else be lost with this process.
        self._dirty = set(marks) if entry is None else set()
        self._gone.clear()
        self._heard.clear()
        self._suspect = False

    async def _check_life(self, state: StreamState, kept: _Position | None, entry: Entry | None) -> None:
        """Goes back where an older state of the stream was restored since the position was kept. Raises BrokerError.

        What is stored after that is stored later than the position was, so the fan-out goes on from that time, and no
        session counts as further. Some events may be posted twice, none is passed over.
        """
        self._ceiling = None
        self._unfit.clear()
        self._newest = 0, UNKNOWN
        if kept is None or kept.epoch != state.epoch:
            return
        if kept.sequence <= state.last and await self._replay.fits(
            Cursor(kept.epoch, kept.sequence, kept.check), state
        ):
            self._newest = kept.sequence, kept.check
            return
        self._position = self._ceiling = await self._before(state, entry)
        for session in list(self._registry.sessions.values()):
            start = session.start
            known = start.epoch == state.epoch and start.check != UNKNOWN and start.sequence <= state.last
            if not known or not await self._replay.fits(start, state):
                self._unfit.add(session.id)
        log.error(
            "an older state of the event stream was restored, the fan-out goes back",
            extra={"kept": kept.sequence, "last": state.last, "after": self._position},
        )

    async def _before(self, state: StreamState, entry: Entry | None) -> int:
        """The sequence before the first event that was stored at about the time of an entry, or later."""
        oldest = max(state.first - 1, 0)
        if entry is None or not entry.stored:
            return oldest
        page = await self._broker.read(">", 0, 1, since=parse_time(entry.stored) - MARGIN)
        return max(page.records[0].sequence - 1, oldest) if page.records else state.last

    # Sessions come and go

    def _changed(self, session_id: str, session: Session | None) -> None:
        if not self._owning or self._tasks is None:
            return
        member = self._members.get(session_id)
        if session is None or session.spec.delivery_method != "webhook":
            if member is not None:
                member.removed = True
                del self._members[session_id]
                self._joined.discard(member)
                self._gone.add(session_id)
        elif member is not None:
            member.session = session
            if member in self._joined:
                self._joined.put(member, session.view)
        else:
            self._admit(session)
        self._news.set()

    def _admit(self, session: Session) -> None:
        """Takes a session in: with the others where it has nothing to catch up, else on its own until it has."""
        assert self._tasks is not None
        mark = self._marks.pop(session.id, None)
        partition = partition_of(session.id, self._partitions)
        if mark is not None and mark.epoch == self._epoch:
            # One that was heard of late, though it had joined the others before, has missed what was matched since.
            late = mark.joined and self._matched > self._start
            after = max(mark.after, self._start) if late else mark.after
            if self._ceiling is not None and after > self._ceiling:
                # It had come so far in the former life of the stream.
                after = self._ceiling if session.id in self._unfit else max(self._ceiling, session.start.sequence)
                self._dirty.add(session.id)
            member = _Member(session, after, mark.joined and not late, partition)
        else:
            start = session.start
            after = start.sequence if start.epoch == self._epoch else 0
            if self._ceiling is not None and session.id in self._unfit:
                after = min(after, self._ceiling)
            member = _Member(session, after, False, partition)
        self._members[session.id] = member
        self._gone.discard(session.id)
        if member.joined:
            self._list(member)
        elif not self._join(member):
            self._tasks.create_task(self._fill(member, self._room), name="fan-out fill")

    def _join(self, member: _Member) -> bool:
        """Lets a session join where it has seen all that was matched; nothing may be awaited around this."""
        if member.after < self._matched:
            return False
        member.joined = True
        self._list(member)
        self._dirty.add(member.session.id)
        self._news.set()
        return True

    def _list(self, member: _Member) -> None:
        """Puts a session among the joined."""
        self._joined.put(member, member.session.view)
        if member.after > self._matched:
            self._ahead.add(member)

    async def _fill(self, member: _Member, room: asyncio.Semaphore) -> None:
        """Brings one session from its own start to where the others are, page by page, at the pace of its queue."""
        async with room:
            while not member.removed:
                if self._join(member):
                    return
                try:
                    stretch = await self._replay.stretch(member.session.view.patterns, member.after, self._matched)
                    shown = await self._filtering.select(member.session.view, stretch.records)
                except BrokerError as fault:
                    log.warning("the past cannot be read", extra={"fault": str(fault)})
                    await asyncio.sleep(0.5)
                    continue
                jobs = self._jobs(member, shown)
                await self._publish(jobs, member)
                member.after = stretch.upto
                self._dirty.add(member.session.id)

    # The joined sessions

    async def _follow(self) -> None:
        """Turns events into jobs as they come."""
        listening: Listening | None = None
        try:
            while True:
                self._news.clear()
                if not self._joined:
                    # Nobody to make jobs for: what others say need not even be heard.
                    if listening is not None:
                        await listening.stop()
                        listening = None
                        self._heard.clear()
                    await self._news.wait()
                    continue
                if listening is None:
                    listening = await self._listen()
                    continue
                if self._suspect and not await self._is_settled():
                    await asyncio.sleep(0.2)
                    continue
                self._pass_over()
                records = await self._next()
                if records:
                    await self._match(records)
                else:
                    await self._wait()
        finally:
            if listening is not None:
                await listening.stop()

    def _pass_over(self) -> None:
        """Moves on to where the first of the joined begins: whoever has not joined is filled on its own."""
        if not self._ahead:
            return
        self._ahead = {member for member in self._ahead if member in self._joined and member.after > self._matched}
        if len(self._ahead) == len(self._joined):
            self._matched = self._position = min(member.after for member in self._ahead)

    async def _listen(self) -> Listening | None:
        try:
            return await self._broker.listen(">", self._hear)
        except BrokerError as fault:
            log.warning("events cannot be heard", extra={"fault": str(fault)})
            await asyncio.sleep(0.5)
            return None

    def _hear(self, record: Record) -> None:
        self._heard.append(record)
        self._last_heard = max(self._last_heard, record.sequence)
        self._news.set()

    def _reconnected(self) -> None:
        self._suspect = True
        self._news.set()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self.settings.look_every):
                await self._news.wait()
        except TimeoutError:
            self._suspect = True

    async def _is_settled(self) -> bool:
        """Finds out whether the stream is the one that was matched so far; False where it does not answer.

        Before that no position is kept: its time would be later than what may have been stored meanwhile. Raises Lost.
        """
        self._replay.checks.clear()
        try:
            state = await self._broker.state()
            continued = (
                state.epoch == self._epoch
                and state.last >= self._matched
                and await self._replay.fits(Cursor(self._epoch, *self._newest), state)
            )
        except BrokerError:
            return False
        if not continued:
            log.error("the event stream is another or was rolled back, the fan-out begins again")
            raise Lost
        self._suspect = False
        return True

    async def _next(self) -> list[Record]:
        """Gives the next events in order: those that were heard where none is missing, else from the store."""
        heard = self._heard
        while heard and heard[0].sequence <= self._matched:
            heard.popleft()
        run: list[Record] = []
        while heard and heard[0].sequence == self._matched + 1 + len(run) and len(run) < self.settings.pipeline:
            run.append(heard.popleft())
        if run:
            return run
        try:
            records = (await self._broker.read(">", self._matched)).records
            if records and records[0].sequence > self._matched + 1:
                await self._count_lost()
            return records
        except BrokerError as fault:
            log.warning("events cannot be read", extra={"fault": str(fault)})
            await asyncio.sleep(0.2)
            self._news.set()
            return []

    async def _count_lost(self) -> None:
        missing = (await self._broker.state()).first - 1 - self._matched
        if missing > 0:
            metrics.lost.inc(missing)
            log.error("events ran out of retention before they were fanned out", extra={"events": missing})

    async def _match(self, records: list[Record]) -> None:
        """Makes the jobs of some events and waits until all are stored."""
        jobs: list[tuple[_Member, Job]] = []
        deferred: list[_Member] = []
        looks = 0
        for record in records:
            # No await between a record's matching and `matched`: a session that joins in between would miss it.
            before = len(deferred)
            try:
                looks += self._match_one(record, jobs, deferred)
            except Exception as fault:  # noqa: BLE001 - logged with its traceback by `_failed`
                self._failed(record, fault)
            if len(deferred) > before:
                for member in deferred[before:]:
                    self._joined.discard(member)
            self._matched = record.sequence
            self._newest = record.sequence, record.check
            if looks >= MOST_LOOKS:
                looks = 0
                await asyncio.sleep(0)
            if len(jobs) >= self.settings.pipeline:
                await self._store_all(jobs)
                jobs.clear()
                self._position = self._matched
        await self._store_all(jobs)
        self._position = self._matched
        for member in deferred:
            # Not before its earlier jobs are stored: an ordered session gets its events in their order.
            self._begin_filling(member)
        metrics.lag.set(max(0, self._last_heard - self._position))

    def _match_one(self, record: Record, jobs: list[tuple[_Member, Job]], deferred: list[_Member]) -> int:
        """Adds the jobs of one event, and says how many sessions were asked."""
        event = record.event
        if event is None:
            self._undecodable(record)
            return 0
        match = self._joined.find(record.subject, event.type)
        seen = self._filtering.prepare(record, event, match.wanted) if match.wanted.any else None
        for member in match.keys:
            if record.sequence <= member.after:
                continue
            verdict = seen is None or self._filtering.look(member.session.view, seen)
            if verdict is None:
                deferred.append(member)
                self._defer(member, record.sequence - 1)
            elif verdict and (job := self._owed(member, record, event)) is not None:
                jobs.append((member, job))
        return len(match.keys)

    def _failed(self, record: Record, fault: Exception) -> None:
        """Passes over a record at which the fan-out failed: it becomes a dead letter, and the next has its turn."""
        log.error("a record could not be fanned out", extra={"sequence": record.sequence}, exc_info=fault)
        record_faults.labels("fanout").inc()
        record.fault = repr(fault)
        self._undecodable(record)

    def _defer(self, member: _Member, after: int) -> None:
        """Takes a session whose filter is over its principal's budget from the others; it is filled on its own."""
        self._filtering.warn(member.session.view)
        self._stats(member.session.id).slowed += 1
        member.joined = False
        member.after = after
        self._dirty.add(member.session.id)
        self._deferred = True

    def _begin_filling(self, member: _Member) -> None:
        if self._tasks is not None and not member.removed and not self._join(member):
            self._tasks.create_task(self._fill(member, self._slow_room), name="fan-out fill")

    def _jobs(self, member: _Member, records: Iterable[Record]) -> list[Job]:
        """What a session is owed of records that it shows, of those behind its place."""
        jobs: list[Job] = []
        for record in records:
            try:
                event = record.event
                if record.sequence > member.after and event is not None:
                    job = self._owed(member, record, event)
                    if job is not None:
                        jobs.append(job)
            except Exception as fault:  # noqa: BLE001 - logged with its traceback by `_failed`
                self._failed(record, fault)
        return jobs

    def _owed(self, member: _Member, record: Record, event: Event) -> Job | None:
        """What a session is owed of an event that it shows."""
        session_id = member.session.id
        if record.subject.startswith(NEWS) and event.data.get("session_id") == session_id:
            return None  # who cannot be reached need not be told so there
        return Job(
            session=session_id,
            partition=member.partition,
            event_id=event.id,
            subject=record.subject,
            sequence=record.sequence,
            payload=record.payload,
            queued=wall.now_ns(),
        )

    # Storing

    async def _publish(self, jobs: list[Job], member: _Member) -> None:
        await self._store_all([(member, job) for job in jobs], patient=True)

    async def _store_all(self, jobs: Iterable[tuple[_Member, Job]], patient: bool = False) -> None:
        """Publishes jobs side by side, those of an ordered session one after the other; returns once every one is stored,

        dead-lettered, or without a session.
        """
        pending: deque[list[tuple[_Member, Job]]] = deque()
        lines: dict[str, list[tuple[_Member, Job]]] = {}
        for member, job in await self._store_most(list(jobs)):
            if not _ordered(member.session):
                pending.append([(member, job)])
            elif (line := lines.get(job.session)) is not None:
                line.append((member, job))
            else:
                pending.append(lines.setdefault(job.session, [(member, job)]))

        async def lane() -> None:
            while pending:
                for member, job in pending.popleft():
                    await self._store(member, job, patient)

        if not pending:
            return
        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(len(pending), self.settings.pipeline)):
                lanes.create_task(lane())

    async def _store_most(self, jobs: list[tuple[_Member, Job]]) -> list[tuple[_Member, Job]]:
        """Stores what need not be in order, with one round trip for all of it; gives what is left to do with more patience."""
        left: list[tuple[_Member, Job]] = []
        free: list[tuple[_Member, Job]] = []
        for each in jobs:
            (left if _ordered(each[0].session) else free).append(each)
        for first in range(0, len(free), self.settings.pipeline):
            some = [(member, job) for member, job in free[first : first + self.settings.pipeline] if not member.removed]
            answers = await self._pipeline.send([Publish(job.address, job.payload, job.headers()) for _, job in some])
            for (member, job), answer in zip(some, answers, strict=True):
                if isinstance(answer, Ack):
                    self._stored(job, answer)
                else:
                    left.append((member, job))
        return left

    def _stored(self, job: Job, ack: Ack) -> None:
        if ack.duplicate:
            metrics.jobs.labels("repeated").inc()
        else:
            metrics.queued.inc()
            self._stats(job.session).offered(1)

    async def _store(self, member: _Member, job: Job, patient: bool) -> None:
        """Stores one job. A session whose queue is full gets a dead letter instead, or where `patient` is waited for."""
        warned = False
        pause = FORBIDDEN_SECONDS[0]
        while not member.removed:
            try:
                ack = await self._broker.store(job.address, job.payload, job.headers(), await_right=False)
            except Refused as refusal:
                if refusal.err_code == _NO_ROOM and "per subject" in refusal.description and not patient:
                    await self._give_up(
                        member.session, job, "overflow", "more events wait for this session than it may have waiting"
                    )
                    return
                if is_too_large(refusal):
                    await self._give_up(member.session, job, "too_large", refusal.description, by_reference=True)
                    return
                if not warned:
                    warned = True
                    log.warning("jobs wait for room", extra={"reason": refusal.description})
                await asyncio.sleep(0.5)
            except Cut as fault:
                await self._give_up(member.session, job, "unwritable", str(fault), by_reference=True)
                return
            except Forbidden:
                # The log says so, and readiness; each try costs the server a line in its own.
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, FORBIDDEN_SECONDS[1])
            except Timeout as fault:
                # Stored or not: the same id is tried again, for as long as the role is ours.
                log.warning("a job was not acknowledged", extra={"fault": str(fault)})
            else:
                self._stored(job, ack)
                return

    async def _give_up(self, session: Session, job: Job, reason: str, detail: str, by_reference: bool = False) -> None:
        """Makes a dead letter of a job that cannot be stored, again and again while the store does not answer."""
        endpoint = session.spec.webhook
        while True:
            try:
                await self._deadletters.bury(
                    webhook_subject(job.session),
                    job.payload,
                    origin=Origin(EVENTS, job.sequence, STORED + job.subject),
                    reason=reason,
                    detail=detail,
                    attempts=0,
                    first=job.queued,
                    destination=endpoint.destination if endpoint is not None else "",
                    source=job.session,
                    id=job.letter_id,
                    by_reference=by_reference,
                )
                break
            except BrokerError as fault:
                log.warning("a dead letter was not stored", extra={"fault": str(fault)})
                await asyncio.sleep(0.5)
        metrics.jobs.labels(reason if reason == "overflow" else "deadlettered").inc()
        stats = self._stats(job.session)
        stats.offered(1)
        stats.failed += 1
        stats.last_error = reason

    # Keeping the position

    async def _save_often(self) -> None:
        try:
            while True:
                await asyncio.sleep(self.settings.save_every)
                try:
                    await self._save()
                except Conflict:
                    raise Lost from None
                except BrokerError as fault:
                    log.debug("the fan-out's position was not kept", extra={"fault": str(fault)})
        except asyncio.CancelledError:
            # Leaving in good order: the successor then repeats nothing.
            try:
                async with asyncio.timeout(1.0):
                    await self._save()
            except (BrokerError, TimeoutError):
                log.debug("the fan-out's last position was not kept")
            raise

    async def _save(self) -> None:
        """Keeps the position, and how far those sessions came that moved. Raises Conflict where another owns the role."""
        if self._suspect:
            return
        position = self._position
        if self._deferred:
            # A session that was taken from the others is behind this position: that must be known before it is kept.
            # The position as it was is kept once more first, to know that the role is still ours.
            await self._keep_position(max(self._saved, self._start))
            self._deferred = False
            try:
                await self._keep_marks()
            except BrokerError:
                self._deferred = True
                raise
        if position != self._saved:
            await self._keep_position(position)
        await self._keep_marks()
        for session_id in list(self._gone):
            await self._forget(session_id)
            self._gone.discard(session_id)

    async def _keep_position(self, position: int) -> None:
        if (newest := self._newest)[0] == position and newest[1] != UNKNOWN:
            check = newest[1]
        else:
            # Nothing was matched there: the sessions began behind it.
            check = await self._replay.checks.find(position)
            if self._suspect:
                return
            if check != UNKNOWN and self._newest is newest and newest[0] <= position:
                self._newest = position, check
        value = msgspec.json.encode(_Position(self._epoch, position, check))
        try:
            self._revision = await self._bucket.update(POSITION, value, self._revision)
        except Conflict:
            # A save whose answer was lost is our own.
            entry = await self._bucket.get(POSITION)
            if entry is None or entry.value != value:
                raise
            self._revision = entry.revision
        self._saved = position

    async def _keep_marks(self) -> None:
        for session_id in list(self._dirty):
            self._dirty.discard(session_id)
            if (member := self._members.get(session_id)) is None:
                continue
            mark = _Mark(self._epoch, member.after, member.joined)
            try:
                await self._bucket.put(f"{MARKS}.{session_id}", msgspec.json.encode(mark))
            except BrokerError:
                self._dirty.add(session_id)
                raise

    async def _forget(self, session_id: str) -> None:
        """Removes what a deleted session has left waiting."""
        for stream, subjects in (
            (HOOKS, f"{FRESH}.*.{session_id}"),
            (HOOKS, f"{PARKED}.*.{session_id}.*"),
            (RETRIES, f"{DUE}.*.{session_id}"),
        ):
            await self._broker.connection.api(f"STREAM.PURGE.{stream}", {"filter": subjects})
        if self._forget_more is not None:
            await self._forget_more(session_id)
        await self._bucket.delete(f"{MARKS}.{session_id}", _TOMBSTONE_SECONDS)

    async def _forget_orphans(self) -> None:
        """Finds what is left of sessions that were deleted while nobody owned the role, or that was written after that."""
        while True:
            try:
                left = set(self._marks) | await self._waiting_sessions()
                if self._kept is not None:
                    left |= await self._kept()
            except BrokerError as fault:
                log.debug("what sessions left cannot be listed", extra={"fault": str(fault)})
                left = set(self._marks)
            for session_id in left - self._registry.sessions.keys():
                await self._forget_if_gone(session_id)
            await asyncio.sleep(self.settings.sweep_every)

    async def _waiting_sessions(self) -> set[str]:
        """The sessions for which jobs lie in the streams, as far as one listing tells; the next one tells of others."""
        found: set[str] = set()
        for stream, subjects in ((HOOKS, "hook.>"), (RETRIES, f"{DUE}.>")):
            request = {"subjects_filter": subjects}
            info = await self._broker.connection.api(f"STREAM.INFO.{stream}", request, timeout=10)
            found.update(subject.split(".")[3] for subject in info["state"].get("subjects") or {})
        return found

    async def _forget_if_gone(self, session_id: str) -> None:
        try:
            gone = await is_gone(self._broker.connection, self._registry, session_id)
        except BrokerError as fault:
            log.debug("a session could not be looked up", extra={"fault": str(fault)})
            return
        if gone:
            self._marks.pop(session_id, None)
            self._gone.add(session_id)


def _ordered(session: Session) -> bool:
    """Whether a session's jobs must lie in HOOKS in the order of their events."""
    return session.spec.webhook is not None and session.spec.webhook.mode != "unordered"
