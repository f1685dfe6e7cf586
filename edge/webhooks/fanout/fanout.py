"""Turns each event into one job for each webhook session that shows it: in one process at a time.

The owner of the role reads EVENTS in order, from a position that it keeps in LEASES under compare-and-set, so that an
owner who lost the role without noticing cannot move it. The position moves on only once every job before it is stored;
what a successor repeats has the same ids, and JetStream drops it.

A session starts at its own cursor, which usually lies behind the position: it is filled from there on its own, in order,
and joins the others in the moment it has caught up. How far each has come is kept too.

A session whose endpoint takes nothing, or that holds its share of HOOKS, gets no more jobs: it leaves the others, is such a
cursor again, and is filled once there is room (`edge.webhooks.fanout.admission`). So nobody waits for it, and what it is owed lies
in EVENTS, where it costs nothing. What EVENTS no longer has by then is told as a gap.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

from edge.filters.evaluation import Filtering
from edge.filters.matching import Matching
from edge.metrics import record_faults
from edge.sessions.registry import Registry, Session, is_deleted
from edge.stats import Stats
from edge.webhooks import metrics
from edge.webhooks.endpoint.breaker import CircuitBreakerSettings, EndpointState
from edge.webhooks.fanout.admission import Admission, Reason
from edge.webhooks.fanout.gaps import tell_gap
from edge.webhooks.fanout.marks import MARKS, Mark, read_mark
from edge.webhooks.queue.job import DUE, FRESH, NEWS, PARKED, SCHEDULED, Job, partition_of
from edge.webhooks.queue.room import Room, RoomSettings
from router.broker import Broker, StreamState
from router.clock import wall
from router.cluster.role import Lost, Role, RoleSettings
from router.cursor import UNKNOWN, Cursor, parse_time
from router.deadletter import Origin, webhook_subject
from router.deadletters import DeadLetters
from router.errors import BrokerError, Conflict, Cut, Forbidden, Refused, Timeout
from router.event import Event
from router.nats.bucket import Bucket, Entry
from router.nats.publisher import Publish, Publisher, is_too_large
from router.nats.refusals import has_no_room
from router.nats.stream import Ack
from router.record import Record
from router.replay import Replay
from router.stored import decoder
from router.subject import STORED
from router.topology import EVENTS, HOOKS, LEASES, RETRIES

log = logging.getLogger(__name__)

# Between two tries of a job that NATS does not allow: at first, and at most.
FORBIDDEN_SECONDS = (0.5, 5.0)

ROLE = "role.fanout"
POSITION = "fanout.position"

# About a millisecond of asking sessions whether they show an event; then others get their turn.
MOST_LOOKS = 1000
# Pages that a session is filled with before the next one has its turn.
MOST_PAGES = 16
# A mark of a deleted session stays a minute, for a process that was away.
_TOMBSTONE_SECONDS = 60.0
# How much earlier than the kept position the events may be stored that are fanned out again after a restore: for stores
# whose clocks differ, and for a position that was kept late.
MARGIN = timedelta(seconds=60)


class Subscription(Protocol):
    """What hears events until it is stopped."""

    async def stop(self) -> None:
        """Ends it."""


# (heard, doubted) -> subscription: hears every event, and says where some may have been missed. Raises BrokerError.
Subscribe = Callable[[Callable[[Record], None], Callable[[], None]], Awaitable[Subscription]]


@dataclass(frozen=True)
class FanoutSettings:
    """How events are turned into jobs. Times in seconds."""

    role: RoleSettings = field(default_factory=RoleSettings)
    # 512 jobs wait for their acknowledgement at once: a round trip is shared by many, and memory stays small.
    pipeline: int = 512
    # Events that were heard and not yet worked off; more are read from the store instead.
    heard: int = 4096
    # Sessions that are filled from the past at the same time, and how often it is looked which of those that wait may be.
    filling: int = 4
    room_every: float = 0.1
    room: RoomSettings = field(default_factory=RoomSettings)
    # After HOOKS refused a job for want of room.
    refused_pause: float = 1.0
    # How often it is looked whether what waits in EVENTS is too old, or gone; and how often at most a session is told of what
    # goes while it waits.
    expire_every: float = 5.0
    gap_every: float = 3600.0
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


_position = decoder(_Position, LEASES)


class _Member:
    """One webhook session in the fan-out."""

    __slots__ = (
        "after",
        "ahead",
        "expired",
        "gap_due",
        "joined",
        "leaving",
        "not_before",
        "partition",
        "reason",
        "removed",
        "session",
        "since",
        "slow",
    )

    def __init__(self, session: Session, after: int, joined: bool, partition: int, since: int | None = None) -> None:
        self.session = session
        self.partition = partition
        # Where it is not joined: all its jobs up to this event are stored.
        self.after = after
        self.joined = joined
        # Where it leaves the others behind this event; counts once the jobs of that turn are stored.
        self.leaving: int | None = None
        # Jobs behind `after` that are stored nevertheless.
        self.ahead: set[int] = set()
        # Why it is not joined; "" while it is filled.
        self.reason: Reason = ""
        # Events behind `since` become dead letters once they have waited too long: those up to `expired`. None: not found yet.
        self.since = since
        self.expired = 0
        # HOOKS refused a job of it: it is tried again no sooner.
        self.not_before = 0.0
        # When it may be told the next time that events ran out of retention while it waits.
        self.gap_due = 0.0
        # Whether its filter was over its principal's budget since it joined.
        self.slow = False
        self.removed = False


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
        """`subscribe` hears events by what the process has subscribed already; without it the fan-out subscribes by itself.

        `forget` removes what else is kept of a deleted session; `undecodable` is told of each record that is no event.

        `condition` gives what the owner of an endpoint last said of it. Events wait at most `keep` seconds for an endpoint,
        where its session does not say how long.
        """
        self._undecodable = undecodable
        self._filtering = filtering or Filtering()
        self._forget_more = forget
        self._kept = kept
        self.settings = settings or FanoutSettings()
        self._broker = broker
        self._registry = registry
        self._stats = stats
        self._publisher = publisher
        self._partitions = partitions
        self._deadletters = DeadLetters(broker)
        self._replay = Replay(broker, undecodable)
        self._bucket = Bucket(broker.connection, LEASES)
        self._role = Role(self._bucket, ROLE, holder, self.settings.role)
        self._owning = False
        self._epoch = ""
        self._members: dict[str, _Member] = {}
        self._marks: dict[str, Mark] = {}
        self.room = Room(broker, self.settings.room)
        self._admission = Admission(self.room, condition, health)
        self._condition = condition
        self._keep = keep
        self._joined: Matching[_Member] = Matching()
        # Those of the joined that began behind what is matched, when they were last looked at.
        self._ahead: set[_Member] = set()
        # Those that left in this turn, and those that wait to be filled on.
        self._leaving: list[_Member] = []
        self._waiting: dict[str, _Member] = {}
        # The sequence before the oldest event at the beginning of this term.
        self._oldest = 0
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
        self._former: tuple[_Position, dict[str, Mark]] | None = None
        self._dirty: set[str] = set()
        # Whether sessions were taken from the others since the marks were kept.
        self._deferred = False
        self._gone: set[str] = set()
        self._heard: deque[Record] = deque(maxlen=self.settings.heard)
        self._last_heard = 0
        self._suspect = False
        # Whether the store may have events behind `matched` that were not and will not be heard.
        self._behind = True
        self._subscribe = subscribe or self._subscribe_alone
        self._news = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._filling = asyncio.Semaphore(self.settings.filling)
        # Sessions whose filters are over budget queue by themselves, so that new ones do not wait for them.
        self._slow_filling = asyncio.Semaphore(self.settings.filling)
        registry.on_change(self._changed)
        broker.connection.on_reconnect(self._doubt)

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
                tasks.create_task(self._catch_up(), name="fan-out backlog")
                tasks.create_task(self._measure(), name="fan-out room")
                tasks.create_task(self._expire_often(), name="fan-out expiry")
                tasks.create_task(self._follow(), name="fan-out")
        finally:
            self._owning = False
            self._tasks = None
            metrics.owner.set(0)
            self._former = (
                _Position(self._epoch, *self._newest)
                if self._newest[0] == self._position
                else _Position(self._epoch, self._position),
                {id: Mark(self._epoch, each.after, each.joined, each.since) for id, each in self._members.items()},
            )
            for member in self._members.values():
                member.removed = True
            self._members.clear()
            self._joined.clear()
            self._ahead.clear()
            self._leaving.clear()
            self._waiting.clear()
            self._admission.clear()
            self._report()

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
            if (mark := read_mark(each.key, each.value)) is not None
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
        self._oldest = max(state.first - 1, 0)
        await self._check_life(state, kept, entry)
        await self.room.measure_or_not()
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

    async def _last_before(self, moment: float, state: StreamState) -> int:
        """The sequence of the last event that was stored before a time. Raises BrokerError."""
        page = await self._broker.read(">", 0, 1, since=datetime.fromtimestamp(moment, UTC))
        return page.records[0].sequence - 1 if page.records else state.last

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
                self._waiting.pop(session_id, None)
                self._admission.forget(session_id)
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
            member = _Member(session, after, mark.joined and not late, partition, mark.since)
        else:
            start = session.start
            after = start.sequence if start.epoch == self._epoch else self._oldest
            if self._ceiling is not None and session.id in self._unfit:
                after = min(after, self._ceiling)
            member = _Member(session, after, False, partition)
        self._members[session.id] = member
        self._gone.discard(session.id)
        if member.joined:
            self._list(member)
        elif not self._join(member):
            self._tasks.create_task(self._fill(member, self._filling), name="fan-out fill")

    def _join(self, member: _Member) -> bool:
        """Lets a session join where it has seen all that was matched; nothing may be awaited around this."""
        if member.after < self._matched:
            return False
        member.joined = True
        member.reason, member.slow = "", False
        member.ahead.clear()
        self._list(member)
        self._dirty.add(member.session.id)
        self._news.set()
        return True

    def _list(self, member: _Member) -> None:
        """Puts a session among the joined."""
        self._joined.put(member, member.session.view)
        if member.after > self._matched:
            self._ahead.add(member)

    # Sessions on their own

    async def _fill(self, member: _Member, turn: asyncio.Semaphore) -> None:
        """Brings one session towards where the others are, page by page, as long as it may have jobs; then it waits."""
        try:
            async with turn:
                for _ in range(MOST_PAGES):
                    if member.removed or self._join(member):
                        return
                    member.reason = self._admission.may_go_on(member.session)
                    if (member.reason and member.expired <= member.after) or not await self._fill_page(member):
                        break
        finally:
            if not member.joined and not member.removed:
                self._waiting[member.session.id] = member

    async def _fill_page(self, member: _Member) -> bool:
        """Stores the next jobs of one session; says whether it may go on at once."""
        session = member.session
        try:
            stretch = await self._replay.stretch(session.view.patterns, member.after, self._matched)
            shown = await self._filtering.select(session.view, stretch.records)
            # What ran out while it was read is missing in it.
            if await self._is_lost(member):
                return True
        except BrokerError as fault:
            log.warning("the past cannot be read", extra={"fault": str(fault)})
            await asyncio.sleep(0.5)
            return False
        # An endpoint that takes nothing may have what it waited for too long: dead letters.
        upto = min(stretch.upto, member.expired) if member.reason else stretch.upto
        jobs: list[tuple[_Member, Job]] = []
        for job in self._jobs(member, shown):
            if job.sequence > upto or job.sequence in member.ahead:
                continue
            if job.sequence <= member.expired:
                await self._expire(session, job)
            elif reason := self._admission.take(session, job):
                member.reason, upto = reason, job.sequence - 1
                break
            else:
                jobs.append((member, job))
        refused = await self._store_all(jobs)
        if refused:
            member.reason, upto = "stream", min(job.sequence for _, job in refused) - 1
            member.not_before = time.monotonic() + self.settings.refused_pause
            self._note_ahead(member, (job for _, job in jobs), refused)
        member.after = max(member.after, upto)
        member.ahead = {sequence for sequence in member.ahead if sequence > member.after}
        self._dirty.add(session.id)
        return not member.reason

    async def _expire(self, session: Session, job: Job) -> None:
        condition = self._condition(session.id)
        disabled = condition is not None and condition.state == "disabled"
        reason = "endpoint_disabled" if disabled else "ttl_expired"
        await self._give_up(session, job, reason, "it waited for its endpoint for longer than it may")

    async def _expire_often(self) -> None:
        """Looks how long waiting sessions have waited, and whether EVENTS still has what they wait for."""
        while True:
            await asyncio.sleep(self.settings.expire_every)
            try:
                if self._waiting:
                    await self._look_after_waiting()
            except BrokerError as fault:
                log.debug("what waits in the event store cannot be looked after", extra={"fault": str(fault)})

    async def _look_after_waiting(self) -> None:
        """Notes up to where events are too old for each session. Raises BrokerError."""
        state = await self._broker.state()
        self._oldest = max(state.first - 1, 0)
        # By how long they may wait, which is the same for most.
        expired: dict[float, int] = {}
        for member in list(self._waiting.values()):
            endpoint = member.session.spec.webhook
            patience = endpoint.max_age if endpoint is not None and endpoint.max_age is not None else self._keep
            if member.since is None:
                # What was there before the session is the past that it asked for.
                member.since = await self._last_before(member.session.spec.created / 1e9, state)
            if patience not in expired:
                expired[patience] = await self._last_before(wall.now() - patience, state)
            if member.after >= member.since:
                member.expired = min(expired[patience], self._matched)
            now = time.monotonic()
            if self._oldest > member.after and now >= member.gap_due and member.session.id in self._waiting:
                member.gap_due = now + self.settings.gap_every
                await self._is_lost(member)

    async def _is_lost(self, member: _Member) -> bool:
        """Whether events ran out of retention before a session got them; then that was told, and it is behind them.

        Raises BrokerError.
        """
        before_first = max((await self._broker.state()).first - 1, 0)
        if before_first <= member.after:
            return False
        await tell_gap(self._broker, member.session, member.after + 1, before_first)
        self._stats(member.session.id).gaps += 1
        member.after = max(member.after, before_first)
        self._dirty.add(member.session.id)
        return True

    def _note_ahead(self, member: _Member, jobs: Iterable[Job], refused: Iterable[tuple[_Member, Job]]) -> None:
        """Remembers which jobs behind a refused one are stored: their ids are known to the stream for ten minutes only."""
        failed = {job.sequence for each, job in refused if each is member}
        first = min(failed)
        member.ahead |= {job.sequence for job in jobs if job.sequence > first} - failed

    async def _catch_up(self) -> None:
        """Fills the sessions that wait as soon as they may have jobs."""
        assert self._tasks is not None
        while True:
            await asyncio.sleep(self.settings.room_every)
            now = time.monotonic()
            for session_id, member in list(self._waiting.items()):
                if member.not_before > now:
                    continue
                member.reason = self._admission.may_go_on(member.session)
                if not member.reason or member.expired > member.after:
                    del self._waiting[session_id]
                    turn = self._slow_filling if member.slow else self._filling
                    self._tasks.create_task(self._fill(member, turn), name="fan-out fill")

    async def _measure(self) -> None:
        """Keeps measuring the room there is."""
        while True:
            wanted = any(member.reason in ("share", "stream") for member in self._waiting.values())
            if (seconds := self.room.due_in(wanted)) > 0:
                await asyncio.sleep(min(seconds, self.settings.room.every))
                continue
            await self.room.measure_or_not()
            self._report()

    def _report(self) -> None:
        """Brings the metrics up to date."""
        apart = [member for member in self._members.values() if not member.joined]
        reasons = Counter[str](member.reason or "past" for member in apart)
        for reason in metrics.WAITING:
            metrics.waiting.labels(reason).set(reasons[reason])
        shares = Counter("all" if share >= 0.95 else "half" if share > 0.5 else "some" for share in self.room.shares())
        for share in metrics.SHARES:
            metrics.held.labels(share).set(shares[share])
        behind = max((self._matched - member.after for member in apart), default=0)
        metrics.backlog.set(max(0, behind))
        kept = self._matched - self._oldest
        metrics.backlog_share.set(min(1.0, behind / kept) if kept > 0 and behind > 0 else 0.0)

    # The joined sessions

    async def _follow(self) -> None:
        """Turns events into jobs as they come."""
        listening: Subscription | None = None
        try:
            while True:
                self._news.clear()
                if not self._members:
                    # Nobody to make jobs for: what others say need not even be heard.
                    if listening is not None:
                        await listening.stop()
                        listening = None
                        self._heard.clear()
                    await self._news.wait()
                    continue
                if listening is None:
                    listening = await self._listen()
                    # What was stored before that is not heard.
                    self._behind = True
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
        if self._ahead and len(self._ahead) == len(self._joined):
            self._matched = self._position = min(member.after for member in self._ahead)

    async def _subscribe_alone(self, heard: Callable[[Record], None], _doubted: Callable[[], None]) -> Subscription:
        return await self._broker.listen(">", heard)

    async def _listen(self) -> Subscription | None:
        try:
            return await self._subscribe(self._hear, self._doubt)
        except BrokerError as fault:
            log.warning("events cannot be heard", extra={"fault": str(fault)})
            await asyncio.sleep(0.5)
            return None

    def _hear(self, record: Record) -> None:
        self._heard.append(record)
        self._last_heard = max(self._last_heard, record.sequence)
        self._news.set()

    def _doubt(self) -> None:
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
        self._behind = self._behind or state.last > self._matched
        return True

    async def _next(self) -> list[Record]:
        """Gives the next events in order: those that were heard where none is missing, else from the store.

        Where none was heard and none can be missing, the store is not asked.
        """
        heard = self._heard
        while heard and heard[0].sequence <= self._matched:
            heard.popleft()
        run: list[Record] = []
        while heard and heard[0].sequence == self._matched + 1 + len(run) and len(run) < self.settings.pipeline:
            run.append(heard.popleft())
        if run or not (heard or self._behind):
            return run
        try:
            page = await self._broker.read(">", self._matched)
            self._behind = page.more
            records = page.records
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
            assert self._tasks is not None
            first, last = self._matched + 1, self._matched + missing
            self._tasks.create_task(self._tell_all(first, last), name="fan-out gap")

    async def _tell_all(self, first: int, last: int) -> None:
        """Tells a gap to every session that the fan-out itself was too late for."""
        for member in [member for member in self._joined if member.after < last]:
            self._stats(member.session.id).gaps += 1
            try:
                await tell_gap(self._broker, member.session, max(first, member.after + 1), last)
            except BrokerError as fault:
                log.warning("a gap was not told", extra={"session": member.session.id, "fault": str(fault)})

    async def _match(self, records: list[Record]) -> None:
        """Makes the jobs of some events and waits until all are stored, or their sessions have left."""
        jobs: list[tuple[_Member, Job]] = []
        looks = 0
        for record in records:
            # No await between a record's matching and `matched`: a session that joins in between would miss it.
            try:
                looks += self._match_one(record, jobs)
            except Exception as fault:  # noqa: BLE001 - logged with its traceback by `_failed`
                self._failed(record, fault)
            self._matched = record.sequence
            self._newest = record.sequence, record.check
            if looks >= MOST_LOOKS:
                looks = 0
                await asyncio.sleep(0)
            if len(jobs) >= self.settings.pipeline:
                await self._store_turn(jobs)
                jobs.clear()
        await self._store_turn(jobs)
        metrics.lag.set(max(0, self._last_heard - self._position))

    async def _store_turn(self, jobs: list[tuple[_Member, Job]]) -> None:
        """Stores the jobs of one turn. Sessions of which one was refused leave, and so do those that left while matching."""
        refused = await self._store_all(jobs)
        for member, job in refused:
            self._leave(member, job.sequence - 1, "stream")
        for member in {member for member, _ in refused}:
            member.not_before = time.monotonic() + self.settings.refused_pause
            self._note_ahead(member, (job for each, job in jobs if each is member), refused)
        self._position = self._matched
        # Only now, when all before is stored: else its mark could be kept, and jobs be missing after a crash.
        leaving, self._leaving = self._leaving, []
        for member in leaving:
            assert member.leaving is not None
            member.joined, member.after, member.leaving = False, member.leaving, None
            self._joined.discard(member)
            member.since = member.after
            self._dirty.add(member.session.id)
            self._deferred = True
            if not member.removed:
                self._waiting[member.session.id] = member

    def _match_one(self, record: Record, jobs: list[tuple[_Member, Job]]) -> int:
        """Adds the jobs of one event, and says how many sessions were asked."""
        event = record.event
        if event is None:
            self._undecodable(record)
            return 0
        match = self._joined.find(record.subject, event.type)
        seen = self._filtering.prepare(record, event, match.wanted) if match.wanted.any else None
        for member in match.keys:
            if member.leaving is not None or record.sequence <= member.after:
                continue
            verdict = seen is None or self._filtering.look(member.session.view, seen)
            if verdict is None:
                # Its filter is over its principal's budget: it is filled on its own.
                self._filtering.warn(member.session.view)
                self._stats(member.session.id).slowed += 1
                member.slow = True
                self._leave(member, record.sequence - 1, "filter")
            elif verdict and (job := self._owed(member, record, event)) is not None:
                if reason := self._admission.take(member.session, job):
                    self._leave(member, record.sequence - 1, reason)
                else:
                    jobs.append((member, job))
        return len(match.keys)

    def _failed(self, record: Record, fault: Exception) -> None:
        """Passes over a record at which the fan-out failed: it becomes a dead letter, and the next has its turn."""
        log.error("a record could not be fanned out", extra={"sequence": record.sequence}, exc_info=fault)
        record_faults.labels("fanout").inc()
        record.fault = repr(fault)
        self._undecodable(record)

    def _leave(self, member: _Member, after: int, reason: Reason) -> None:
        """Takes a session from the others behind an event; it is filled on its own."""
        if member.leaving is None:
            self._leaving.append(member)
            member.leaving, member.reason = after, reason
        else:
            member.leaving = min(member.leaving, after)

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

    async def _store_all(self, jobs: Sequence[tuple[_Member, Job]]) -> list[tuple[_Member, Job]]:
        """Publishes jobs side by side, those of an ordered session one after the other, and gives those without room.

        Every other is stored, dead-lettered, or without a session. Of an ordered session nothing behind a job without room
        is stored.
        """
        pending: deque[list[tuple[_Member, Job]]] = deque()
        lines: dict[str, list[tuple[_Member, Job]]] = {}
        refused: list[tuple[_Member, Job]] = []
        for member, job in await self._store_most(jobs, refused):
            if not _ordered(member.session):
                pending.append([(member, job)])
            elif (line := lines.get(job.session)) is not None:
                line.append((member, job))
            else:
                pending.append(lines.setdefault(job.session, [(member, job)]))

        async def lane() -> None:
            while pending:
                line = pending.popleft()
                for place, (member, job) in enumerate(line):
                    if not await self._store(member, job):
                        refused.extend(line[place:])
                        break

        if pending:
            async with asyncio.TaskGroup() as lanes:
                for _ in range(min(len(pending), self.settings.pipeline)):
                    lanes.create_task(lane())
        for _, job in jobs:
            self.room.settled(job.session)
        return refused

    async def _store_most(
        self, jobs: Sequence[tuple[_Member, Job]], refused: list[tuple[_Member, Job]]
    ) -> list[tuple[_Member, Job]]:
        """Stores what need not be in order, with one round trip for all of it; gives what is left to do with more patience.

        What there is no room for is added to `refused`.
        """
        left: list[tuple[_Member, Job]] = []
        free: list[tuple[_Member, Job]] = []
        for each in jobs:
            (left if _ordered(each[0].session) else free).append(each)
        for first in range(0, len(free), self.settings.pipeline):
            some = [(member, job) for member, job in free[first : first + self.settings.pipeline] if not member.removed]
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

    async def _store(self, member: _Member, job: Job) -> bool:
        """Stores one job, or makes a dead letter of it; False where there is no room for it."""
        pause = FORBIDDEN_SECONDS[0]
        while not member.removed:
            try:
                ack = await self._broker.store(job.address, job.payload, job.headers(), await_right=False)
            except Refused as refusal:
                if is_too_large(refusal):
                    await self._give_up(member.session, job, "too_large", refusal.description, by_reference=True)
                    return True
                if has_no_room(refusal):
                    return False
                log.warning("a job was refused", extra={"reason": refusal.description})
                await asyncio.sleep(0.5)
            except Cut as fault:
                await self._give_up(member.session, job, "unwritable", str(fault), by_reference=True)
                return True
            except Forbidden:
                # The log says so, and readiness; each try costs the server a line in its own.
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, FORBIDDEN_SECONDS[1])
            except Timeout as fault:
                # Stored or not: the same id is tried again, for as long as the role is ours.
                log.warning("a job was not acknowledged", extra={"fault": str(fault)})
            else:
                self._stored(job, ack)
                return True
        return True

    async def _give_up(self, session: Session, job: Job, reason: str, detail: str, by_reference: bool = False) -> None:
        """Makes a dead letter of a job that cannot be stored, again and again while the store does not answer."""
        endpoint = session.spec.webhook
        while True:
            try:
                await self._deadletters.add(
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
        metrics.jobs.labels("deadlettered").inc()
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
            mark = Mark(self._epoch, member.after, member.joined, member.since)
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
            (RETRIES, f"{SCHEDULED}.{session_id}.*"),
        ):
            await self._broker.stream(stream).purge(subjects)
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
            listing = await self._broker.stream(stream).page_of_subjects(subjects)
            found.update(subject.split(".")[3] for subject in listing.subjects)
        return found

    async def _forget_if_gone(self, session_id: str) -> None:
        try:
            gone = await is_deleted(self._registry, session_id)
        except BrokerError as fault:
            log.debug("a session could not be looked up", extra={"fault": str(fault)})
            return
        if gone:
            self._marks.pop(session_id, None)
            self._gone.add(session_id)


def _ordered(session: Session) -> bool:
    """Whether a session's jobs must lie in HOOKS in the order of their events."""
    return session.spec.webhook is not None and session.spec.webhook.mode != "unordered"
