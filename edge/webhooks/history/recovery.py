"""This file is where deliveries are asked for once more: one, all that failed since a time, or a stretch of the past.

A recovery is kept in the bucket JOBS: what is meant, how far it has come. Whichever process holds the role works them; where
it dies, the next one takes them over. What a recovery asks for is fixed when it is made, and each delivery is asked for
under an id of the recovery and its own: what a crash left unnoted is asked for again, and JetStream drops the repeat.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from edge.errors import Problem
from edge.filters.evaluation import Filtering
from edge.jobs import ENDED, BackgroundJob, JobFailed, JobRun, Jobs, new_id
from edge.sessions.registry import Registry, Session
from edge.webhooks.history.attempts import Attempt, Attempts, Part
from edge.webhooks.queue.job import NEWS, Job
from edge.webhooks.queue.letters import SentAgain
from edge.webhooks.queue.room import Room
from router.broker import Broker
from router.clock import wall
from router.cluster.role import RoleSettings
from router.codec import rfc3339
from router.cursor import Cursor, Start, parse_time
from router.errors import BadEvent, Refused
from router.nats.bucket import WriteGuard
from router.nats.refusals import has_no_room
from router.rates import EvenPace
from router.record import Record
from router.replay import Replay

log = logging.getLogger(__name__)

Kind = Literal["recover", "replay"]

ROLE = "role.recoveries"
# Recoveries of one session that are not over; more are refused.
MOST_RECOVERIES = 4
# Deliveries that one recovery may be about: their ids are held in memory by whoever works it.
MOST_DELIVERIES = 200_000
MIN_RATE, MAX_RATE, DEFAULT_RATE = 0.1, 10_000.0, 100.0
# Pages of dead letters that one resend looks through for its own.
RESEND_PAGES = 20


@dataclass(frozen=True)
class RecoverySettings:
    """How recoveries are worked. Times in seconds."""

    role: RoleSettings = field(default_factory=RoleSettings)
    # Deliveries between two notes of how far it has come, or so long: what is asked for again after a crash.
    chunk: int = 100
    note_every: float = 0.5
    # Recoveries at work side by side; the others wait their turn.
    side_by_side: int = 4
    # What cannot be taken right now (a full queue, NATS away) is tried again after this.
    pause: float = 0.5
    keep: float = 7 * 86400.0


class Recovery(BackgroundJob, kw_only=True, omit_defaults=True):
    """One order to deliver again, and how far it has come.

    A `recover` is about attempts between two places of ATTEMPTS, a `replay` about events between two of EVENTS; `after` is
    the place in EVENTS up to which all has been asked for.
    """

    session: str
    kind: Kind
    since: str = ""
    until: str = ""
    first: int = 0
    last: int = 0
    rate: float = DEFAULT_RATE
    total: int | None = None

    def describe(self) -> dict[str, Any]:
        """The recovery as the API shows it."""
        return {
            "id": self.id,
            "session_id": self.session,
            "kind": self.kind,
            "state": self.state,
            "since": self.since or None,
            "until": self.until or None,
            "rate": self.rate,
            # Of a replay it is known only at its end how many of the events the session shows.
            "total": self.total,
            "sent": self.sent,
            # Deliveries whose event is no longer kept.
            "skipped": self.skipped,
            "created": rfc3339(self.created),
            "updated": rfc3339(self.updated or self.created),
            "ended": rfc3339(self.ended) if self.ended else None,
            "error": self.error or None,
        }


class Recoveries:
    """The recoveries of a deployment: every process knows them, the one that holds the role works them."""

    def __init__(
        self,
        broker: Broker,
        registry: Registry,
        partitions: int,
        settings: RecoverySettings | None = None,
        filtering: Filtering | None = None,
        guard: WriteGuard | None = None,
    ) -> None:
        self.settings = settings or RecoverySettings()
        self._filtering = filtering or Filtering()
        self.attempts = Attempts(broker)
        self.sent_again = SentAgain(broker)
        self.broker = broker
        self.registry = registry
        self.partitions = partitions
        self._jobs: Jobs[Recovery, _Run] = Jobs(
            broker.connection, "recovery", ROLE, Recovery, self._begin, self.settings, guard
        )
        # What is asked for again counts as any other job of its session, and waits for its share of HOOKS.
        self.room = Room(broker)
        self._replay = Replay(broker)
        # What was read before may be of another life of the stream.
        broker.connection.on_reconnect(self._replay.forget)

    @property
    def known(self) -> Mapping[str, Recovery]:
        """The recoveries and replays of the last week, by their ids."""
        return self._jobs.known

    async def run(self) -> None:
        """Knows the recoveries, and works them whenever this process holds the role; until cancelled."""
        await self._jobs.run()

    # What the API asks

    async def resend(self, session: Session, delivery: str, unique: str | None = None) -> int:
        """Asks for one delivery again, now; says how many events it carries. The same `unique` twice is one.

        Raises Problem `attempt_not_found` or `event_gone`, or BrokerError.
        """
        attempts = await self.attempts.of(session.id, delivery)
        if not attempts:
            raise Problem("attempt_not_found", f"nothing is known of a delivery {delivery[:60]!r} of this session")
        parts = attempts[-1].deliveries
        # A batch as a whole, or the one of it that is meant.
        wanted = [parts[delivery]] if delivery in parts else list(parts.values())
        records = [await self.record(part, session) for part in wanted]
        if all(record is None for record in records):
            raise Problem("event_gone", "the event is older than what is kept")
        unique = unique or secrets.token_hex(8)
        letters: Mapping[int, tuple[int, ...]] = {}
        if failed := [attempt.begun for attempt in attempts if not attempt.ok]:
            # It was buried right after the last attempt that failed.
            places = {part.sequence for part in wanted}
            letters = await self.sent_again.find(session.id, places, failed[-1] / 1e9, RESEND_PAGES)
        for record in records:
            if record is not None:
                await self.ask_again(
                    session.id, record, f"resend.{delivery}.{unique}", letters.get(record.sequence, ())
                )
        return sum(record is not None for record in records)

    async def recover(self, session: Session, since: datetime, until: datetime | None, rate: float) -> Recovery:
        """Makes a recovery of all deliveries that failed for good since a time. Raises Problem or BrokerError."""
        first = await self.attempts.after(since)
        last = (await self.attempts.span())[1] if until is None else await self.attempts.after(until)
        return await self._start(
            session,
            "recover",
            first=first,
            last=last,
            rate=rate,
            since=_text(since),
            until=_text(until or datetime.fromtimestamp(wall.now(), UTC)),
        )

    async def replay(self, session: Session, start: Start, end: Start | None, rate: float) -> Recovery:
        """Makes a replay of a stretch of the past, as far as it is kept. Raises Problem or BrokerError."""
        state = await self.broker.state()
        patterns = session.view.patterns
        first = (await self._replay.place(start, patterns, state)).after
        last = state.last if end is None else (await self._replay.place(end, patterns, state)).after
        return await self._start(
            session,
            "replay",
            first=first,
            last=last,
            after=first,
            rate=rate,
            since=str(Cursor(state.epoch, first, self._replay.checks.known(first))),
            until=str(Cursor(state.epoch, last, self._replay.checks.known(last))),
        )

    async def _start(self, session: Session, kind: Kind, **more: Any) -> Recovery:
        if sum(each.state not in ENDED for each in await self.of(session.id)) >= MOST_RECOVERIES:
            raise Problem("too_many_recoveries", f"{MOST_RECOVERIES} of this session are not over yet")
        return await self._jobs.create(
            Recovery(id=new_id(), session=session.id, kind=kind, created=wall.now_ns(), **more)
        )

    async def of(self, session: str) -> list[Recovery]:
        """The recoveries of a session, the newest first. Raises Timeout where a process that has just begun cannot read them."""
        known = await self._jobs.all()
        return sorted((each for each in known if each.session == session), key=lambda each: each.id)[::-1]

    async def find(self, session: str, id: str) -> Recovery:
        """Gives a recovery, from the bucket where this process has not heard of it yet. Raises Problem 404."""
        recovery = await self._jobs.find(id)
        if recovery is None or recovery.session != session:
            raise Problem("recovery_not_found", f"no recovery {id[:60]!r} of this session; they are kept for a week")
        return recovery

    async def cancel(self, session: str, id: str) -> Recovery:
        """Cancels a recovery; what was asked for stays asked for. Raises Problem where it is unknown or over."""
        recovery = await self.find(session, id)
        if recovery.state in ENDED:
            raise Problem("recovery_ended", f"it is {recovery.state} since {rfc3339(recovery.ended)}")
        await self._jobs.cancel(id)
        return recovery

    # What the work asks

    async def record(self, part: Part, session: Session) -> Record | None:
        """The event that a delivery is about; None where it is no longer kept, or no longer granted. Raises BrokerError."""
        page = await self.broker.read(">", part.sequence - 1, 1)
        record = page.records[0] if page.records else None
        if record is None or record.sequence != part.sequence or record.event is None or record.event.id != part.event:
            return None
        # A session that was narrowed by hand is sent again what it was sent; one from which a grant was taken is not.
        if session.spec.granted is not None and not session.view.admits(record.subject, record.event.type):
            return None
        return record

    async def ask_again(self, session: str, record: Record, unique: str, letters: tuple[int, ...] = ()) -> None:
        """Puts a delivery among the jobs once more; its dead letters go once it is over.

        Raises Refused where there is no room, or BrokerError.
        """
        publish = Job.again(
            session,
            record.payload,
            record.subject,
            record.sequence,
            unique=f"{unique}.{record.sequence}",
            trigger="manual",
            partitions=self.partitions,
            letters=letters,
        )
        await self.broker.store(*publish)

    async def stretch(self, session: Session, after: int, upto: int) -> tuple[list[Record], int]:
        """Events that a session shows behind a place, and how far that reaches. Raises BrokerError."""
        stretch = await self._replay.stretch(session.view.patterns, after, upto)
        shown = [
            record
            for record in await self._filtering.select(session.view, stretch.records)
            if after < record.sequence <= upto and not _is_own_news(record, session.id)
        ]
        return shown, min(stretch.upto, upto)

    def _begin(self, recovery: Recovery, revision: int) -> _Run:
        # A copy of its own: what the watch tells of it must not change it under the work.
        return _Run(self, self._jobs, msgspec.structs.replace(recovery), revision)


class _Run(JobRun[Recovery]):
    """One recovery at work."""

    loop = "recovery"

    def __init__(self, recoveries: Recoveries, jobs: Jobs[Recovery, _Run], recovery: Recovery, revision: int) -> None:
        super().__init__(jobs, recovery, revision)
        self._recoveries = recoveries
        self._settings = recoveries.settings
        self._unnoted = 0
        self._pace = EvenPace(recovery.rate, asyncio.get_running_loop().time())
        # The dead letters of the deliveries that it is about.
        self._letters: Mapping[int, tuple[int, ...]] = {}

    async def run(self) -> None:
        """Asks for all that it is about. Raises Cancelled, JobFailed or BrokerError."""
        try:
            await (self._recover() if self.job.kind == "recover" else self._replay())
        except Problem:
            raise JobFailed("the session was deleted") from None

    async def _recover(self) -> None:
        recovery = self.job
        failed = await self._failed()
        if recovery.total is None:
            recovery.total = len(failed)
            await self.note()
        since = datetime.fromisoformat(recovery.since).timestamp() if recovery.since else 0.0
        await self._find_letters({part.sequence for part in failed}, since)
        for part in failed:
            if part.sequence <= recovery.after:
                continue  # before a crash
            # Anew for each: one that is deleted meanwhile ends this.
            session = await self.patiently(self._recoveries.registry.find, recovery.session)
            record = await self.patiently(self._recoveries.record, part, session)
            if record is None:
                recovery.skipped += 1
            else:
                await self._ask(record)
            await self._reached(part.sequence)

    async def _failed(self) -> list[Part]:
        """The deliveries that failed for good within the span, each once, in the order of their events."""
        recovery = self.job
        failed: dict[str, Part] = {}

        def heard(attempt: Attempt) -> None:
            # Of a delivery that was made at last nothing is missing; one that is tried again needs no help.
            for delivery, part in attempt.deliveries.items():
                if attempt.ok or attempt.next:
                    failed.pop(delivery, None)
                else:
                    failed[delivery] = part
            if len(failed) > MOST_DELIVERIES:
                raise JobFailed(f"more than {MOST_DELIVERIES} deliveries failed in this time; take less of it")

        async def scan() -> None:
            failed.clear()
            await self._recoveries.attempts.scan(recovery.session, recovery.first, recovery.last, heard)

        await self.patiently(scan)
        return sorted(failed.values(), key=lambda part: part.sequence)

    async def _replay(self) -> None:
        recovery = self.job
        await self._find_letters(range(recovery.after + 1, recovery.last + 1), 0.0)
        while recovery.after < recovery.last:
            # Anew for each page: a change of the session counts from now on.
            session = await self.patiently(self._recoveries.registry.find, recovery.session)
            records, reached = await self.patiently(self._recoveries.stretch, session, recovery.after, recovery.last)
            for record in records:
                await self._ask(record)
                await self._reached(record.sequence)
            recovery.after = max(recovery.after, reached)
        recovery.total = recovery.sent

    async def _find_letters(self, wanted: Collection[int], since: float) -> None:
        self._letters = await self.patiently(self._recoveries.sent_again.find, self.job.session, wanted, since)

    async def _ask(self, record: Record) -> None:
        """Asks for one delivery, at the pace that is allowed, and as soon as there is room."""
        recovery = self.job
        loop = asyncio.get_running_loop()
        await self.pause(self._pace.wait(loop.time()))
        self._pace.take(loop.time())
        while not await self._recoveries.room.taken(recovery.session, len(record.payload)):
            await self.pause()
        while True:
            try:
                await self.patiently(
                    self._recoveries.ask_again,
                    recovery.session,
                    record,
                    f"{recovery.kind}.{recovery.id}",
                    self._letters.get(record.sequence, ()),
                )
                recovery.sent += 1
                return
            except BadEvent:
                recovery.skipped += 1
                return
            except Refused as refusal:
                if not has_no_room(refusal):
                    raise
                await self.pause()
            finally:
                self._recoveries.room.settled(recovery.session)

    async def _reached(self, sequence: int) -> None:
        self.job.after = sequence
        self._unnoted += 1
        waited = asyncio.get_running_loop().time() - self.noted
        if self._unnoted >= self._settings.chunk or waited >= self._settings.note_every:
            self._unnoted = 0
            await self.note()


def parse_rate(value: Any) -> float:
    """Reads how many deliveries a second may be asked for. Raises Problem."""
    if value is None:
        return DEFAULT_RATE
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not MIN_RATE <= value <= MAX_RATE:
        raise Problem("bad_body", f"rate must be a number of deliveries a second from {MIN_RATE:g} to {MAX_RATE:g}")
    return float(value)


def parse_moment(value: Any, field: str) -> datetime:
    """Reads a time. Raises Problem."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise Problem("bad_body", f"{field} must be a time: RFC 3339, or seconds or milliseconds since the epoch")
    return parse_time(str(value))


def _is_own_news(record: Record, session: str) -> bool:
    """Whether an event tells of this very endpoint, which is never told so."""
    event = record.event
    return record.subject.startswith(NEWS) and event is not None and event.data.get("session_id") == session


def _text(moment: datetime) -> str:
    return rfc3339(int(moment.timestamp() * 1_000_000) * 1000)
