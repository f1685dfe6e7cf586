"""This file is where dead letters are sent again: a job at a time per filter, by one process, to its end through any crash.

A job is kept in the bucket JOBS: what is meant, how far it has come. Whichever process holds the role works the jobs; where
it dies, the next one takes them over. A letter is sent under an id of its job and its own (`rd.<job>.<sequence>`), the
acknowledgement is awaited, and only then is the letter removed. So a letter that a crash left between the two is sent under
the same id again, which JetStream drops inside its dedup window, and an actor knows by it what it answered before.

Where a letter goes: a webhook's onto HOOKS, for that session; an actor's to that actor alone, which answers once the event
is settled; what could not be read, into EVENTS once it can.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgpack
import msgspec

from edge import metrics
from edge.deadletters.notifier import Burials, fullness
from edge.deadletters.query import Filter, Search, Span
from edge.errors import Problem
from edge.jobs import ENDED, BackgroundJob, Cancelled, JobFailed, JobRun, Jobs, new_id
from edge.sessions.registry import Registry
from edge.webhooks.endpoint.state import EndpointState
from edge.webhooks.endpoint.store import HEALTH
from edge.webhooks.queue.job import Job
from edge.webhooks.queue.room import Room
from router.broker import Broker
from router.clock import wall
from router.cluster.role import RoleSettings
from router.codec import rfc3339
from router.deadletter import DeadLetter
from router.deadletters import DeadLetters
from router.errors import BadEvent, BrokerError, Cut, NoResponders, Refused, Timeout
from router.nats.bucket import Bucket, WriteGuard
from router.nats.headers import header
from router.nats.publisher import is_too_large
from router.nats.refusals import has_no_room
from router.rates import EvenPace
from router.stored import decoder
from router.subject import STORED
from router.topology import ENDPOINTS, HOOKS, RETRIES

log = logging.getLogger(__name__)

ROLE = "role.deadletters"
# A letter that came back so often needs `force`: a person should have looked at it by then.
MOST_REDRIVES = 5
# Jobs that are not over; more are refused.
MOST_JOBS = 16
MIN_RATE, MAX_RATE, DEFAULT_RATE = 0.1, 10_000.0, 100.0

# How old what is known of an endpoint's condition may be, and of how many it is known.
CONDITION_SECONDS, MOST_CONDITIONS = 1.0, 1000
_BLOCKED = {"disabled": "endpoint_disabled", "open": "breaker_open"}


@dataclass(frozen=True)
class RedriveSettings:
    """How letters are sent again. Times in seconds."""

    role: RoleSettings = field(default_factory=RoleSettings)
    # Letters between two notes of how far a job has come, or so long: what is looked at again after a crash.
    chunk: int = 20
    note_every: float = 0.25
    # Jobs at work side by side; the others wait their turn.
    side_by_side: int = 4
    # More than `most_back` of the last `looked_at` came back as dead letters: whatever killed them still does.
    looked_at: int = 100
    most_back: int = 20
    # An actor answers once its mailbox has come to the event and the event is settled.
    answer: float = 60.0
    answers: int = 3
    # After an event that crashed its actor: twelve crashes within a minute would end the actor's process.
    after_crash: float = 10.0
    # What cannot be taken right now (a full queue, a full mailbox, NATS away) is tried again after this.
    pause: float = 0.5
    keep: float = 7 * 86400.0


class RedriveJob(BackgroundJob, kw_only=True, omit_defaults=True):
    """One order to send letters again, and how far it has come.

    `upto` is where the stream ended when the job was made; `after` is how far it has come.
    """

    filter: Filter
    letter: int | None = None
    dry_run: bool = False
    force: bool = False
    rate: float = DEFAULT_RATE
    limit: int | None = None
    upto: int = 0
    matched: int | None = None
    failed: int = 0
    returned: int = 0
    reasons: dict[str, int] = {}
    started: int = 0

    @property
    def total(self) -> int | None:
        """How many letters there are to be dealt with; None as long as they are not counted."""
        if self.matched is None or self.limit is None:
            return self.matched
        return min(self.matched, self.limit + self.failed + self.skipped)

    @property
    def dealt_with(self) -> int:
        return self.sent + self.failed + self.skipped

    def describe(self) -> dict[str, Any]:
        """The job as the API shows it."""
        return {
            "id": self.id,
            "state": self.state,
            "dry_run": self.dry_run,
            "letter": self.letter,
            "filter": self.filter.described(),
            "force": self.force,
            "rate": self.rate,
            "limit": self.limit,
            "total": self.total,
            "sent": self.sent,
            "failed": self.failed,
            "skipped": self.skipped,
            "reasons": self.reasons,
            "returned": self.returned,
            "created": rfc3339(self.created),
            "started": rfc3339(self.started) if self.started else None,
            "updated": rfc3339(self.updated or self.created),
            "ended": rfc3339(self.ended) if self.ended else None,
            "eta": self._eta(),
            "error": self.error or None,
        }

    def _eta(self) -> float | None:
        """Seconds it will take yet, at the pace so far."""
        if self.state in ENDED:
            return 0.0
        if self.total is None or not self.dealt_with or self.updated <= self.started:
            return None
        pace = self.dealt_with / ((self.updated - self.started) / 1e9)
        return round(max(0, self.total - self.dealt_with) / pace, 1)


_condition = decoder(EndpointState, ENDPOINTS)


class Fate(NamedTuple):
    """What became of one letter: `sent`, `failed` or `skipped`, why, and what an actor said to it."""

    kind: str
    reason: str = ""
    detail: str = ""


SENT = Fate("sent")


class Redrives:
    """The redrives of a deployment: every process knows the jobs, the one that holds the role works them."""

    def __init__(
        self,
        broker: Broker,
        registry: Registry,
        partitions: int,
        settings: RedriveSettings | None = None,
        guard: WriteGuard | None = None,
    ) -> None:
        self.settings = settings or RedriveSettings()
        self.dead = DeadLetters(broker)
        self.search = Search(self.dead)
        self._endpoints = Bucket(broker.connection, ENDPOINTS)
        self.registry = registry
        self.broker = broker
        self.partitions = partitions
        self._jobs: Jobs[RedriveJob, _Run] = Jobs(
            broker.connection, "redrive", ROLE, RedriveJob, self._begin, self.settings, guard
        )
        self._burials = Burials(broker, self._buried)
        # What is sent again to a webhook counts as any other job of its session, and waits for its share of HOOKS.
        self.room = Room(broker)

    @property
    def jobs(self) -> Mapping[str, RedriveJob]:
        """The jobs of the last week, by their ids."""
        return self._jobs.known

    async def run(self) -> None:
        """Knows the jobs, and works them whenever this process holds the role; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._jobs.run(beside=self._own), name="redrives")
            group.create_task(fullness(self.dead), name="dead letters' fullness")

    # What the API asks

    async def start(self, job: RedriveJob) -> RedriveJob:
        """Stores a job; whoever holds the role begins it. Raises Problem `too_many_redrives`, or BrokerError."""
        if sum(each.state not in ENDED for each in await self.all()) >= MOST_JOBS:
            raise Problem("too_many_redrives", f"{MOST_JOBS} are not over yet; wait for one, or cancel it")
        return await self._jobs.create(job)

    async def all(self) -> list[RedriveJob]:
        """Every job of the last week. Raises Timeout where a process that has just begun cannot read them."""
        return await self._jobs.all()

    async def find(self, id: str) -> RedriveJob:
        """Gives a job, from the bucket where this process has not heard of it yet. Raises Problem 404."""
        job = await self._jobs.find(id)
        if job is None:
            raise Problem("redrive_not_found", f"no redrive {id[:60]!r}; they are kept for a week")
        return job

    async def cancel(self, id: str) -> RedriveJob:
        """Cancels a job; what was sent stays sent. Raises Problem where it is unknown or over."""
        job = await self.find(id)
        if job.state in ENDED:
            raise Problem("redrive_ended", f"it is {job.state} since {rfc3339(job.ended)}")
        await self._jobs.cancel(id)
        return job

    async def blocked(self, session_id: str) -> str | None:
        """Why a webhook session takes nothing right now: `endpoint_disabled`, `breaker_open`, or None. Raises BrokerError."""
        entry = await self._endpoints.get(f"{HEALTH}.{session_id}")
        if entry is None or entry.value is None:
            return None
        condition = _condition(entry.key, entry.value)
        return _BLOCKED.get(condition.state) if condition is not None else None

    # Working

    def _buried(self, letter: DeadLetter) -> None:
        for run in self._jobs.running.values():
            run.saw(letter)

    async def _own(self) -> None:
        metrics.deadletters_owner.set(1)
        try:
            await self._burials.run()
        finally:
            metrics.deadletters_owner.set(0)

    def _begin(self, job: RedriveJob, revision: int) -> _Run:
        # A copy of its own: what the watch tells of it must not change it under the work.
        return _Run(self, self._jobs, msgspec.structs.replace(job, reasons=dict(job.reasons)), revision)


class _Run(JobRun[RedriveJob]):
    """One job at work."""

    loop = "redrive"
    # A letter that was sent is removed first.
    ends_while_waiting = False

    def __init__(self, redrives: Redrives, jobs: Jobs[RedriveJob, _Run], job: RedriveJob, revision: int) -> None:
        super().__init__(jobs, job, revision)
        self._redrives = redrives
        self._settings = redrives.settings
        # Sent and not yet removed, how many were dealt with since the last note, and how far that reaches.
        self._gone: list[int] = []
        self._unsettled = 0
        self._reached = 0
        self._pace = EvenPace(job.rate, asyncio.get_running_loop().time())
        self._conditions: dict[str, tuple[float, str | None]] = {}
        # The letters sent last, by session or actor and event, and whether each came back.
        self._last: deque[tuple[str, str, str]] = deque(maxlen=self._settings.looked_at)
        self._back: Counter[tuple[str, str, str]] = Counter()

    def saw(self, letter: DeadLetter) -> None:
        """Learns of a new dead letter, which may be one that was sent here a moment ago."""
        key = _identity(letter)
        # An actor's answer has told of it already.
        if letter.kind != "actor" and letter.sequence > self.job.upto and key in self._last:
            self.job.returned += 1
            self._back[key] += 1

    async def run(self) -> None:
        """Sends all that there is to be sent. Raises Cancelled, JobFailed or BrokerError."""
        await self._prepare()
        await self._send_all()

    async def interrupted(self) -> None:
        """Removes what was sent, so that the successor need not find out."""
        with contextlib.suppress(BrokerError, TimeoutError):
            async with asyncio.timeout(1):
                await self._settle()

    def ended(self) -> None:
        """Counts a job that is over."""
        metrics.redrives.labels(self.job.state).inc()

    # Counting first

    async def _prepare(self) -> None:
        """Counts what there is to be sent; after a crash, what of it is gone without having been noted as sent."""
        job = self.job
        if job.matched is None:
            job.started = wall.now_ns()
            job.matched = await self._count(Span(job.after, job.upto))
            await self.note()
        elif not job.dry_run:
            left = await self._count(Span(job.after, job.upto))
            job.sent = max(job.sent, job.matched - job.failed - job.skipped - left)

    async def _count(self, span: Span) -> int:
        if self.job.letter is not None:
            return int(await self.patiently(self._redrives.dead.get, self.job.letter) is not None)
        search = self._redrives.search
        if self.job.filter.is_address:
            counted: int = await self.patiently(search.count, self.job.filter, span)
            return counted
        found = 0
        while span.after < span.upto:
            self.check()
            letters, reached = await self.patiently(search.stretch, self.job.filter, span)
            found += len(letters)
            span = Span(reached, span.upto)
        return found

    # Sending

    @property
    def _wants_more(self) -> bool:
        return self.job.limit is None or self.job.sent < self.job.limit

    async def _send_all(self) -> None:
        job = self.job
        while job.after < job.upto and self._wants_more:
            self.check()
            letters, reached = await self._next()
            try:
                for letter in letters:
                    if not self._wants_more:
                        break
                    await self._wait_for_turn()
                    fate = await self._try_to_send(letter)
                    self._count_fate(letter, fate)
                    self._look_back(letter, fate)
                    await self._settle_now_and_then()
            except (Cancelled, JobFailed):
                await self._settle()
                raise
            if self._wants_more:
                job.after = max(job.after, reached)
            await self._settle()

    async def _next(self) -> tuple[list[DeadLetter], int]:
        job, redrives = self.job, self._redrives
        if job.letter is not None:
            letter = await self.patiently(redrives.dead.get, job.letter)
            return ([letter] if letter else []), job.upto
        found: tuple[list[DeadLetter], int] = await self.patiently(
            redrives.search.stretch, job.filter, Span(job.after, job.upto)
        )
        return found

    def _count_fate(self, letter: DeadLetter, fate: Fate) -> None:
        job = self.job
        self._reached = letter.sequence
        self._unsettled += 1
        match fate.kind:
            case "sent":
                job.sent += 1
                self._gone.append(letter.sequence)
            case "failed":
                job.failed += 1
            case _:
                job.skipped += 1
        if fate.reason:
            job.reasons[fate.reason] = job.reasons.get(fate.reason, 0) + 1
        if not job.dry_run:
            metrics.redriven.labels(fate.kind).inc()

    async def _settle(self) -> None:
        """Removes the letters that have found their way, and writes down how far the job has come, in this order."""
        gone, self._gone = self._gone, []
        if not self.job.dry_run:
            await asyncio.gather(*(self.patiently(self._redrives.dead.remove, sequence) for sequence in gone))
        self.job.after = max(self.job.after, self._reached)
        self._unsettled = 0
        await self.note()

    async def _settle_now_and_then(self) -> None:
        waited = asyncio.get_running_loop().time() - self.noted
        if self._unsettled >= self._settings.chunk or waited >= self._settings.note_every:
            await self._settle()

    def _look_back(self, letter: DeadLetter, fate: Fate) -> None:
        """Keeps in mind what was sent last, and stops where too much of it comes back."""
        if fate.kind == "skipped" or self.job.dry_run:
            return
        key = _identity(letter)
        if len(self._last) == self._last.maxlen:
            self._back.pop(self._last[0], None)
        self._last.append(key)
        if fate.kind == "failed":
            self._back[key] += 1
        if sum(1 for each in self._last if self._back[each]) > self._settings.most_back:
            most, among = self._settings.most_back, self._settings.looked_at
            raise JobFailed(f"more than {most} of the last {among} came back as dead letters")

    async def _wait_for_turn(self) -> None:
        loop = asyncio.get_running_loop()
        await self.pause(self._pace.wait(loop.time()))
        self._pace.take(loop.time())

    async def _try_to_send(self, letter: DeadLetter) -> Fate:
        """Sends a letter; one at which that fails stays where it is, and the next has its turn."""
        try:
            return await self._send(letter)
        except (BrokerError, Cancelled):
            raise
        except Exception:
            log.exception("a dead letter could not be sent again", extra={"letter": letter.sequence})
            metrics.record_faults.labels("redrive").inc()
            return Fate("skipped", "fault")

    async def _send(self, letter: DeadLetter) -> Fate:
        """Finds out where a letter goes, and sends it there."""
        if letter.redrives >= MOST_REDRIVES and not self.job.force:
            return Fate("skipped", "needs_force")
        if letter.size:
            payload = await self.patiently(self._redrives.dead.payload_of, letter)
            if payload is None:
                return Fate("skipped", "event_gone")
            if len(payload) > self._redrives.broker.largest_event:
                return Fate("skipped", "too_large")
            letter = replace(letter, payload=payload)
        match letter.kind:
            case "webhook":
                return await self._to_session(letter)
            case "actor":
                return await self._to_actor(letter)
            case "ingest":
                return await self._to_events(letter)
        return Fate("skipped", "unknown_origin")

    def _id(self, letter: DeadLetter) -> str:
        return f"rd.{self.job.id}.{letter.sequence}"

    async def _to_session(self, letter: DeadLetter) -> Fate:
        try:
            session = await self.patiently(self._redrives.registry.find, letter.name)
        except Problem:
            return Fate("skipped", "session_gone")
        if session.spec.webhook is None:
            return Fate("skipped", "no_webhook")
        if not self.job.force and (why := await self._blocked(session.id)):
            return Fate("skipped", why)
        if not letter.event_subject:
            return Fate("skipped", "unknown_origin")
        try:
            again = Job.again(
                session.id,
                letter.payload,
                letter.event_subject,
                letter.origin.sequence,
                unique=self._id(letter),
                run=letter.redrives + 1,
                partitions=self._redrives.partitions,
            )
        except BadEvent:
            return Fate("skipped", "undecodable")
        while not self.job.dry_run and not await self._redrives.room.taken(session.id, len(letter.payload)):
            await self.pause()
        try:
            return await self._store(again.subject, letter, again.headers)
        finally:
            self._redrives.room.settled(session.id)

    async def _blocked(self, session_id: str) -> str | None:
        """Asked once a second at most, and not for each letter."""
        now = asyncio.get_running_loop().time()
        asked, why = self._conditions.get(session_id, (0.0, None))
        if now - asked >= CONDITION_SECONDS:
            why = await self.patiently(self._redrives.blocked, session_id)
            if len(self._conditions) >= MOST_CONDITIONS:
                self._conditions.clear()
            self._conditions[session_id] = (now, why)
        return why

    async def _to_events(self, letter: DeadLetter) -> Fate:
        if letter.name in (HOOKS, RETRIES):
            # A job that could not be read: whatever event is in it has been said to everybody long ago.
            return Fate("skipped", "no_way_back")
        event = letter.event()
        if event is None:
            return Fate("skipped", "undecodable")
        # Not under the event's own id: who published it past the router may have used it within the dedup window.
        return await self._store(STORED + event.subject, letter, {})

    async def _store(self, subject: str, letter: DeadLetter, headers: dict[str, str]) -> Fate:
        if self.job.dry_run:
            return SENT
        while True:
            try:
                ack = await self._redrives.broker.store(
                    subject, letter.payload, {**headers, "Nats-Msg-Id": self._id(letter)}
                )
                return Fate("sent", "sent_before") if ack.duplicate else SENT
            except Refused as refusal:
                if not has_no_room(refusal):
                    return Fate("skipped", "too_large" if is_too_large(refusal) else "refused")
                log.debug("a redrive waits for room", extra={"job": self.job.id, "fault": refusal.description})
            except Cut:
                return Fate("skipped", "too_large")
            except BrokerError as fault:
                log.debug("a redrive waits for NATS", extra={"job": self.job.id, "fault": str(fault)})
            await self.pause()

    async def _to_actor(self, letter: DeadLetter) -> Fate:
        """Hands the event to the actor that gave it up, and waits for what becomes of it."""
        if not letter.back.startswith("cmd."):
            return Fate("skipped", "no_way_back")
        if self.job.dry_run:
            return await self._would_answer(letter)
        # Packed here, not as JSON: the event's bytes are not text.
        request = msgpack.packb({"id": self._id(letter), "event": letter.payload})
        unanswered = 0
        while True:
            try:
                reply = await self._redrives.broker.connection.ask(
                    letter.back, request, {"Content-Type": "application/msgpack"}, timeout=self._settings.answer
                )
            except NoResponders:
                return Fate("skipped", "actor_absent")
            except Refused:
                return Fate("skipped", "too_large")
            except Timeout:
                # Asked again under the same id, it joins the first: the actor does not receive the event twice.
                unanswered += self._redrives.broker.connection.connected
                if unanswered >= self._settings.answers:
                    return Fate("skipped", "no_answer")
            else:
                code = header(reply.headers, b"Nats-Service-Error-Code")
                if code is None:
                    return await self._answered(letter, reply.payload)
                if code != "503":
                    return Fate("skipped", "undecodable" if code == "422" else "refused")
            await self.pause()

    async def _would_answer(self, letter: DeadLetter) -> Fate:
        try:
            await self._redrives.broker.connection.ask(f"$SRV.PING.{letter.name}", b"", timeout=2)
        except NoResponders:
            return Fate("skipped", "actor_absent")
        except BrokerError:
            return Fate("skipped", "no_answer")
        return SENT

    async def _answered(self, letter: DeadLetter, payload: bytes) -> Fate:
        try:
            said = msgpack.unpackb(payload, raw=False)
            outcome, reason, detail = said["outcome"], str(said.get("reason", "")), str(said.get("detail", ""))
        except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException):
            return Fate("skipped", "bad_answer")
        if outcome == "acked":
            return SENT
        # The letter stays, with what is known now: the new one first, then the old one goes.
        await self.patiently(self._add_again, letter, reason, detail)
        await self.patiently(self._redrives.dead.remove, letter.sequence)
        if reason == "attempts_spent":
            await self.sleep(self._settings.after_crash)
        return Fate("failed", reason, detail)

    async def _add_again(self, letter: DeadLetter, reason: str, detail: str) -> None:
        await self._redrives.dead.add_again(letter, reason=reason, detail=detail, attempts=1, id=self._id(letter))


def new_job(chosen: Filter, span: Span, **more: Any) -> RedriveJob:
    """Makes a job over a span of the stream; its id sorts by time."""
    return RedriveJob(
        id=new_id(),
        filter=chosen,
        created=wall.now_ns(),
        after=span.after,
        upto=span.upto,
        **more,
    )


def parse_rate(value: Any) -> float:
    """Reads how many letters a second may be sent. Raises Problem."""
    if value is None:
        return DEFAULT_RATE
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        value = 0.0
    if not MIN_RATE <= value <= MAX_RATE:
        raise Problem("bad_body", f"rate must be a number of letters a second from {MIN_RATE:g} to {MAX_RATE:g}")
    return float(value)


def _identity(letter: DeadLetter) -> tuple[str, str, str]:
    return letter.kind, letter.name, letter.event_id
