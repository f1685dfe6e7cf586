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
from edge.sessions.endpoint.body import MAX_BATCH_BYTES
from edge.sessions.endpoint.settings import EndpointSettings
from edge.sessions.registry import Registry, Session, is_deleted
from edge.settings import PolicySettings
from edge.stats import Stats
from edge.webhooks import metrics
from edge.webhooks.client.outcome import MAX_RETRY_AFTER, Outcome, Verdict, pause, postponement
from edge.webhooks.client.payload import Posting, posting
from edge.webhooks.client.sender import Sender
from edge.webhooks.endpoint.breaker import CircuitBreaker, CircuitBreakerSettings
from edge.webhooks.endpoint.dispatch import EndpointDispatcher
from edge.webhooks.endpoint.rules import Rules, rules_of
from edge.webhooks.endpoint.splitting import attempts_of, following, halve, head_of, is_to_be_split
from edge.webhooks.endpoint.state import EndpointState, StateChange
from edge.webhooks.endpoint.state_changes import (
    FAILING_ATTEMPTS,
    attempt_event,
    deadletter_event,
    endpoint_event,
    is_told,
)
from edge.webhooks.endpoint.store import EndpointStore
from edge.webhooks.history.attempt import Attempt, Part
from edge.webhooks.history.attempt_log import AttemptLog
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
# What ends a job without its endpoint having said anything: no reason to halt a queue.
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

    # Jobs one partition may have in hand, of new ones and of retries each; past three quarters, or so many bytes, queues
    # hold fewer.
    credit: int = 512
    credit_bytes: int = 16 * 1024 * 1024
    # The server hands a job out again after so long without a word of it; one that is still worked is spoken of before.
    ack_wait: float = 30.0
    queue: QueueSettings = field(default_factory=QueueSettings)
    breaker: CircuitBreakerSettings = field(default_factory=CircuitBreakerSettings)
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
    endpoints: EndpointStore
    stats: Callable[[str], Stats]
    epoch: Callable[[], str]
    settings: WorkerSettings
    partitions: int

    def __post_init__(self) -> None:
        self.deadletters = DeadLetters(self.broker)
        self.sent_again = SentAgain(self.broker)
        self.backlog = Backlog(self.broker, self.publisher)
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

    def __init__(self, context: WorkerContext, partition: int, epoch: int, clean: bool) -> None:
        """`clean` says that the predecessor let go in good order."""
        self.partition = partition
        self.epoch = epoch
        self.caught_up = False
        self.settings = context.settings
        self.queue_settings = context.settings.queue
        self.backlog = context.backlog
        self.dispatchers: dict[str, EndpointDispatcher] = {}
        self._context = context
        self._broker = context.broker
        self._registry = context.registry
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
        # Where the next post goes while somebody asks for one.
        self._asking: list[tuple[EndpointDispatcher, OrderedQueue, Post]] | None = None
        self._unresolved: dict[str, list[PendingJob]] = {}
        self._heads: dict[tuple[str, str], Head] = {}
        # Up to here jobs were in the hands of a predecessor who died.
        self._suspects = {HOOKS: 0, RETRIES: 0}
        # How far new jobs have come: up to `goal` they were there before we were.
        self._goal = self._reached_fresh = 0
        # What the predecessors have parked, by session and queue.
        # How many jobs of a predecessor each queue has parked, by session; until the session's dispatcher is made.
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
    def in_hand(self) -> int:
        """Jobs in hand that came from a consumer."""
        return len(self._hand)

    async def run(self) -> None:
        """Works until cancelled, or until `close` has let everything go."""
        unlisten = self._context.endpoints.on_change(self._condition_changed)
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
                    for dispatcher in self.dispatchers.values():
                        dispatcher.end()
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
        await self._context.acks.flushed()
        for stream, consumer in self._consumers.items():
            pending = sum(1 for key in self._hand if key[0] == stream)
            for _ in range(10):
                info = await self._broker.stream(stream).consumer_info(consumer.name)
                if info["num_ack_pending"] <= pending:
                    break
                await asyncio.sleep(0.02)

    def was_there(self, pending: PendingJob) -> bool:
        return (
            pending.message is not None
            and pending.consumer is not None
            and pending.consumer.stream == HOOKS
            and pending.message.sequence <= self._goal
        )

    def is_ready(self, session: str) -> bool:
        return self.caught_up and session not in self._unresolved

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
                heads = await self._context.endpoints.heads()
                self._heads = {
                    key: head
                    for key, head in heads.items()
                    if partition_of(key[0], self._context.partitions) == self.partition
                }
                self._parks = {}
                for (session_id, name), count in (await self.backlog.counts(self.partition)).items():
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
            if self._dispatcher(session_id) is None:
                self.spawn(self._find_parked(session_id), "find")

    def _open_park(self, dispatcher: EndpointDispatcher, name: str, count: int) -> None:
        assert dispatcher.policy is not None
        queue = dispatcher.queue(name, name != ALL or dispatcher.policy.mode == "fifo")
        queue.behind += count
        queue.suspects = not self._clean
        if queue.serial:
            queue.first = 0
        dispatcher.wake()

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
            self._dispatcher(session_id)
            return

    async def _purge(self, subjects: str) -> None:
        try:
            await self._broker.stream(HOOKS).purge(subjects)
        except BrokerError as fault:
            log.debug("parked jobs of a deleted session were not removed", extra={"fault": str(fault)})

    # Gates

    def _dispatcher(self, session_id: str) -> EndpointDispatcher | None:
        """The dispatcher of a session; None where the session is not known, or is no webhook."""
        dispatcher = self.dispatchers.get(session_id)
        if dispatcher is not None:
            return dispatcher
        session = self._registry.sessions.get(session_id)
        if session is None or session.spec.webhook is None:
            return None
        rules = self.rules(session.spec.webhook)
        breaker = CircuitBreaker(rules.breaker, 1, self._context.endpoints.of(session_id))
        dispatcher = self.dispatchers[session_id] = EndpointDispatcher(self, session_id, breaker, session.spec.webhook)
        for key in [key for key in self._heads if key[0] == session_id]:
            head = self._heads.pop(key)
            if head.halted and breaker.enabled_at > head.since:
                head = _resumed(head)
            queue = dispatcher.queue(key[1], True)
            # Further ahead than any pause is legal it was written by a clock that was wrong.
            longest = max(*rules.schedule, MAX_RETRY_AFTER) + 1.0
            dispatcher.restored(queue, head, ceiling(head.not_before, wall.now(), longest))
        # Before any job of it is admitted: what is new goes behind what is parked.
        for name, count in self._parks.pop(session_id, {}).items():
            self._open_park(dispatcher, name, count)
        return dispatcher

    def rules(self, endpoint: EndpointSettings) -> Rules:
        """What counts for an endpoint of retries, circuit breaker and auto-disable."""
        policy = self.settings.policy
        schedule = self.settings.schedule or (endpoint.retry_profile == "guide" and policy.retry_schedule)
        return rules_of(endpoint.policy, schedule or endpoint.schedule, policy, self.settings.breaker)

    def changed(self, session_id: str, session: Session | None) -> None:
        """Hears that a session was changed, or deleted."""
        dispatcher = self.dispatchers.get(session_id)
        if dispatcher is None:
            return
        if session is None or session.spec.webhook is None:
            del self.dispatchers[session_id]
            dispatcher.end()
            for queue in dispatcher.queues.values():
                for pending in (*queue.waiting, *queue.early, *queue.parking):
                    self.spawn(self._drop(pending), "drop")
                queue.waiting.clear()
                queue.early.clear()
                queue.parking.clear()
                queue.behind = 0
            dispatcher.policy = None
        else:
            dispatcher.change(session.spec.webhook)

    def _condition_changed(self, session_id: str, condition: EndpointState) -> None:
        """Hears that somebody enabled or disabled an endpoint."""
        dispatcher = self.dispatchers.get(session_id)
        if dispatcher is None:
            return  # nothing in hand: it is read when there is
        enabled_at = dispatcher.breaker.enabled_at
        dispatcher.breaker.adopt(condition)
        if condition.enabled_at > enabled_at:
            for queue in dispatcher.queues.values():
                if queue.head is not None:
                    self._resume(dispatcher, queue)
        dispatcher.wake()

    def _resume(self, dispatcher: EndpointDispatcher, queue: OrderedQueue) -> None:
        assert queue.head is not None
        queue.head = _resumed(queue.head)
        self.spawn(self._keep_head(dispatcher, queue), "head")
        dispatcher.resume(queue)

    async def _keep_head(self, dispatcher: EndpointDispatcher, queue: OrderedQueue) -> None:
        """Keeps how far a queue's first has come; where that fails, a successor may try it more often than it should."""
        try:
            if queue.head is None:
                await self._context.endpoints.drop_head(dispatcher.session, queue.name)
            else:
                await self._context.endpoints.keep_head(dispatcher.session, queue.name, queue.head)
        except BrokerError as fault:
            log.debug("a queue's head was not kept", extra={"fault": str(fault)})

    # In

    def _heard(self, message: Message, consumer: Consumer) -> None:
        """Takes a job from the read loop and finds it a place."""
        if self._tasks is None or self._closing:
            return  # a successor gets it
        key = (consumer.stream, message.sequence, message.time)
        fresh = consumer.stream == HOOKS
        if (pending := self._hand.get(key)) is not None:
            # Handed out again while it is worked: there is one more way to say so, and nothing more to do.
            pending.message = message
            consumer.done()
            metrics.redelivered.inc()
        elif key in self._settled:
            metrics.redelivered.inc()
            self._tasks.create_task(self._confirm_again(message, consumer))
        elif (job := read(message)) is None:
            log.error("message in HOOKS is not a job; moved to dead letters", extra={"subject": message.subject})
            self._tasks.create_task(self._end_for_good(message, consumer))
        else:
            pending = PendingJob(job, asyncio.get_running_loop().time(), message, consumer, size=len(message.payload))
            pending.suspect = message.sequence <= self._suspects[consumer.stream] or message.attempt > 1
            self._hand[key] = pending
            self._bytes += pending.size
            if job.due_at:
                metrics.lateness.observe(max(0.0, (message.time - job.due_at) / 1e9))
            self._admit(pending)
        if fresh:
            self._reached_fresh = message.sequence
            # What the consumer believes to be left is not asked: in a cluster it may be behind.
            if not self.caught_up and message.sequence >= self._goal:
                self._caught_up()

    def _caught_up(self) -> None:
        self.caught_up = True
        for dispatcher in self.dispatchers.values():
            dispatcher.wake()

    def _admit(self, pending: PendingJob) -> None:
        session_id = pending.job.session
        if session_id in self._unresolved:
            # Behind those that came before it, although the session may be known by now.
            self._unresolved[session_id].append(pending)
        elif (dispatcher := self._dispatcher(session_id)) is not None:
            dispatcher.admit(pending)
        else:
            self._unresolved[session_id] = [pending]
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
            for pending in self._unresolved.pop(session_id, []):
                if known and (dispatcher := self._dispatcher(session_id)) is not None:
                    dispatcher.admit(pending)
                else:
                    await self._drop(pending)
            return

    async def _is_gone(self, session_id: str) -> bool:
        """Whether a session that is not known is no more; where that cannot be asked, it may be there."""
        try:
            return await is_deleted(self._registry, session_id)
        except BrokerError as fault:
            log.debug("a session could not be looked up", extra={"fault": str(fault)})
            return False

    async def _drop(self, pending: PendingJob) -> None:
        """Ends a job of a session that is no more."""
        self._end([pending])
        metrics.jobs.labels("dropped").inc(len(pending.job.parts) or 1)

    async def _end_for_good(self, message: Message, consumer: Consumer) -> None:
        try:
            await self._add_undecodable(consumer.stream, message.sequence, message.subject, message.payload)
            await message.term("not a job")
        except BrokerError:
            log.debug("what is no job was not ended; it comes again")
        finally:
            consumer.done()

    async def _add_undecodable(self, stream: str, sequence: int, subject: str, payload: bytes) -> None:
        await self._context.deadletters.add_undecodable(
            stream, sequence, subject, payload, fault="not a job", source="edge.webhooks", reason="not_a_job"
        )

    async def _confirm_again(self, message: Message, consumer: Consumer) -> None:
        try:
            await message.ack()
        except BrokerError:
            log.debug("a settled job was not confirmed; it comes again")
        finally:
            consumer.done()

    def weigh(self, pending: PendingJob) -> int:
        session = self._registry.sessions.get(pending.job.session)
        try:
            # What costs most of it is kept for the post.
            body = self._posting_of(session, [self._context.record(pending.job)], batch=True).body if session else b""
        except _SPOILT:
            body = b""
        # A batch that fails becomes one message: it holds each event with its headers.
        room = self._broker.connection.max_payload // 2
        return max(len(body) + 1, (pending.size + 512) * MAX_BATCH_BYTES // room)

    def rest(self, pending: list[PendingJob]) -> None:
        for each in pending:
            if each.consumer is not None and not each.resting:
                each.resting = True
                each.consumer.done()
                self._bytes -= each.size

    def fetched(self, dispatcher: EndpointDispatcher, queue: OrderedQueue, pending: PendingJob) -> bool:
        if pending.parked_at in self._gone:
            self._end([pending])
            return False
        return True

    async def throw_away(self, parked: ParkedJob) -> None:
        log.error("parked message in HOOKS is not a job; moved to dead letters", extra={"sequence": parked.sequence})
        try:
            await self._add_undecodable(HOOKS, parked.sequence, parked.subject, parked.payload)
            await self.backlog.remove(parked.sequence)
        except BrokerError:
            log.debug("a parked message that is not a job was not removed; it will be read again")

    async def stored(self, dispatcher: EndpointDispatcher, queue: OrderedQueue, some: list[PendingJob]) -> None:
        publishes = [pending.job.parked(queue.name, pending.order) for pending in some]
        results = await self.backlog.put(publishes, in_order=queue.serial)
        fault: BrokerError | None = None
        again: list[PendingJob] = []
        for pending, result in zip(some, results, strict=True):
            if fault is not None and queue.serial:
                again.append(pending)
                if not isinstance(result, BrokerError):
                    # Stored before one that was not, and removed again: the next time it is another message.
                    pending.job = replace(pending.job, parks=pending.job.parks + 1)
            elif is_full(result):
                queue.behind -= 1
                self.spawn(self._overflow(dispatcher, pending), "overflow")
            elif is_too_large(result):
                queue.behind -= 1
                self.spawn(self._overflow(dispatcher, pending, "too_large"), "too large")
            elif isinstance(result, BrokerError):
                fault = result
                pending.unsure = True
                again.append(pending)
            else:
                metrics.parked_jobs.inc()
                if result.duplicate and not pending.unsure:
                    # ParkedJob by a predecessor: it is counted, or settled since.
                    queue.behind -= 1
                self._end([pending])
        for _ in some:
            queue.parking.popleft()
        queue.parking.extendleft(reversed(again))
        if fault is not None:
            raise fault

    async def _overflow(self, dispatcher: EndpointDispatcher, pending: PendingJob, reason: str = "overflow") -> None:
        session = self._registry.sessions.get(dispatcher.session)
        if session is not None:
            await self._give_up(session, [pending], reason)
        else:
            await self._drop(pending)

    async def _give_up(self, session: Session, some: list[PendingJob], reason: str) -> None:
        """Buries jobs that are over before they were posted."""
        for pending in some:
            post, outcome = Post([pending], pending.job), Outcome(Verdict.FINAL, fault=reason)
            await self._insist(partial(self._bury, session, post, outcome, reason))
            self._end([pending])
            self._count_failed(session, post, reason)

    # One attempt and its end

    def begin(self, dispatcher: EndpointDispatcher, queue: OrderedQueue, post: Post) -> None:
        if self._asking is not None:
            # Whoever has just freed the place goes on with it.
            self._asking.append((dispatcher, queue, post))
            self._asking = None
            return
        assert self._tasks is not None
        task = self._tasks.create_task(self._work_on(dispatcher, queue, post))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def _work_on(self, dispatcher: EndpointDispatcher, queue: OrderedQueue, post: Post) -> None:
        """One attempt after the other: a place that is free again is taken by who has freed it, which saves a task each."""
        going = [(dispatcher, queue, post)]
        while going:
            dispatcher, queue, post = going.pop()
            try:
                freed = await self._work(dispatcher, queue, post)
            except Exception as fault:  # noqa: BLE001 - logged with its traceback by `_failed`
                # The place was freed by then. A fault of ours at one job must not end the work on all others.
                await self._failed(dispatcher, queue, post, fault)
                freed = False
            if freed:
                self._asking = going
                dispatcher.finished(queue)
                self._asking = None

    async def _failed(self, dispatcher: EndpointDispatcher, queue: OrderedQueue, post: Post, fault: Exception) -> None:
        """Gives up jobs at which the work itself failed: each becomes a dead letter that says so."""
        log.error("the work on a webhook job failed", extra={"session": dispatcher.session}, exc_info=fault)
        record_faults.labels("webhook").inc()
        session = self._registry.sessions.get(dispatcher.session)
        if session is None or session.spec.webhook is None:
            for pending in post.pending:
                await self._drop(pending)
            return
        outcome = Outcome(Verdict.FINAL, fault="fault", note=repr(fault)[:500])
        if is_to_be_split(post.job, outcome) and not queue.serial:
            await self._insist(partial(self._split, session, dispatcher, queue, post, outcome, 0.0))
            return
        await self._insist(partial(self._bury, session, post, outcome, "fault"))
        await self._over(dispatcher, queue, post)
        self._count_failed(session, post, "fault")

    async def _work(self, dispatcher: EndpointDispatcher, queue: OrderedQueue, post: Post) -> bool:
        """One attempt, from the jobs in hand to their end; says whether the place it had is still to be freed."""
        taken = True
        try:
            session = self._registry.sessions.get(dispatcher.session)
            if session is None or session.spec.webhook is None:
                for pending in post.pending:
                    await self._drop(pending)
                return True
            endpoint = session.spec.webhook
            policy = dispatcher.policy or endpoint
            outcome = self._too_old(post, policy) or (await self._killed(post) if post.suspect else None)
            if outcome is None:
                begun = wall.now_ns()
                answer = await self._attempt(session, endpoint, post)
                if answer.verdict is Verdict.POSTPONED:
                    self._postpone(dispatcher, queue, post, answer)
                    return True
                outcome = dispatcher.rules.judge(answer)
                wait = self._wait(dispatcher.rules, policy, post, outcome)
                split = wait is None and is_to_be_split(post.job, outcome)
                self._note(session, dispatcher, post, outcome, begun, 0.0 if split else wait)
                dispatcher.took(outcome.seconds)
                # How the endpoint is has nothing to do with what is retried.
                news = dispatcher.breaker.record(answer, policy.concurrency)
                if news or dispatcher.breaker.shown_state != "closed":
                    self._noted(dispatcher)
                for each in news:
                    self._tell(session, dispatcher, each, post, answer)
                if post.job.attempt >= FAILING_ATTEMPTS:
                    self._tell_attempt(session, post, outcome, wait is not None or split)
            else:
                wait = None
            quick = outcome.verdict is Verdict.DELIVERED and not post.suspect and queue.head is None
            if quick and not post.has_letters:
                self._end(post.pending)
                self._count_delivered(session, post)
                return True
            if not queue.serial:
                # The endpoint is free for its next; what follows is between us and NATS.
                taken = False
                dispatcher.finished(queue)
            await self._insist(lambda: self._settle(session, policy, dispatcher, queue, post, outcome, wait))
            return taken
        except BaseException:
            if taken:
                dispatcher.finished(queue)
            raise

    def _postpone(self, dispatcher: EndpointDispatcher, queue: OrderedQueue, post: Post, outcome: Outcome) -> None:
        """Puts off what could not be posted for a reason of ours: no attempt is counted, and the breaker is not told."""
        metrics.postponed.labels(outcome.postponed_for).inc()
        if outcome.postponed_for == "address":
            log.warning("a webhook leads to an address that is denied", extra={"session": dispatcher.session})
            shortages.note("address")
        if self.dispatchers.get(dispatcher.session) is dispatcher:
            dispatcher.postpone(queue, post, postponement(outcome))
            return
        # The session was deleted meanwhile: nothing would come of it in the queues that it had.
        for pending in post.pending:
            self._admit(pending)

    def _too_old(self, post: Post, policy: EndpointSettings) -> Outcome | None:
        """Whether a post is over before it is posted, because it has waited too long."""
        age = (wall.now_ns() - post.job.queued) / 1e9
        return Outcome(Verdict.FINAL, fault="ttl_expired") if age > self._patience(policy) else None

    async def _killed(self, post: Post) -> Outcome | None:
        """Whether a post is over before it is posted, because too many have died of it."""
        for pending in post.pending:
            if pending.suspect:
                stream, sequence = (
                    (HOOKS, pending.parked_at)
                    if pending.message is None or pending.consumer is None
                    else (pending.consumer.stream, pending.message.sequence)
                )
                pending.suspect = False
                try:
                    kills = await self._context.endpoints.count_kill(stream, sequence)
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
        return posting(records, self._context.epoch(), session.id, session.spec.dialect, batch)

    async def _attempt(self, session: Session, endpoint: EndpointSettings, post: Post) -> Outcome:
        try:
            records = [self._context.record(job) for job in post.jobs]
            made = self._posting_of(session, records, bool(post.job.parts))
        except _SPOILT:
            return Outcome(Verdict.FINAL, fault="decode_error")
        event = records[0].event
        came_with = event.trace if event is not None else None
        # The receiver's own spans hang under this attempt.
        trace = tracing.begin(came_with) if came_with and tracing.recorder else came_with
        begun = wall.now_ns()
        metrics.under_way.add(post)
        try:
            outcome = await self._context.sender.post(
                endpoint,
                post.id,
                session.id,
                made.body,
                trace,
                content_type=made.content_type,
                more=made.headers,
            )
        finally:
            metrics.under_way.discard(post)
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
                attempt=post.job.attempt,
            )
        if outcome.verdict is Verdict.DELIVERED and event is not None:
            metrics.acknowledged(event.time, len(post.jobs))
        return outcome

    def _wait(self, rules: Rules, policy: EndpointSettings, post: Post, outcome: Outcome) -> float | None:
        """The seconds until the next try; None where there is none."""
        job = post.job
        made = job.attempt - job.tried
        if outcome.verdict is not Verdict.RETRY or made > policy.retry_attempts:
            return None
        if job.tried and is_to_be_split(job, outcome):
            return None  # a batch of which one event is refused; the halves say which
        return pause(made, rules.schedule, outcome.retry_after)

    def _note(
        self,
        session: Session,
        dispatcher: EndpointDispatcher,
        post: Post,
        outcome: Outcome,
        begun: int,
        wait: float | None,
    ) -> None:
        """Notes the attempt for who asks what became of a delivery."""
        job = post.job
        self._context.attempts.note(
            Attempt.of(
                outcome,
                session=session.id,
                delivery=post.id,
                event=job.event_id,
                sequence=job.sequence,
                begun=begun,
                subject=job.subject,
                attempt=job.attempt,
                trigger=job.trigger,
                destination=dispatcher.destination,
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
        dispatcher: EndpointDispatcher,
        queue: OrderedQueue,
        post: Post,
        outcome: Outcome,
        wait: float | None,
    ) -> None:
        """Makes what an attempt came to true. Raises BrokerError where the jobs must stay as they are."""
        job, stats = post.job, self._context.stats(session.id)
        if outcome.verdict is Verdict.DELIVERED:
            if post.suspect and not queue.serial:
                # One who died may have left a retry of this delivery, which would deliver it again.
                await self._broker.stream(RETRIES).purge(job.next_attempt(0).schedule)
            for part in post.jobs if post.has_letters else ():
                await self._context.sent_again.remove(part)
            await self._over(dispatcher, queue, post)
            self._count_delivered(session, post)
            return
        stats.last_error = outcome.detail
        if wait is not None:
            if queue.serial:
                head = Head(
                    post.id,
                    len(post.pending),
                    job.attempt + 1,
                    wall.now() + wait,
                    last_status=outcome.status,
                    tried=job.tried,
                    rest=_rest(queue),
                )
                dispatcher.retry(queue, post, head)
                await self._keep_head(dispatcher, queue)
            else:
                if not await self._store_retry(session, job.next_attempt(outcome.status), wait):
                    if len(job.parts) > 1:
                        await self._split(session, dispatcher, queue, post, outcome, wait)
                        return
                    # What the last attempt said is kept with it.
                    await self._bury(session, post, outcome, "too_large")
                    self._end(post.pending)
                    self._count_failed(session, post, "too_large")
                    return
                self._end(post.pending)
            stats.retries += 1
            metrics.retried.inc()
            return
        if is_to_be_split(job, outcome):
            await self._split(session, dispatcher, queue, post, outcome, outcome.retry_after)
            return
        reason = outcome.fault if outcome.verdict is Verdict.FINAL else "exhausted"
        if queue.serial and policy.on_exhausted == "halt" and reason not in _OURS:
            head = Head(post.id, len(post.pending), 1, 0.0, True, outcome.status, wall.now(), rest=_rest(queue))
            dispatcher.retry(queue, post, head)
            await self._keep_head(dispatcher, queue)
            for each in (
                dispatcher.breaker.disable("halted") if queue.name == ALL else [StateChange("disabled", "halted")]
            ):
                self._tell(session, dispatcher, each, post, outcome)
            self._noted(dispatcher)
            return
        await self._bury(session, post, outcome, reason)
        await self._over(dispatcher, queue, post)
        self._count_failed(session, post, reason)

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
        self,
        session: Session,
        dispatcher: EndpointDispatcher,
        queue: OrderedQueue,
        post: Post,
        outcome: Outcome,
        wait: float,
    ) -> None:
        """Tries a batch in two halves, after so many seconds: in an ordered queue one after the other. Raises BrokerError."""
        halves = halve(post.job, outcome)
        if queue.serial and len(post.pending) > 1:
            dispatcher.retry(queue, post, head_of(halves, queue.head, wall.now() + wait if wait else 0.0))
            await self._keep_head(dispatcher, queue)
        else:
            for half in halves:
                if not await self._store_retry(session, half, wait):
                    lost = Post([], half)
                    await self._bury(session, lost, outcome, "too_large")
                    self._count_failed(session, lost, "too_large")
            await self._over(dispatcher, queue, post)
        metrics.jobs.labels("split").inc()
        log.info(
            "a batch was split",
            extra={"session": session.id, "events": len(post.jobs), "reason": outcome.fault, "status": outcome.status},
        )

    def _count_delivered(self, session: Session, post: Post) -> None:
        stats = self._context.stats(session.id)
        stats.offered(_asked_again(post))
        stats.written(len(post.jobs))
        now = wall.now_ns()
        for part in post.jobs:
            metrics.age.observe_many(max(0.0, (now - part.queued) / 1e9), 1)

    def _count_failed(self, session: Session, post: Post, reason: str) -> None:
        stats = self._context.stats(session.id)
        stats.offered(_asked_again(post))
        stats.failed += len(post.jobs)
        stats.last_error = stats.last_error or reason
        metrics.jobs.labels("deadlettered").inc(len(post.jobs))

    async def _over(self, dispatcher: EndpointDispatcher, queue: OrderedQueue, post: Post) -> None:
        """Ends a post for good."""
        self._end(post.pending)
        if queue.head is not None:
            queue.head, queue.not_before = following(queue.head), 0.0
            await self._keep_head(dispatcher, queue)

    async def _bury(self, session: Session, post: Post, outcome: Outcome, reason: str) -> None:
        """Buries jobs and says so."""
        endpoint = session.spec.webhook
        assert endpoint is not None
        job = post.job
        attempts = attempts_of(job, outcome)
        detail = outcome.detail + (f": {outcome.head.decode(errors='replace')}" if outcome.head else "")
        for part in job.parts or (job,):
            await self._context.deadletters.add(
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
            await self._context.sent_again.remove(part)
            if is_told(part):
                event = deadletter_event(session, part, job, outcome, reason, self._context.epoch())
                try:
                    await self._context.tell(event)
                except BadInput as fault:
                    # Of a job whose headers are not ours; its letter is there.
                    log.warning("news of a dead letter cannot be told", extra={"fault": str(fault)})
        log.warning(
            "a webhook delivery was given up", extra={"session": session.id, "reason": reason, "attempts": attempts}
        )

    def _end(self, some: list[PendingJob]) -> None:
        """Takes settled jobs out of the stream. They are remembered: where that fails they are ended when they come again."""
        for pending in some:
            self._remember(pending)
            if pending.message is not None:
                self._context.acks.acknowledge(pending.message)
            elif pending.parked_at:
                self._context.acks.remove(pending.parked_at)
            self._let_go(pending)

    def _remember(self, pending: PendingJob) -> None:
        if pending.message is None:
            self._gone[pending.parked_at] = None
            if len(self._gone) > SETTLED:
                self._gone.popitem(last=False)
        elif pending.consumer is not None:
            self._settled[pending.consumer.stream, pending.message.sequence, pending.message.time] = None
            if len(self._settled) > SETTLED:
                self._settled.popitem(last=False)

    def _let_go(self, pending: PendingJob) -> None:
        if pending.message is None or pending.consumer is None:
            return
        known = self._hand.pop((pending.consumer.stream, pending.message.sequence, pending.message.time), None)
        if known is not None and not pending.resting:
            pending.consumer.done()
            self._bytes -= pending.size

    # Beside the work

    async def count_pending(self) -> tuple[int, int]:
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
            for pending in list(self._hand.values()):
                if pending.message is not None and loop.time() - pending.since >= every / 2:
                    try:
                        await pending.message.working()
                    except BrokerError:
                        break

    def _noted(self, dispatcher: EndpointDispatcher) -> None:
        self._dirty[dispatcher.session] = dispatcher
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
        dispatcher = self._dirty.pop(session, None)
        if dispatcher is None or self.dispatchers.get(session) is not dispatcher:
            return
        try:
            await self._context.endpoints.keep(
                session, dispatcher.breaker.snapshot(dispatcher.parked, dispatcher.oldest)
            )
        except Conflict:
            condition = self._context.endpoints.of(session)
            if condition is not None:
                self._condition_changed(session, condition)
        except BrokerError:
            self._dirty.setdefault(session, dispatcher)
            raise

    def _tell(
        self, session: Session, dispatcher: EndpointDispatcher, news: StateChange, post: Post, outcome: Outcome
    ) -> None:
        """Tells of an endpoint, and of the attempt that changed it."""
        log.warning(
            "a webhook endpoint changed", extra={"session": session.id, "news": news.name, "reason": news.reason}
        )
        if news.name == "disabled":
            metrics.disabled.inc()
        unique = f"{int(dispatcher.breaker.since * 1000)}.{dispatcher.breaker.warned}"
        # Of news that could not be delivered it is not said what they were: a chain of them would grow with each link.
        job = post.job if is_told(post.job) else None
        event = endpoint_event(
            session, news, unique, dispatcher.breaker.snapshot(), job, outcome, self._context.epoch()
        )
        self.spawn(self._insist(lambda: self._context.tell(event)), "tell")

    def _tell_attempt(self, session: Session, post: Post, outcome: Outcome, again: bool) -> None:
        """Tells of a delivery whose attempts go on failing, and of one that was made after all."""
        job = post.job
        if outcome.verdict is Verdict.DELIVERED:
            kind = "attempt_recovered" if job.attempt > FAILING_ATTEMPTS else ""
        else:
            kind = "attempt_failing" if again and job.attempt == FAILING_ATTEMPTS else ""
        if not kind or not is_told(job):
            return
        try:
            event = attempt_event(kind, session, job, outcome, self._context.epoch())
        except BadInput as fault:
            log.warning("news of a delivery cannot be told", extra={"fault": str(fault)})
            return
        self.spawn(self._insist(lambda: self._context.tell(event)), "tell")

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
        for dispatcher in list(self.dispatchers.values()):
            if dispatcher.policy is None:
                continue
            await self._expire(dispatcher)
            if dispatcher.idle and time.monotonic() - dispatcher.used > 10 * self.settings.sweep:
                dispatcher.end()
                self.dispatchers.pop(dispatcher.session, None)

    async def _recount(self) -> None:
        """Counts what is parked, as the server knows it, in case it was counted wrongly here."""
        begun = time.monotonic()
        counts = await self.backlog.counts(self.partition)
        for (session_id, name), count in counts.items():
            dispatcher = self._dispatcher(session_id)
            if dispatcher is None:
                continue
            assert dispatcher.policy is not None
            queue = dispatcher.queue(name, name != ALL or dispatcher.policy.mode == "fifo")
            if not (queue.behind or queue.waiting or queue.under_way or queue.parking):
                queue.behind, queue.after = count, 0
                dispatcher.wake()
        now = time.monotonic()
        # The server lists each queue by name: of tens of thousands that takes as long as a share of the time allows.
        self._recount_at = now + (now - begun) / RECOUNT_SHARE

    async def _expire_parked(self, dispatcher: EndpointDispatcher, session: Session, born: int, reason: str) -> int:
        """Gives up what is parked and was queued before `born`, where nothing may be posted; says when the oldest was, in ns.

        All queues are read together, oldest first, up to the first job that is young enough: one page, however many queues
        there are. Raises BrokerError.
        """
        after = oldest = 0
        for _ in range(EXPIRE_PAGES):
            given_up = False
            page, _ = await self.backlog.page(self.partition, dispatcher.session, "*", after, EXPIRE_JOBS)
            for parked in page:
                after, job = parked.sequence, parked.job
                if job is None or after in self._gone:
                    continue
                if job.queued >= born:
                    return min(oldest or job.queued, job.queued)
                queue = dispatcher.queues.get(parked.subject.rpartition(".")[2])
                # What has been fetched is in hand, and expires there.
                if (
                    queue is None
                    or queue.waiting
                    or queue.under_way
                    or after <= queue.after
                    or not _is_shut(dispatcher, queue)
                ):
                    oldest = min(oldest or job.queued, job.queued)
                    continue
                await self._forget_head(dispatcher, queue)
                queue.behind -= 1
                await self._give_up(session, [PendingJob(job, 0.0, parked_at=after)], reason)
                given_up = True
            if not page or not (given_up or dispatcher.blocked_for > 0):
                break  # what is posted meanwhile expires where it is posted
        await self._context.acks.flushed()
        return oldest

    async def _forget_head(self, dispatcher: EndpointDispatcher, queue: OrderedQueue) -> None:
        """Forgets how far a queue's first has come, because it is given up unposted."""
        if queue.head is not None:
            queue.head, queue.not_before = None, 0.0
            await self._keep_head(dispatcher, queue)

    async def _expire(self, dispatcher: EndpointDispatcher) -> None:
        """Buries what has waited too long at a dispatcher that is shut."""
        session = self._registry.sessions.get(dispatcher.session)
        if session is None or session.spec.webhook is None:
            return
        policy = dispatcher.policy or session.spec.webhook
        reason = "endpoint_disabled" if dispatcher.breaker.state == "disabled" else "ttl_expired"
        born = wall.now_ns() - int(self._patience(policy) * 1e9)
        for queue in list(dispatcher.queues.values()):
            while (
                queue.waiting
                and _is_shut(dispatcher, queue)
                and not queue.under_way
                and queue.waiting[0].job.queued < born
            ):
                await self._forget_head(dispatcher, queue)
                await self._give_up(session, [queue.waiting.popleft()], reason)
        dispatcher.oldest = (
            await self._expire_parked(dispatcher, session, born, reason) / 1e9 if dispatcher.parked else 0.0
        )
        if dispatcher.shown != (dispatcher.parked, dispatcher.oldest):
            dispatcher.shown = (dispatcher.parked, dispatcher.oldest)
            self._noted(dispatcher)


def _is_shut(dispatcher: EndpointDispatcher, queue: OrderedQueue) -> bool:
    """Whether nothing of a queue may be posted now."""
    return dispatcher.blocked_for > 0 or queue.halted or queue.not_before > wall.now()


def _resumed(head: Head) -> Head:
    """A queue's first that may be tried again, from the beginning."""
    return replace(head, attempt=1, not_before=0.0, halted=False, tried=0)


def _rest(queue: OrderedQueue) -> list[Piece]:
    """The pieces of a split batch that follow a queue's first."""
    return queue.head.rest if queue.head is not None else []


def _asked_again(post: Post) -> int:
    """Deliveries of a post that the fan-out did not ask for."""
    return sum(1 for job in post.jobs if job.chain)
