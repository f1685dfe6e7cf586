"""This file is where jobs are worked: post, then acknowledge, schedule again, or bury; every way out settles the job once.

What must be known is stored before what it replaces is acknowledged: the retry before the job's end, the dead letter
before the job's end. A process that dies anywhere leaves the job unacknowledged, and another one gets it; what was stored
twice has the same id. So a delivery may happen twice, and is never lost.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from edge.dialects import DIALECTS
from edge.dialects.callback import callback
from edge.problem import Problem
from edge.registry import Registry, Session
from edge.stats import Stats
from edge.webhooks import metrics
from edge.webhooks.job import NEWS, Job, due_filter, fresh_filter, read
from edge.webhooks.lane import Lane, LaneSettings
from edge.webhooks.outcome import Outcome, Verdict, pause
from edge.webhooks.sender import Sender
from router.broker import Broker
from router.codec import to_json
from router.consumer import Consumer, Message
from router.deadletters import DeadLetters, Origin, webhook_subject
from router.errors import BadInput, BrokerError, Timeout
from router.event import Event
from router.record import Record
from router.subject import STORED, escape
from router.topology import EVENTS, RETRIES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerSettings:
    """How jobs are worked. Times in seconds."""

    # Deliveries one process may hold of each partition, of new jobs and of retries each.
    credit: int = 64
    # A job whose process fell silent is given to another after this long; a living one says so three times as often.
    ack_wait: float = 15.0
    # Deliveries of a partition that all processes together may hold.
    max_ack_pending: int = 5000
    lane: LaneSettings = field(default_factory=LaneSettings)
    # The longest pause before each retry; the last one stands for all that follow.
    schedule: tuple[float, ...] = (1, 5, 30, 120, 600, 1800, 3600)
    # A job that finds its endpoint busy comes back after about this long, and where it fails after the second.
    busy: float = 0.5
    failing: float = 10.0


class Delivery:
    """One job in the hands of this process."""

    __slots__ = ("consumer", "job", "message", "since", "task")

    def __init__(self, job: Job, message: Message, consumer: Consumer, since: float) -> None:
        self.job = job
        self.message = message
        self.consumer = consumer
        self.since = since
        self.task: asyncio.Task[None] | None = None


class Worker:
    """Works the jobs of all partitions, beside every other edge process."""

    def __init__(
        self,
        broker: Broker,
        registry: Registry,
        sender: Sender,
        stats: Callable[[str], Stats],
        epoch: Callable[[], str],
        partitions: int,
        settings: WorkerSettings | None = None,
    ) -> None:
        self.settings = settings or WorkerSettings()
        self._broker = broker
        self._registry = registry
        self._sender = sender
        self._stats = stats
        self._epoch = epoch
        self._partitions = partitions
        self._deadletters = DeadLetters(broker)
        self._lanes: dict[str, Lane] = {}
        self._held: set[Delivery] = set()
        self._pulling: list[asyncio.Task[None]] = []
        self._tasks: asyncio.TaskGroup | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._closing = False
        self._closed = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def held(self) -> int:
        """Jobs in the hands of this process."""
        return len(self._held)

    async def run(self) -> None:
        """Works until cancelled, or until `close` has let everything go."""
        if self._closing:
            return
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for partition in range(self._partitions):
                for stream, name, subjects in (fresh_filter(partition), due_filter(partition)):
                    consumer = self._consumer(stream, name, subjects)
                    self._pulling.append(tasks.create_task(consumer.run(), name=name))
            self._keeping = tasks.create_task(self._keep(), name="webhooks at work")
            try:
                await self._closed.wait()
            finally:
                self._tasks = None

    async def close(self, grace: float) -> None:
        """Takes nothing more, lets the posts under way end, and gives back what has not ended after `grace` seconds."""
        self._closing = True
        for lane in list(self._lanes.values()):
            while lane.waiting:
                await self._give_back(lane.waiting.popleft())
        for task in self._pulling:
            task.cancel()
        try:
            async with asyncio.timeout(grace):
                await self._empty.wait()
        except TimeoutError:
            for delivery in list(self._held):
                if delivery.task is not None:
                    delivery.task.cancel()
                await self._give_back(delivery)
        if self._keeping is not None:
            self._keeping.cancel()
        self._closed.set()

    def forget(self, session_id: str) -> None:
        """Drops what is known of a deleted session's endpoint."""
        lane = self._lanes.get(session_id)
        if lane is not None and lane.idle:
            del self._lanes[session_id]

    def _consumer(self, stream: str, name: str, subjects: str) -> Consumer:
        consumer = Consumer(
            self._broker.connection,
            stream,
            {
                "durable_name": name,
                "filter_subject": subjects,
                "ack_wait": int(self.settings.ack_wait * 1e9),
                "max_ack_pending": self.settings.max_ack_pending,
                "max_deliver": -1,
            },
            lambda message: self._heard(message, consumer),
            credit=self.settings.credit,
        )
        return consumer

    # Into a lane, and out again

    def _heard(self, message: Message, consumer: Consumer) -> None:
        """Takes a job from the read loop and finds it a place."""
        tasks = self._tasks
        if tasks is None:
            return  # too late: another process gets it
        job = read(message)
        if job is None:
            log.error("what lies among the jobs is none", extra={"subject": message.subject})
            tasks.create_task(self._throw_away(message, consumer))
            return
        delivery = Delivery(job, message, consumer, asyncio.get_running_loop().time())
        self._held.add(delivery)
        self._empty.clear()
        lane = self._lanes.get(job.session)
        if lane is None:
            lane = self._lanes[job.session] = Lane(self._bounds(job.session))
        if self._closing:
            tasks.create_task(self._give_back(delivery))
        elif lane.has_place:
            self._begin(lane, delivery)
        elif lane.may_wait:
            lane.waiting.append(delivery)
        else:
            tasks.create_task(self._put_off(delivery, lane.failing))

    def _bounds(self, session_id: str) -> LaneSettings:
        """How much the endpoint may take: one place, and room for all that comes, where order is asked for."""
        session = self._registry.sessions.get(session_id)
        if session is None or session.spec.webhook is None or not session.spec.webhook.ordered:
            return self.settings.lane
        # As many as this process can hold at all: none is put off, and so none overtaken.
        most = 2 * self.settings.credit
        return replace(self.settings.lane, concurrency=1, concurrency_failing=1, waiting=most)

    def _begin(self, lane: Lane, delivery: Delivery) -> None:
        assert self._tasks is not None
        lane.under_way += 1
        delivery.task = self._tasks.create_task(self._work(lane, delivery))

    def _freed(self, session_id: str, lane: Lane) -> None:
        """One place is free: the next who waits takes it, or nobody waits behind an endpoint that fails."""
        lane.under_way -= 1
        while lane.waiting and self._tasks is not None and not self._closing:
            if lane.failing:
                self._tasks.create_task(self._put_off(lane.waiting.popleft(), True))
            elif lane.has_place:
                self._begin(lane, lane.waiting.popleft())
            else:
                break
        if lane.idle and not lane.failures:
            self._lanes.pop(session_id, None)

    def _let_go(self, delivery: Delivery) -> None:
        if delivery in self._held:
            self._held.discard(delivery)
            delivery.consumer.done()
            if not self._held:
                self._empty.set()

    async def _give_back(self, delivery: Delivery) -> None:
        """Gives a job to the next process at once."""
        self._let_go(delivery)
        try:
            await delivery.message.nak()
            metrics.jobs.labels("returned").inc()
        except BrokerError:
            log.debug("a job was not given back; it comes again by itself")

    async def _throw_away(self, message: Message, consumer: Consumer) -> None:
        try:
            await message.term("not a job")
        except BrokerError:
            log.debug("what is no job was not ended; it comes again")
        finally:
            consumer.done()

    async def _put_off(self, delivery: Delivery, failing: bool) -> None:
        """Lets a job come back a little later, without an attempt.

        Where the endpoint fails it waits as a schedule, which holds none of the places that its partition has.
        """
        try:
            if failing:
                await self._schedule(delivery.job.deferred(), random.uniform(0.5, 1.5) * self.settings.failing)
                await self._confirm(delivery.message)
                metrics.jobs.labels("deferred").inc()
            else:
                await delivery.message.nak(random.uniform(0.5, 1.5) * self.settings.busy)
                metrics.jobs.labels("returned").inc()
        except BrokerError as fault:
            log.debug("a job was not put off; it comes again", extra={"fault": str(fault)})
        finally:
            self._let_go(delivery)

    async def _keep(self) -> None:
        """Says of the jobs that take long that they are still worked, before the server gives them to another."""
        loop = asyncio.get_running_loop()
        every = self.settings.ack_wait / 3
        while True:
            await asyncio.sleep(every)
            for delivery in list(self._held):
                if loop.time() - delivery.since >= every:
                    try:
                        await delivery.message.working()
                    except BrokerError:
                        break

    # One attempt and its end

    async def _work(self, lane: Lane, delivery: Delivery) -> None:
        """One attempt, from the job in hand to its end."""
        placed = True
        try:
            session = await self._session(delivery.job)
            if session is None:
                await self._confirm(delivery.message)
                metrics.jobs.labels("dropped").inc()
                return
            outcome = await self._attempt(session, delivery.job)
            lane.note(outcome)
            # The endpoint is free for its next; what follows is between us and NATS.
            placed = False
            self._freed(delivery.job.session, lane)
            if delivery in self._held:
                await self._settle(session, delivery, outcome)
        except BrokerError as fault:
            # Not settled: it is delivered again, here or elsewhere.
            log.warning("a webhook job was not settled", extra={"fault": str(fault)})
        finally:
            if placed:
                self._freed(delivery.job.session, lane)
            self._let_go(delivery)

    async def _session(self, job: Job) -> Session | None:
        """The job's session; None where it was deleted, or is no webhook any more. Raises BrokerError."""
        try:
            session = await self._registry.find(job.session)
        except Problem:
            return None
        return session if session.spec.webhook is not None else None

    async def _attempt(self, session: Session, job: Job) -> Outcome:
        endpoint = session.spec.webhook
        assert endpoint is not None
        record = Record(job.sequence, job.subject, job.payload)
        event = record.event
        if event is None:
            return Outcome(Verdict.FINAL, fault="decode_error")
        try:
            body = body_of(record, self._epoch(), session)
        except (BadInput, ValueError, OverflowError, RecursionError):
            return Outcome(Verdict.FINAL, fault="decode_error")
        with metrics.in_flight.track_inprogress():
            outcome = await self._sender.post(endpoint, job.id, session.id, body, event.trace)
        metrics.attempts.labels(outcome.fault or "delivered").inc()
        metrics.seconds.observe(outcome.seconds)
        return outcome

    async def _settle(self, session: Session, delivery: Delivery, outcome: Outcome) -> None:
        """Makes what an attempt came to true. Raises BrokerError where the job must stay as it is."""
        endpoint = session.spec.webhook
        assert endpoint is not None
        job, stats = delivery.job, self._stats(session.id)
        if outcome.verdict is Verdict.DELIVERED:
            if delivery.message.attempt > 1:
                # A process that died may have left a retry of this delivery, which would deliver it again.
                await self._broker.connection.api(f"STREAM.PURGE.{RETRIES}", {"filter": job.next_attempt(0).schedule})
            await self._confirm(delivery.message)
            stats.written(1)
            metrics.age.observe(max(0.0, (time.time_ns() - job.queued) / 1e9))
            return
        stats.last_error = outcome.detail
        if outcome.verdict is Verdict.RETRY and job.attempt <= endpoint.retry_attempts:
            await self._schedule(
                job.next_attempt(outcome.status), pause(job.attempt, self.settings.schedule, outcome.retry_after)
            )
            await self._confirm(delivery.message)
            stats.retries += 1
            metrics.jobs.labels("retried").inc()
            return
        await self._give_up(session, delivery, outcome)
        stats.failed += 1
        metrics.jobs.labels("deadlettered").inc()

    async def _schedule(self, job: Job, seconds: float) -> None:
        at = time.time_ns() + int(max(0.0, seconds) * 1e9)
        await self._broker.store(job.schedule, job.payload, job.due(at))

    async def _give_up(self, session: Session, delivery: Delivery, outcome: Outcome) -> None:
        """Buries a job, says so, and ends it, in this order."""
        endpoint = session.spec.webhook
        assert endpoint is not None
        job = delivery.job
        reason = outcome.fault if outcome.verdict is Verdict.FINAL else "exhausted"
        detail = outcome.detail + (f": {outcome.head.decode(errors='replace')}" if outcome.head else "")
        await self._deadletters.bury(
            webhook_subject(session.id),
            job.payload,
            origin=Origin(EVENTS, job.sequence, STORED + job.subject),
            reason=reason,
            detail=detail[:512],
            attempts=job.attempt,
            first=job.queued,
            last=time.time_ns(),
            destination=endpoint.destination,
            source=session.id,
            id=f"dead.{job.id}.{job.run}",
        )
        # Of news that could not be delivered no further news is made, else two dead endpoints would talk for ever.
        if not job.subject.startswith(NEWS):
            await self._broker.publish(
                Event.new(
                    f"{NEWS}deadlettered",
                    {
                        "session_id": session.id,
                        "event_id": job.event_id,
                        "subject": job.subject,
                        "reason": reason,
                        "attempts": job.attempt,
                        "status": outcome.status or None,
                    },
                    source="edge.webhooks",
                    id=f"{job.id}.{job.run}.deadlettered",
                    key=escape(session.id),
                    cause=job.event_id,
                )
            )
        log.warning(
            "a webhook delivery was given up", extra={"session": session.id, "reason": reason, "attempts": job.attempt}
        )
        await delivery.message.term(reason)

    async def _confirm(self, message: Message) -> None:
        """Acknowledges, and asks once more where the answer stays away."""
        try:
            await message.ack()
        except Timeout:
            await message.ack()


def body_of(record: Record, epoch: str, session: Session) -> bytes:
    """The event in the session's dialect, with the session's id: what is posted."""
    made = DIALECTS.get(session.spec.dialect, callback)(record, epoch)
    return made[:-1] + b',"session_id":' + to_json(session.id) + b"}"
