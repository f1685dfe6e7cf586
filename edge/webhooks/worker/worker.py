"""This file is where the jobs of one partition are worked, for as long as this process owns it: post, then settle, once.

What must be known is stored before what it replaces is acknowledged: the retry before the job's end, the dead letter
before the job's end. A process that dies anywhere leaves the job unacknowledged, and another one gets it; what was stored
twice has the same id. So a delivery may happen twice, and is never lost.

A term has consumers of its own, named by its epoch, and removes those of its predecessors. So it is handed at once what
they had not settled, in the order of the stream; and whenever a message may have been lost on the way it makes others. What
it holds already it knows by place and time, so that nothing is posted twice for that.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from msgspec.structs import replace

from edge.errors import Problem
from edge.metrics import record_faults
from edge.sessions.endpoint.settings import MAX_BATCH_BYTES, EndpointSettings
from edge.sessions.registry import Registry, Session, is_deleted
from edge.settings import PolicySettings
from edge.stats import Stats
from edge.webhooks import metrics
from edge.webhooks.client.outcome import MAX_RETRY_AFTER, Outcome, Verdict, pause, postponement
from edge.webhooks.client.payload import Posting, posting
from edge.webhooks.client.sender import Sender
from edge.webhooks.endpoint.breaker import CircuitBreaker, CircuitBreakerSettings, EndpointState, StateChange
from edge.webhooks.endpoint.dispatch import EndpointDispatcher
from edge.webhooks.endpoint.rules import Rules, rules_of
from edge.webhooks.endpoint.splitting import attempts_of, following, halve, head_of, is_to_be_split
from edge.webhooks.endpoint.state import EndpointStore
from edge.webhooks.endpoint.state_changes import (
    FAILING_ATTEMPTS,
    attempt_event,
    deadletter_event,
    endpoint_event,
    is_told,
)
from edge.webhooks.history.attempts import Attempt, AttemptLog, Part
from edge.webhooks.queue.acks import AckBatcher
from edge.webhooks.queue.backlog import Backlog, ParkedJob, is_full, next_job
from edge.webhooks.queue.job import FRESH, PARKED, Job, due_filter, fresh_filter, partition_of, read
from edge.webhooks.queue.letters import SentAgain
from edge.webhooks.queue.ordering import ALL, Head, OrderedQueue, PendingJob, Piece, Post, QueueSettings
from edge.webhooks.shortage import shortages
from router import tracing
from router.broker import Broker
from router.clock import ceiling, wall
from router.cluster.ownership import owner_key
from router.deadletter import Origin, webhook_subject
from router.deadletters import DeadLetters
from router.errors import BadInput, BrokerError, Conflict, Cut, Refused
from router.event import Event
from router.nats.bucket import Bucket
from router.nats.consumer import Consumer, Message
from router.nats.publisher import Publisher, is_too_large
from router.record import Record
from router.subject import STORED
from router.topology import EVENTS, HOOKS, LEASES, RETRIES

log = logging.getLogger(__name__)

# Events of which the encoded form is kept for the other sessions that want it.
RECORDS = 512
# What the encoding of a spoilt event may raise.
_SPOILT = (BadInput, ValueError, OverflowError, RecursionError, TypeError, LookupError, AttributeError)
# What ends a job without its endpoint having said anything: no reason to halt a lane.
_OURS = frozenset({"decode_error", "ttl_expired", "poison", "ssrf_blocked", "bad_url"})
# The share of its time that a term spends on counting what is parked.
RECOUNT_SHARE = 0.01
# ParkedJob jobs of one endpoint that are looked at in one sweep: pages of so many.
EXPIRE_PAGES, EXPIRE_JOBS = 256, 16
# Settled jobs that are remembered, in case the server hands them out again.
SETTLED = 8192
_PHASE = random.random() * 3600.0


@dataclass(frozen=True)
class WorkerSettings:
    """How jobs are worked. Times in seconds."""

    # Jobs one partition may have in hand, of new ones and of retries each; past three quarters, or so many bytes, lanes
    # hold fewer.
    credit: int = 512
    credit_bytes: int = 16 * 1024 * 1024
    # The server hands a job out again after so long without a word of it; one that is still worked is spoken of before.
    ack_wait: float = 30.0
    lane: QueueSettings = field(default_factory=QueueSettings)
    health: CircuitBreakerSettings = field(default_factory=CircuitBreakerSettings)
    # The longest pause before each retry, instead of what the session's profile says.
    schedule: tuple[float, ...] | None = None
    # What counts for endpoints that set nothing of their own.
    policy: PolicySettings = field(default_factory=PolicySettings)
    # Jobs wait for an endpoint that is shut at most this long, where its session does not say how long.
    keep: float = 7 * 86400.0
    # How often it is looked for parked jobs that have waited too long.
    sweep: float = 5.0
    # So many workers died with a job in their hands, and it is not tried again.
    kills: int = 20


@dataclass
class WorkerContext:
    """What all terms of a process share."""

    broker: Broker
    registry: Registry
    sender: Sender
    attempts: AttemptLog
    publisher: Publisher
    conditions: EndpointStore
    stats: Callable[[str], Stats]
    epoch: Callable[[], str]
    settings: WorkerSettings
    partitions: int

    def __post_init__(self) -> None:
        self.deadletters = DeadLetters(self.broker)
        self.sent_again = SentAgain(self.broker)
        self.parking = Backlog(self.broker, self.publisher)
        self.acks = AckBatcher(self.publisher)
        self._records: OrderedDict[int, Record] = OrderedDict()

    def record(self, job: Job) -> Record:
        """The job's event, shared with the other jobs it makes: decoded once, encoded once."""
        record = self._records.get(job.sequence)
        if record is None or record.payload != job.payload:
            record = self._records[job.sequence] = Record(job.sequence, job.subject, job.payload)
            if len(self._records) > RECORDS:
                self._records.popitem(last=False)
        return record

    async def tell(self, event: Event) -> None:
        """Publishes an operational event. Raises BrokerError."""
        await self.broker.publish(event)


class PartitionWorker:
    """The work on one partition."""

    def __init__(self, backstage: WorkerContext, partition: int, epoch: int, clean: bool) -> None:
        """`clean` says that the predecessor let go in good order."""
        self.partition = partition
        self.epoch = epoch
        self.caught_up = False
        self.settings = backstage.settings
        self.lane_settings = backstage.settings.lane
        self.parking = backstage.parking
        self.gates: dict[str, EndpointDispatcher] = {}
        self._backstage = backstage
        self._broker = backstage.broker
        self._registry = backstage.registry
        self._clean = clean
        self._tasks: asyncio.TaskGroup | None = None
        self._closing = False
        self._closed = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._pulling: list[asyncio.Task[None]] = []
        self._hand: dict[tuple[str, int, int], PendingJob] = {}
        self._settled: OrderedDict[tuple[str, int, int], None] = OrderedDict()
        self._gone: OrderedDict[int, None] = OrderedDict()
        self._bytes = 0
        self._posting: set[asyncio.Task[None]] = set()
        # Where the next unit goes while somebody asks for one.
        self._asking: list[tuple[EndpointDispatcher, OrderedQueue, Post]] | None = None
        self._limbo: dict[str, list[PendingJob]] = {}
        self._heads: dict[tuple[str, str], Head] = {}
        # Up to here jobs were in the hands of a predecessor who died.
        self._suspects = {HOOKS: 0, RETRIES: 0}
        # How far new jobs have come: up to `goal` they were there before we were.
        self._goal = self._reached_fresh = 0
        # What the predecessors have parked, by session and lane.
        # How many jobs of a predecessor each lane has parked, by session; until the session's gate is made.
        self._parks: dict[str, dict[str, int]] = {}
        self._recount_at = 0.0
        self._dirty: dict[str, EndpointDispatcher] = {}
        self._pen = asyncio.Event()
        self._consumers: dict[str, Consumer] = {}

    # The term

    @property
    def open(self) -> bool:
        return not self._closing and self._tasks is not None

    @property
    def pressed(self) -> bool:
        return len(self._hand) > self.settings.credit * 3 // 4 or self._bytes > self.settings.credit_bytes

    @property
    def held(self) -> int:
        """Jobs in hand that came from a consumer."""
        return len(self._hand)

    async def run(self) -> None:
        """Works until cancelled, or until `close` has let everything go."""
        unlisten = self._backstage.conditions.on_change(self._condition_changed)
        try:
            await self._take_stock()
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                try:
                    self._open_parks()
                    if not self._closing:
                        for kind in (fresh_filter, due_filter):
                            consumer = self._consumer(*kind(self.partition))
                            self._pulling.append(tasks.create_task(consumer.run(), name=consumer.name))
                    beside = [
                        tasks.create_task(each, name=f"{name} {self.partition}")
                        for each, name in (
                            (self._keep(), "hooks at work"),
                            (self._sweep(), "parked hooks"),
                            (self._write(), "conditions"),
                        )
                    ]
                    await self._closed.wait()
                    for each in beside:
                        each.cancel()
                finally:
                    self._closing = True
                    self._tasks = None
                    for gate in self.gates.values():
                        gate.end()
        finally:
            unlisten()
            self._closed.set()

    async def close(self, grace: float) -> None:
        """Takes nothing more, lets the posts under way end for `grace` seconds, and leaves the rest to a successor."""
        self._closing = True
        for task in self._pulling:
            task.cancel()
        if self._posting:
            await asyncio.wait(set(self._posting), timeout=grace)
        for task in list(self._posting):
            task.cancel()
        if self._posting:
            await asyncio.wait(set(self._posting), timeout=1.0)
        try:
            async with asyncio.timeout(1.0):
                for session in list(self._dirty):
                    await self._write_one(session)
                await self._all_ended()
                # What is not settled is handed out by the successor's own consumers.
                await self._clear(HOOKS)
                await self._clear(RETRIES)
        except (BrokerError, TimeoutError):
            log.debug("a term ended without a word")
        self._closed.set()

    async def _all_ended(self) -> None:
        """Waits until the server knows what has been ended, else the successor would be handed it again."""
        await self._backstage.acks.flushed()
        for stream, consumer in self._consumers.items():
            held = sum(1 for key in self._hand if key[0] == stream)
            for _ in range(10):
                info = await self._broker.stream(stream).consumer_info(consumer.name)
                if info["num_ack_pending"] <= held:
                    break
                await asyncio.sleep(0.02)

    def was_there(self, held: PendingJob) -> bool:
        return (
            held.message is not None
            and held.consumer is not None
            and held.consumer.stream == HOOKS
            and held.message.sequence <= self._goal
        )

    def is_ready(self, session: str) -> bool:
        return self.caught_up and session not in self._limbo

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if self._tasks is None:
            work.close()
        else:
            self._tasks.create_task(work, name=name)

    # What the predecessor left

    async def _take_stock(self) -> None:
        while not self._closing:
            try:
                if not self._clean:
                    for stream in (HOOKS, RETRIES):
                        self._suspects[stream] = await self._reached(stream)
                heads = await self._backstage.conditions.heads()
                self._heads = {
                    key: head
                    for key, head in heads.items()
                    if partition_of(key[0], self._backstage.partitions) == self.partition
                }
                self._parks = {}
                for (session_id, name), count in (await self.parking.counts(self.partition)).items():
                    self._parks.setdefault(session_id, {})[name] = count
                self._goal = await self._last_fresh()
                self.caught_up = not self._goal
                return
            except BrokerError as fault:
                log.info("a partition cannot be taken stock of yet", extra={"fault": str(fault)})
                await asyncio.sleep(0.3)

    async def _last_fresh(self) -> int:
        """Where the newest of the new jobs lies, as the leader knows it; 0 for none."""
        message = await self._broker.stream(HOOKS).get_last(f"{FRESH}.{self.partition}.*")
        return message.sequence if message is not None else 0

    async def _names(self, stream: str) -> list[str]:
        """The consumers of this partition, whoever's they are."""
        prefix = ("hook" if stream == HOOKS else "due") + f"-{self.partition}"
        names = await self._broker.stream(stream).consumer_names()
        return [name for name in names if name == prefix or name.startswith(f"{prefix}-")]

    async def _reached(self, stream: str) -> int:
        """How far the predecessors' consumers had handed jobs out."""
        reached = 0
        for name in await self._names(stream):
            try:
                info = await self._broker.stream(stream).consumer_info(name)
            except Refused:
                continue
            reached = max(reached, info["delivered"]["stream_seq"])
        return reached

    async def _clear(self, stream: str) -> None:
        """Removes the consumers of predecessors, and of this term's earlier lives; never a successor's."""
        owned: bool | None = None
        for name in await self._names(stream):
            words = name.split("-")
            if len(words) > 2 and words[2].isdigit() and int(words[2]) > self.epoch:
                # Epochs are revisions of LEASES, which begin anew with it: only the bucket knows who succeeds whom.
                if owned is None:
                    owned = await self._is_owned()
                if not owned:
                    continue
            await self._broker.stream(stream).delete_consumer(name)

    async def _is_owned(self) -> bool:
        """Whether the partition is this term's, as the bucket's leader knows it. Raises BrokerError."""
        entry = await Bucket(self._broker.connection, LEASES).latest(owner_key(self.partition))
        return entry is not None and entry.revision == self.epoch

    def _consumer(self, stream: str, name: str, subjects: str) -> Consumer:
        consumer = Consumer(
            self._broker.connection,
            stream,
            {
                "name": f"{name}-{self.epoch}",
                "filter_subject": subjects,
                "ack_wait": int(self.settings.ack_wait * 1e9),
                # How much is out is for this process to bound; jobs that rest count no more.
                "max_ack_pending": -1,
                "max_deliver": -1,
                "inactive_threshold": 3600 * 1_000_000_000,
            },
            lambda message: self._heard(message, consumer),
            credit=self.settings.credit,
            afresh=True,
            clear=lambda: self._clear(stream),
        )
        self._consumers[stream] = consumer
        return consumer

    def _open_parks(self) -> None:
        for session_id in list(self._parks):
            if self._gate(session_id) is None:
                self.spawn(self._find_parked(session_id), "find")

    def _open_park(self, gate: EndpointDispatcher, name: str, count: int) -> None:
        assert gate.policy is not None
        lane = gate.lane(name, name != ALL or gate.policy.mode == "fifo")
        lane.behind += count
        lane.suspects = not self._clean
        if lane.serial:
            lane.first = 0
        gate.wake()

    async def _find_parked(self, session_id: str) -> None:
        while self.open:
            try:
                await self._registry.find(session_id)
            except Problem:
                if not await self._is_gone(session_id):
                    await asyncio.sleep(0.3)
                    continue
                # Deleted meanwhile, as the fan-out's owner will find, too.
                subjects = f"{PARKED}.{self.partition}.{session_id}.*"
                self.spawn(self._purge(subjects), "purge")
                return
            except BrokerError:
                await asyncio.sleep(0.5)
                continue
            self._gate(session_id)
            return

    async def _purge(self, subjects: str) -> None:
        try:
            await self._broker.stream(HOOKS).purge(subjects)
        except BrokerError as fault:
            log.debug("parked jobs of a deleted session were not removed", extra={"fault": str(fault)})

    # Gates

    def _gate(self, session_id: str) -> EndpointDispatcher | None:
        """The gate of a session; None where the session is not known, or is no webhook."""
        gate = self.gates.get(session_id)
        if gate is not None:
            return gate
        session = self._registry.sessions.get(session_id)
        if session is None or session.spec.webhook is None:
            return None
        rules = self.rules(session.spec.webhook)
        health = CircuitBreaker(rules.health, 1, self._backstage.conditions.of(session_id))
        gate = self.gates[session_id] = EndpointDispatcher(self, session_id, health, session.spec.webhook)
        for key in [key for key in self._heads if key[0] == session_id]:
            head = self._heads.pop(key)
            if head.halted and health.enabled_at > head.since:
                head = _resumed(head)
            lane = gate.lane(key[1], True)
            # Further ahead than any pause is legal it was written by a clock that was wrong.
            longest = max(*rules.schedule, MAX_RETRY_AFTER) + 1.0
            gate.restored(lane, head, ceiling(head.not_before, wall.now(), longest))
        # Before any job of it is admitted: what is new goes behind what is parked.
        for name, count in self._parks.pop(session_id, {}).items():
            self._open_park(gate, name, count)
        return gate

    def rules(self, endpoint: EndpointSettings) -> Rules:
        """What counts for an endpoint of retries, circuit breaker and auto-disable."""
        policy = self.settings.policy
        schedule = self.settings.schedule or (endpoint.retry_profile == "guide" and policy.retry_schedule)
        return rules_of(endpoint.policy, schedule or endpoint.schedule, policy, self.settings.health)

    def changed(self, session_id: str, session: Session | None) -> None:
        """Hears that a session was changed, or deleted."""
        gate = self.gates.get(session_id)
        if gate is None:
            return
        if session is None or session.spec.webhook is None:
            del self.gates[session_id]
            gate.end()
            for lane in gate.lanes.values():
                for held in (*lane.queue, *lane.early, *lane.stowing):
                    self.spawn(self._drop(held), "drop")
                lane.queue.clear()
                lane.early.clear()
                lane.stowing.clear()
                lane.behind = 0
            gate.policy = None
        else:
            gate.change(session.spec.webhook)

    def _condition_changed(self, session_id: str, condition: EndpointState) -> None:
        """Hears that somebody enabled or disabled an endpoint."""
        gate = self.gates.get(session_id)
        if gate is None:
            return  # nothing in hand: it is read when there is
        enabled_at = gate.health.enabled_at
        gate.health.adopt(condition)
        if condition.enabled_at > enabled_at:
            for lane in gate.lanes.values():
                if lane.head is not None:
                    self._resume(gate, lane)
        gate.wake()

    def _resume(self, gate: EndpointDispatcher, lane: OrderedQueue) -> None:
        assert lane.head is not None
        lane.head = _resumed(lane.head)
        self.spawn(self._keep_head(gate, lane), "head")
        gate.resume(lane)

    async def _keep_head(self, gate: EndpointDispatcher, lane: OrderedQueue) -> None:
        """Keeps how far a lane's first has come; where that fails, a successor may try it more often than it should."""
        try:
            if lane.head is None:
                await self._backstage.conditions.drop_head(gate.session, lane.name)
            else:
                await self._backstage.conditions.keep_head(gate.session, lane.name, lane.head)
        except BrokerError as fault:
            log.debug("a lane's head was not kept", extra={"fault": str(fault)})

    # In

    def _heard(self, message: Message, consumer: Consumer) -> None:
        """Takes a job from the read loop and finds it a place."""
        if self._tasks is None or self._closing:
            return  # a successor gets it
        key = (consumer.stream, message.sequence, message.time)
        fresh = consumer.stream == HOOKS
        if (held := self._hand.get(key)) is not None:
            # Handed out again while it is worked: there is one more way to say so, and nothing more to do.
            held.message = message
            consumer.done()
            metrics.redelivered.inc()
        elif key in self._settled:
            metrics.redelivered.inc()
            self._tasks.create_task(self._confirm_again(message, consumer))
        elif (job := read(message)) is None:
            log.error("message in HOOKS is not a job; moved to dead letters", extra={"subject": message.subject})
            self._tasks.create_task(self._end_for_good(message, consumer))
        else:
            held = PendingJob(job, asyncio.get_running_loop().time(), message, consumer, size=len(message.payload))
            held.suspect = message.sequence <= self._suspects[consumer.stream] or message.attempt > 1
            self._hand[key] = held
            self._bytes += held.size
            if job.due_at:
                metrics.lateness.observe(max(0.0, (message.time - job.due_at) / 1e9))
            self._admit(held)
        if fresh:
            self._reached_fresh = message.sequence
            # What the consumer believes to be left is not asked: in a cluster it may be behind.
            if not self.caught_up and message.sequence >= self._goal:
                self._caught_up()

    def _caught_up(self) -> None:
        self.caught_up = True
        for gate in self.gates.values():
            gate.wake()

    def _admit(self, held: PendingJob) -> None:
        session_id = held.job.session
        if session_id in self._limbo:
            # Behind those that came before it, although the session may be known by now.
            self._limbo[session_id].append(held)
        elif (gate := self._gate(session_id)) is not None:
            gate.admit(held)
        else:
            self._limbo[session_id] = [held]
            self.spawn(self._find(session_id), "find")

    async def _find(self, session_id: str) -> None:
        """Asks for a session that was not heard of yet, or no more; its jobs wait meanwhile."""
        while self.open:
            try:
                session = await self._registry.find(session_id)
                known = session.spec.webhook is not None
            except Problem:
                if not await self._is_gone(session_id):
                    await asyncio.sleep(0.3)
                    continue
                known = False
            except BrokerError as fault:
                log.debug("a session could not be looked up", extra={"fault": str(fault)})
                await asyncio.sleep(0.3)
                continue
            for held in self._limbo.pop(session_id, []):
                if known and (gate := self._gate(session_id)) is not None:
                    gate.admit(held)
                else:
                    await self._drop(held)
            return

    async def _is_gone(self, session_id: str) -> bool:
        """Whether a session that is not known is no more; where that cannot be asked, it may be there."""
        try:
            return await is_deleted(self._registry, session_id)
        except BrokerError as fault:
            log.debug("a session could not be looked up", extra={"fault": str(fault)})
            return False

    async def _drop(self, held: PendingJob) -> None:
        """Ends a job of a session that is no more."""
        self._end([held])
        metrics.jobs.labels("dropped").inc(len(held.job.parts) or 1)

    async def _end_for_good(self, message: Message, consumer: Consumer) -> None:
        try:
            await self._add_undecodable(consumer.stream, message.sequence, message.subject, message.payload)
            await message.term("not a job")
        except BrokerError:
            log.debug("what is no job was not ended; it comes again")
        finally:
            consumer.done()

    async def _add_undecodable(self, stream: str, sequence: int, subject: str, payload: bytes) -> None:
        await self._backstage.deadletters.add_undecodable(
            stream, sequence, subject, payload, fault="not a job", source="edge.webhooks", reason="not_a_job"
        )

    async def _confirm_again(self, message: Message, consumer: Consumer) -> None:
        try:
            await message.ack()
        except BrokerError:
            log.debug("a settled job was not confirmed; it comes again")
        finally:
            consumer.done()

    def weigh(self, held: PendingJob) -> int:
        session = self._registry.sessions.get(held.job.session)
        try:
            # What costs most of it is kept for the post.
            body = self._posting_of(session, [self._backstage.record(held.job)], batch=True).body if session else b""
        except _SPOILT:
            body = b""
        # A batch that fails becomes one message: it holds each event with its headers.
        room = self._broker.connection.max_payload // 2
        return max(len(body) + 1, (held.size + 512) * MAX_BATCH_BYTES // room)

    def rest(self, held: list[PendingJob]) -> None:
        for each in held:
            if each.consumer is not None and not each.resting:
                each.resting = True
                each.consumer.done()
                self._bytes -= each.size

    def fetched(self, gate: EndpointDispatcher, lane: OrderedQueue, held: PendingJob) -> bool:
        if held.parked_at in self._gone:
            self._end([held])
            return False
        return True

    async def throw_away(self, parked: ParkedJob) -> None:
        log.error("parked message in HOOKS is not a job; moved to dead letters", extra={"sequence": parked.sequence})
        try:
            await self._add_undecodable(HOOKS, parked.sequence, parked.subject, parked.payload)
            await self.parking.remove(parked.sequence)
        except BrokerError:
            log.debug("a parked message that is not a job was not removed; it will be read again")

    async def stored(self, gate: EndpointDispatcher, lane: OrderedQueue, some: list[PendingJob]) -> None:
        publishes = [held.job.parked(lane.name, held.order) for held in some]
        results = await self.parking.put(publishes, in_order=lane.serial)
        fault: BrokerError | None = None
        again: list[PendingJob] = []
        for held, result in zip(some, results, strict=True):
            if fault is not None and lane.serial:
                again.append(held)
                if not isinstance(result, BrokerError):
                    # Stored before one that was not, and removed again: the next time it is another message.
                    held.job = replace(held.job, parks=held.job.parks + 1)
            elif is_full(result):
                lane.behind -= 1
                self.spawn(self._overflow(gate, held), "overflow")
            elif is_too_large(result):
                lane.behind -= 1
                self.spawn(self._overflow(gate, held, "too_large"), "too large")
            elif isinstance(result, BrokerError):
                fault = result
                held.unsure = True
                again.append(held)
            else:
                metrics.parked_jobs.inc()
                if result.duplicate and not held.unsure:
                    # ParkedJob by a predecessor: it is counted, or settled since.
                    lane.behind -= 1
                self._end([held])
        for _ in some:
            lane.stowing.popleft()
        lane.stowing.extendleft(reversed(again))
        if fault is not None:
            raise fault

    async def _overflow(self, gate: EndpointDispatcher, held: PendingJob, reason: str = "overflow") -> None:
        session = self._registry.sessions.get(gate.session)
        if session is not None:
            await self._give_up(session, [held], reason)
        else:
            await self._drop(held)

    async def _give_up(self, session: Session, some: list[PendingJob], reason: str) -> None:
        """Buries jobs that are over before they were posted."""
        for held in some:
            unit, outcome = Post([held], held.job), Outcome(Verdict.FINAL, fault=reason)
            await self._insist(partial(self._bury, session, unit, outcome, reason))
            self._end([held])
            self._count_failed(session, unit, reason)

    # One attempt and its end

    def begin(self, gate: EndpointDispatcher, lane: OrderedQueue, unit: Post) -> None:
        if self._asking is not None:
            # Whoever has just freed the place goes on with it.
            self._asking.append((gate, lane, unit))
            self._asking = None
            return
        assert self._tasks is not None
        task = self._tasks.create_task(self._work_on(gate, lane, unit))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def _work_on(self, gate: EndpointDispatcher, lane: OrderedQueue, unit: Post) -> None:
        """One attempt after the other: a place that is free again is taken by who has freed it, which saves a task each."""
        going = [(gate, lane, unit)]
        while going:
            gate, lane, unit = going.pop()
            try:
                freed = await self._work(gate, lane, unit)
            except Exception as fault:  # noqa: BLE001 - logged with its traceback by `_failed`
                # The place was freed by then. A fault of ours at one job must not end the work on all others.
                await self._failed(gate, lane, unit, fault)
                freed = False
            if freed:
                self._asking = going
                gate.finished(lane)
                self._asking = None

    async def _failed(self, gate: EndpointDispatcher, lane: OrderedQueue, unit: Post, fault: Exception) -> None:
        """Gives up jobs at which the work itself failed: each becomes a dead letter that says so."""
        log.error("the work on a webhook job failed", extra={"session": gate.session}, exc_info=fault)
        record_faults.labels("webhook").inc()
        session = self._registry.sessions.get(gate.session)
        if session is None or session.spec.webhook is None:
            for held in unit.held:
                await self._drop(held)
            return
        outcome = Outcome(Verdict.FINAL, fault="fault", note=repr(fault)[:500])
        if is_to_be_split(unit.job, outcome) and not lane.serial:
            await self._insist(partial(self._split, session, gate, lane, unit, outcome, 0.0))
            return
        await self._insist(partial(self._bury, session, unit, outcome, "fault"))
        await self._over(gate, lane, unit)
        self._count_failed(session, unit, "fault")

    async def _work(self, gate: EndpointDispatcher, lane: OrderedQueue, unit: Post) -> bool:
        """One attempt, from the jobs in hand to their end; says whether the place it had is still to be freed."""
        taken = True
        try:
            session = self._registry.sessions.get(gate.session)
            if session is None or session.spec.webhook is None:
                for held in unit.held:
                    await self._drop(held)
                return True
            endpoint = session.spec.webhook
            policy = gate.policy or endpoint
            outcome = self._too_old(unit, policy) or (await self._killed(unit) if unit.suspect else None)
            if outcome is None:
                begun = wall.now_ns()
                answer = await self._attempt(session, endpoint, unit)
                if answer.verdict is Verdict.POSTPONED:
                    self._postpone(gate, lane, unit, answer)
                    return True
                outcome = gate.rules.judge(answer)
                wait = self._wait(gate.rules, policy, unit, outcome)
                split = wait is None and is_to_be_split(unit.job, outcome)
                self._note(session, gate, unit, outcome, begun, 0.0 if split else wait)
                gate.took(outcome.seconds)
                # How the endpoint is has nothing to do with what is retried.
                news = gate.health.note(answer, policy.concurrency)
                if news or gate.health.shown_state != "closed":
                    self._noted(gate)
                for each in news:
                    self._tell(session, gate, each, unit, answer)
                if unit.job.attempt >= FAILING_ATTEMPTS:
                    self._tell_attempt(session, unit, outcome, wait is not None or split)
            else:
                wait = None
            quick = outcome.verdict is Verdict.DELIVERED and not unit.suspect and lane.head is None
            if quick and not unit.has_letters:
                self._end(unit.held)
                self._count_delivered(session, unit)
                return True
            if not lane.serial:
                # The endpoint is free for its next; what follows is between us and NATS.
                taken = False
                gate.finished(lane)
            await self._insist(lambda: self._settle(session, policy, gate, lane, unit, outcome, wait))
            return taken
        except BaseException:
            if taken:
                gate.finished(lane)
            raise

    def _postpone(self, gate: EndpointDispatcher, lane: OrderedQueue, unit: Post, outcome: Outcome) -> None:
        """Puts off what could not be posted for a reason of ours: no attempt is counted, and the breaker is not told."""
        metrics.postponed.labels(outcome.postponed_for).inc()
        if outcome.postponed_for == "address":
            log.warning("a webhook leads to an address that is denied", extra={"session": gate.session})
            shortages.note("address")
        if self.gates.get(gate.session) is gate:
            gate.postpone(lane, unit, postponement(outcome))
            return
        # The session was deleted meanwhile: nothing would come of it in the lanes that it had.
        for held in unit.held:
            self._admit(held)

    def _too_old(self, unit: Post, policy: EndpointSettings) -> Outcome | None:
        """Whether a unit is over before it is posted, because it has waited too long."""
        age = (wall.now_ns() - unit.job.queued) / 1e9
        return Outcome(Verdict.FINAL, fault="ttl_expired") if age > self._patience(policy) else None

    async def _killed(self, unit: Post) -> Outcome | None:
        """Whether a unit is over before it is posted, because too many have died of it."""
        for held in unit.held:
            if held.suspect:
                stream, sequence = (
                    (HOOKS, held.parked_at)
                    if held.message is None or held.consumer is None
                    else (held.consumer.stream, held.message.sequence)
                )
                held.suspect = False
                try:
                    kills = await self._backstage.conditions.count_kill(stream, sequence)
                except BrokerError:
                    continue
                if kills > self.settings.kills:
                    return Outcome(Verdict.FINAL, fault="poison")
        return None

    def _patience(self, policy: EndpointSettings) -> float:
        """How long a job may wait in all, in seconds."""
        return self.settings.keep if policy.max_age is None else policy.max_age

    def _posting_of(self, session: Session, records: Sequence[Record], batch: bool) -> Posting:
        """What is posted of some events. Raises one of `_SPOILT` where an event is none, or cannot be written."""
        for record in records:
            if record.event is None:
                raise BadInput("a job's event cannot be read")
        return posting(records, self._backstage.epoch(), session.id, session.spec.dialect, batch)

    async def _attempt(self, session: Session, endpoint: EndpointSettings, unit: Post) -> Outcome:
        try:
            records = [self._backstage.record(job) for job in unit.jobs]
            made = self._posting_of(session, records, bool(unit.job.parts))
        except _SPOILT:
            return Outcome(Verdict.FINAL, fault="decode_error")
        event = records[0].event
        came_with = event.trace if event is not None else None
        # The receiver's own spans hang under this attempt.
        trace = tracing.begin(came_with) if came_with and tracing.recorder else came_with
        begun = wall.now_ns()
        metrics.under_way.add(unit)
        try:
            outcome = await self._backstage.sender.post(
                endpoint,
                unit.id,
                session.id,
                made.body,
                trace,
                content_type=made.content_type,
                more=made.headers,
            )
        finally:
            metrics.under_way.discard(unit)
        if outcome.verdict is not Verdict.POSTPONED:
            metrics.attempt(outcome.fault, outcome.seconds)
        if trace is not None and trace is not came_with:
            tracing.tell(
                "webhook",
                "client",
                came_with,
                trace,
                begun,
                outcome.fault,
                session=session.id,
                attempt=unit.job.attempt,
            )
        if outcome.verdict is Verdict.DELIVERED and event is not None:
            metrics.acknowledged(event.time, len(unit.jobs))
        return outcome

    def _wait(self, rules: Rules, policy: EndpointSettings, unit: Post, outcome: Outcome) -> float | None:
        """The seconds until the next try; None where there is none."""
        job = unit.job
        made = job.attempt - job.tried
        if outcome.verdict is not Verdict.RETRY or made > policy.retry_attempts:
            return None
        if job.tried and is_to_be_split(job, outcome):
            return None  # a batch of which one event is refused; the halves say which
        return pause(made, rules.schedule, outcome.retry_after)

    def _note(
        self,
        session: Session,
        gate: EndpointDispatcher,
        unit: Post,
        outcome: Outcome,
        begun: int,
        wait: float | None,
    ) -> None:
        """Notes the attempt for who asks what became of a delivery."""
        job = unit.job
        self._backstage.attempts.note(
            Attempt.of(
                outcome,
                session=session.id,
                delivery=unit.id,
                event=job.event_id,
                sequence=job.sequence,
                begun=begun,
                subject=job.subject,
                attempt=job.attempt,
                trigger=job.trigger,
                destination=gate.destination,
                next=0 if wait is None else wall.now_ns() + int(wait * 1e9),
                parts=[Part(part.event_id, part.sequence) for part in job.parts],
            )
        )

    async def _insist(self, settle: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Settles, again and again until it is done: what it stores has the same id each time."""
        while True:
            try:
                await settle()
                return
            except BrokerError as fault:
                log.warning("a webhook job was not settled yet", extra={"fault": str(fault)})
                await asyncio.sleep(random.uniform(0.2, 0.6))

    async def _settle(
        self,
        session: Session,
        policy: EndpointSettings,
        gate: EndpointDispatcher,
        lane: OrderedQueue,
        unit: Post,
        outcome: Outcome,
        wait: float | None,
    ) -> None:
        """Makes what an attempt came to true. Raises BrokerError where the jobs must stay as they are."""
        job, stats = unit.job, self._backstage.stats(session.id)
        if outcome.verdict is Verdict.DELIVERED:
            if unit.suspect and not lane.serial:
                # One who died may have left a retry of this delivery, which would deliver it again.
                await self._broker.stream(RETRIES).purge(job.next_attempt(0).schedule)
            for part in unit.jobs if unit.has_letters else ():
                await self._backstage.sent_again.remove(part)
            await self._over(gate, lane, unit)
            self._count_delivered(session, unit)
            return
        stats.last_error = outcome.detail
        if wait is not None:
            if lane.serial:
                head = Head(
                    unit.id,
                    len(unit.held),
                    job.attempt + 1,
                    wall.now() + wait,
                    last_status=outcome.status,
                    tried=job.tried,
                    rest=_rest(lane),
                )
                gate.retry(lane, unit, head)
                await self._keep_head(gate, lane)
            else:
                if not await self._store_retry(session, job.next_attempt(outcome.status), wait):
                    if len(job.parts) > 1:
                        await self._split(session, gate, lane, unit, outcome, wait)
                        return
                    # What the last attempt said is kept with it.
                    await self._bury(session, unit, outcome, "too_large")
                    self._end(unit.held)
                    self._count_failed(session, unit, "too_large")
                    return
                self._end(unit.held)
            stats.retries += 1
            metrics.retried.inc()
            return
        if is_to_be_split(job, outcome):
            await self._split(session, gate, lane, unit, outcome, outcome.retry_after)
            return
        reason = outcome.fault if outcome.verdict is Verdict.FINAL else "exhausted"
        if lane.serial and policy.on_exhausted == "halt" and reason not in _OURS:
            head = Head(unit.id, len(unit.held), 1, 0.0, True, outcome.status, wall.now(), rest=_rest(lane))
            gate.retry(lane, unit, head)
            await self._keep_head(gate, lane)
            for each in gate.health.disable("halted") if lane.name == ALL else [StateChange("disabled", "halted")]:
                self._tell(session, gate, each, unit, outcome)
            self._noted(gate)
            return
        await self._bury(session, unit, outcome, reason)
        await self._over(gate, lane, unit)
        self._count_failed(session, unit, reason)

    async def _store_retry(self, session: Session, job: Job, wait: float) -> bool:
        """Schedules a job to come back in so many seconds; False where it is too large to be stored. Raises BrokerError."""
        try:
            await self._broker.store(job.schedule, job.body, job.due(wall.now_ns() + int(wait * 1e9)))
        except (Refused, Cut) as fault:
            if not (isinstance(fault, Cut) or is_too_large(fault)):
                raise
            log.error("a retry cannot be stored", extra={"session": session.id, "fault": str(fault)})
            return False
        return True

    async def _split(
        self, session: Session, gate: EndpointDispatcher, lane: OrderedQueue, unit: Post, outcome: Outcome, wait: float
    ) -> None:
        """Tries a batch in two halves, after so many seconds: in an ordered queue one after the other. Raises BrokerError."""
        halves = halve(unit.job, outcome)
        if lane.serial and len(unit.held) > 1:
            gate.retry(lane, unit, head_of(halves, lane.head, wall.now() + wait if wait else 0.0))
            await self._keep_head(gate, lane)
        else:
            for half in halves:
                if not await self._store_retry(session, half, wait):
                    lost = Post([], half)
                    await self._bury(session, lost, outcome, "too_large")
                    self._count_failed(session, lost, "too_large")
            await self._over(gate, lane, unit)
        metrics.jobs.labels("split").inc()
        log.info(
            "a batch was split",
            extra={"session": session.id, "events": len(unit.jobs), "reason": outcome.fault, "status": outcome.status},
        )

    def _count_delivered(self, session: Session, unit: Post) -> None:
        stats = self._backstage.stats(session.id)
        stats.offered(_asked_again(unit))
        stats.written(len(unit.jobs))
        now = wall.now_ns()
        for part in unit.jobs:
            metrics.age.observe_many(max(0.0, (now - part.queued) / 1e9), 1)

    def _count_failed(self, session: Session, unit: Post, reason: str) -> None:
        stats = self._backstage.stats(session.id)
        stats.offered(_asked_again(unit))
        stats.failed += len(unit.jobs)
        stats.last_error = stats.last_error or reason
        metrics.jobs.labels("deadlettered").inc(len(unit.jobs))

    async def _over(self, gate: EndpointDispatcher, lane: OrderedQueue, unit: Post) -> None:
        """Ends a unit for good."""
        self._end(unit.held)
        if lane.head is not None:
            lane.head, lane.not_before = following(lane.head), 0.0
            await self._keep_head(gate, lane)

    async def _bury(self, session: Session, unit: Post, outcome: Outcome, reason: str) -> None:
        """Buries jobs and says so."""
        endpoint = session.spec.webhook
        assert endpoint is not None
        job = unit.job
        attempts = attempts_of(job, outcome)
        detail = outcome.detail + (f": {outcome.head.decode(errors='replace')}" if outcome.head else "")
        for part in job.parts or (job,):
            await self._backstage.deadletters.add(
                webhook_subject(session.id),
                part.payload,
                origin=Origin(EVENTS, part.sequence, STORED + part.subject),
                reason=reason,
                detail=detail[:512],
                attempts=attempts,
                first=part.queued,
                last=wall.now_ns(),
                destination=endpoint.destination,
                source=session.id,
                redrives=part.run,
                id=part.letter_id,
            )
            # The new letter takes the place of that of an earlier time.
            await self._backstage.sent_again.remove(part)
            if is_told(part):
                event = deadletter_event(session, part, job, outcome, reason, self._backstage.epoch())
                try:
                    await self._backstage.tell(event)
                except BadInput as fault:
                    # Of a job whose headers are not ours; its letter is there.
                    log.warning("news of a dead letter cannot be told", extra={"fault": str(fault)})
        log.warning(
            "a webhook delivery was given up", extra={"session": session.id, "reason": reason, "attempts": attempts}
        )

    def _end(self, some: list[PendingJob]) -> None:
        """Takes settled jobs out of the stream. They are remembered: where that fails they are ended when they come again."""
        for held in some:
            self._remember(held)
            if held.message is not None:
                self._backstage.acks.acknowledge(held.message)
            elif held.parked_at:
                self._backstage.acks.remove(held.parked_at)
            self._let_go(held)

    def _remember(self, held: PendingJob) -> None:
        if held.message is None:
            self._gone[held.parked_at] = None
            if len(self._gone) > SETTLED:
                self._gone.popitem(last=False)
        elif held.consumer is not None:
            self._settled[held.consumer.stream, held.message.sequence, held.message.time] = None
            if len(self._settled) > SETTLED:
                self._settled.popitem(last=False)

    def _let_go(self, held: PendingJob) -> None:
        if held.message is None or held.consumer is None:
            return
        known = self._hand.pop((held.consumer.stream, held.message.sequence, held.message.time), None)
        if known is not None and not held.resting:
            held.consumer.done()
            self._bytes -= held.size

    # Beside the work

    async def pending(self) -> tuple[int, int]:
        """How many new jobs and retries are not in hand yet. Raises BrokerError."""
        found = []
        for stream in (HOOKS, RETRIES):
            consumer = self._consumers.get(stream)
            try:
                info = await self._broker.stream(stream).consumer_info(consumer.name) if consumer else {}
            except Refused:  # it is being made again
                info = {}
            found.append(int(info.get("num_pending", 0)))
        return found[0], found[1]

    async def _keep(self) -> None:
        """Says of the jobs that take long that they are still worked, before the server hands them out again."""
        loop = asyncio.get_running_loop()
        # So a job is extended before less than half of its time is over, and a second time before the rest is.
        every = self.settings.ack_wait / 4
        while True:
            await asyncio.sleep(every)
            for held in list(self._hand.values()):
                if held.message is not None and loop.time() - held.since >= every / 2:
                    try:
                        await held.message.working()
                    except BrokerError:
                        break

    def _noted(self, gate: EndpointDispatcher) -> None:
        self._dirty[gate.session] = gate
        self._pen.set()

    async def _write(self) -> None:
        """Keeps the conditions that have changed."""
        while True:
            await self._pen.wait()
            self._pen.clear()
            for session in list(self._dirty):
                try:
                    await self._write_one(session)
                except BrokerError as fault:
                    log.debug("a condition was not kept", extra={"fault": str(fault)})
                    self._pen.set()
            await asyncio.sleep(0.1)

    async def _write_one(self, session: str) -> None:
        gate = self._dirty.pop(session, None)
        if gate is None or self.gates.get(session) is not gate:
            return
        try:
            await self._backstage.conditions.keep(session, gate.health.condition(gate.parked, gate.oldest))
        except Conflict:
            condition = self._backstage.conditions.of(session)
            if condition is not None:
                self._condition_changed(session, condition)
        except BrokerError:
            self._dirty.setdefault(session, gate)
            raise

    def _tell(
        self, session: Session, gate: EndpointDispatcher, news: StateChange, unit: Post, outcome: Outcome
    ) -> None:
        """Tells of an endpoint, and of the attempt that changed it."""
        log.warning(
            "a webhook endpoint changed", extra={"session": session.id, "news": news.name, "reason": news.reason}
        )
        if news.name == "disabled":
            metrics.disabled.inc()
        unique = f"{int(gate.health.since * 1000)}.{gate.health.warned}"
        # Of news that could not be delivered it is not said what they were: a chain of them would grow with each link.
        job = unit.job if is_told(unit.job) else None
        event = endpoint_event(session, news, unique, gate.health.condition(), job, outcome, self._backstage.epoch())
        self.spawn(self._insist(lambda: self._backstage.tell(event)), "tell")

    def _tell_attempt(self, session: Session, unit: Post, outcome: Outcome, again: bool) -> None:
        """Tells of a delivery whose attempts go on failing, and of one that was made after all."""
        job = unit.job
        if outcome.verdict is Verdict.DELIVERED:
            kind = "attempt_recovered" if job.attempt > FAILING_ATTEMPTS else ""
        else:
            kind = "attempt_failing" if again and job.attempt == FAILING_ATTEMPTS else ""
        if not kind or not is_told(job):
            return
        try:
            event = attempt_event(kind, session, job, outcome, self._backstage.epoch())
        except BadInput as fault:
            log.warning("news of a delivery cannot be told", extra={"fault": str(fault)})
            return
        self.spawn(self._insist(lambda: self._backstage.tell(event)), "tell")

    async def _sweep(self) -> None:
        """Looks after what is parked: what has waited too long, what was counted wrongly, what is remembered for nothing."""
        while True:
            # All partitions of a process at once, so that it wakes once for them; processes each at their own time.
            await asyncio.sleep(self.settings.sweep - (time.monotonic() + _PHASE) % self.settings.sweep)
            try:
                await self._look_after_parks()
            except BrokerError as fault:
                log.debug("parked jobs cannot be looked after", extra={"fault": str(fault)})

    async def _look_after_parks(self) -> None:
        if not self.caught_up:
            # What was there before may have been removed meanwhile.
            subjects = f"{FRESH}.{self.partition}.*"
            following = await next_job(self._broker, subjects, self._reached_fresh)
            if not following or following > self._goal:
                self._caught_up()
        if time.monotonic() >= self._recount_at:
            await self._recount()
        for gate in list(self.gates.values()):
            if gate.policy is None:
                continue
            await self._expire(gate)
            if gate.idle and time.monotonic() - gate.used > 10 * self.settings.sweep:
                gate.end()
                self.gates.pop(gate.session, None)

    async def _recount(self) -> None:
        """Counts what is parked, as the server knows it, in case it was counted wrongly here."""
        begun = time.monotonic()
        counts = await self.parking.counts(self.partition)
        for (session_id, name), count in counts.items():
            gate = self._gate(session_id)
            if gate is None:
                continue
            assert gate.policy is not None
            lane = gate.lane(name, name != ALL or gate.policy.mode == "fifo")
            if not (lane.behind or lane.queue or lane.under_way or lane.stowing):
                lane.behind, lane.after = count, 0
                gate.wake()
        now = time.monotonic()
        # The server lists each lane by name: of tens of thousands that takes as long as a share of the time allows.
        self._recount_at = now + (now - begun) / RECOUNT_SHARE

    async def _expire_parked(self, gate: EndpointDispatcher, session: Session, born: int, reason: str) -> int:
        """Gives up what is parked and was queued before `born`, where nothing may be posted; says when the oldest was, in ns.

        All lanes are read together, oldest first, up to the first job that is young enough: one page, however many lanes
        there are. Raises BrokerError.
        """
        after = oldest = 0
        for _ in range(EXPIRE_PAGES):
            given_up = False
            page, _ = await self.parking.page(self.partition, gate.session, "*", after, EXPIRE_JOBS)
            for parked in page:
                after, job = parked.sequence, parked.job
                if job is None or after in self._gone:
                    continue
                if job.queued >= born:
                    return min(oldest or job.queued, job.queued)
                lane = gate.lanes.get(parked.subject.rpartition(".")[2])
                # What has been fetched is in hand, and expires there.
                if lane is None or lane.queue or lane.under_way or after <= lane.after or not _is_shut(gate, lane):
                    oldest = min(oldest or job.queued, job.queued)
                    continue
                await self._forget_head(gate, lane)
                lane.behind -= 1
                await self._give_up(session, [PendingJob(job, 0.0, parked_at=after)], reason)
                given_up = True
            if not page or not (given_up or gate.blocked_for > 0):
                break  # what is posted meanwhile expires where it is posted
        await self._backstage.acks.flushed()
        return oldest

    async def _forget_head(self, gate: EndpointDispatcher, lane: OrderedQueue) -> None:
        """Forgets how far a lane's first has come, because it is given up unposted."""
        if lane.head is not None:
            lane.head, lane.not_before = None, 0.0
            await self._keep_head(gate, lane)

    async def _expire(self, gate: EndpointDispatcher) -> None:
        """Buries what has waited too long at a gate that is shut."""
        session = self._registry.sessions.get(gate.session)
        if session is None or session.spec.webhook is None:
            return
        policy = gate.policy or session.spec.webhook
        reason = "endpoint_disabled" if gate.health.state == "disabled" else "ttl_expired"
        born = wall.now_ns() - int(self._patience(policy) * 1e9)
        for lane in list(gate.lanes.values()):
            while lane.queue and _is_shut(gate, lane) and not lane.under_way and lane.queue[0].job.queued < born:
                await self._forget_head(gate, lane)
                await self._give_up(session, [lane.queue.popleft()], reason)
        gate.oldest = await self._expire_parked(gate, session, born, reason) / 1e9 if gate.parked else 0.0
        if gate.shown != (gate.parked, gate.oldest):
            gate.shown = (gate.parked, gate.oldest)
            self._noted(gate)


def _is_shut(gate: EndpointDispatcher, lane: OrderedQueue) -> bool:
    """Whether nothing of a lane may be posted now."""
    return gate.blocked_for > 0 or lane.halted or lane.not_before > wall.now()


def _resumed(head: Head) -> Head:
    """A lane's first that may be tried again, from the beginning."""
    return replace(head, attempt=1, not_before=0.0, halted=False, tried=0)


def _rest(lane: OrderedQueue) -> list[Piece]:
    """The pieces of a split batch that follow a lane's first."""
    return lane.head.rest if lane.head is not None else []


def _asked_again(unit: Post) -> int:
    """Deliveries of a unit that the fan-out did not ask for."""
    return sum(1 for job in unit.jobs if job.chain)
