"""This file is where one endpoint is served: which of its jobs may be posted now, and where the others wait meanwhile.

A dispatcher is there as long as there is anything to remember of its endpoint, in the one process that owns its partition. Where
it is shut (the breaker is open, the endpoint is disabled or asked for patience) nothing waits in hand: all is parked, at the
cost of one write each, and fetched in order once it opens.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, Protocol

from msgspec.structs import replace

from edge.sessions.endpoint.settings import EndpointSettings
from edge.webhooks.endpoint.breaker import CircuitBreaker
from edge.webhooks.endpoint.rules import Rules
from edge.webhooks.queue.backlog import PAGE_JOBS, Backlog, ParkedJob
from edge.webhooks.queue.job import Job
from edge.webhooks.queue.ordering import Head, OrderedQueue, PendingJob, Post, QueueSettings, queue_of
from router.clock import wall
from router.errors import BrokerError
from router.rates import EvenPace

log = logging.getLogger(__name__)

# A key's log is read a few jobs at a time: many keys share what an endpoint may have in hand.
KEY_PAGE = 4
# Jobs on their way into a log at the same time.
STORING = 64


class DispatchHost(Protocol):
    """What a dispatcher stands on: the term of its partition."""

    partition: int
    queue_settings: QueueSettings
    backlog: Backlog

    @property
    def open(self) -> bool:
        """Whether work may still begin."""

    @property
    def pressed(self) -> bool:
        """Whether the partition is nearly full."""

    def was_there(self, pending: PendingJob) -> bool:
        """Whether a new job lay in HOOKS already when the partition was taken over."""

    def is_ready(self, session: str) -> bool:
        """Whether all jobs of a session have been admitted that lay in HOOKS when the partition was taken over."""

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Runs something beside."""

    def begin(self, dispatcher: EndpointDispatcher, queue: OrderedQueue, post: Post) -> None:
        """Posts a post; `finished` follows."""

    def rules(self, endpoint: EndpointSettings) -> Rules:
        """What counts for an endpoint of retries, circuit breaker and auto-disable."""

    def weigh(self, pending: PendingJob) -> int:
        """The bytes of a job in a batch."""

    def rest(self, pending: list[PendingJob]) -> None:
        """Gives the partition's places back for jobs that stay in hand."""

    def fetched(self, dispatcher: EndpointDispatcher, queue: OrderedQueue, pending: PendingJob) -> bool:
        """Takes a job from a log in hand; False where it was settled already."""

    async def stored(self, dispatcher: EndpointDispatcher, queue: OrderedQueue, some: list[PendingJob]) -> None:
        """Parks some jobs, in order if the queue is serial. Raises BrokerError where the rest has to be parked again."""

    async def throw_away(self, parked: ParkedJob) -> None:
        """Takes out of a log what is no job, into the dead letters."""


class EndpointDispatcher:
    """One endpoint, as its owner serves it."""

    def __init__(self, floor: DispatchHost, session: str, breaker: CircuitBreaker, endpoint: EndpointSettings) -> None:
        self.session = session
        self.breaker = breaker
        self.policy: EndpointSettings | None = None
        self.queues: dict[str, OrderedQueue] = {}
        self.under_way = 0
        # The seconds that one post takes, of late; 0 where it is not known yet.
        self.pace = 0.0
        self.used = time.monotonic()
        # When the oldest parked job was queued, in seconds since the epoch; 0 for none.
        self.oldest = 0.0
        self.shown = (0, 0.0)
        self._floor = floor
        self._ready: dict[str, OrderedQueue] = {}
        # Lanes that wait for a place or for a time, and those with jobs on their way into the log: among tens of thousands
        # of keys whose jobs all lie in the log there are few.
        self._waiting: dict[str, OrderedQueue] = {}
        self._to_store: dict[str, OrderedQueue] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._fetching = False
        self._storing = False
        self._tokens: EvenPace | None = None
        self._loop = asyncio.get_running_loop()
        self.change(endpoint)

    # What it is

    def change(self, endpoint: EndpointSettings) -> None:
        """Takes new settings, from now on."""
        before, self.policy = self.policy, endpoint
        self.rules = self._floor.rules(endpoint)
        self.breaker.settings = self.rules.breaker
        # As the attempt log has it.
        self.destination = endpoint.destination
        if before is None or before.concurrency != endpoint.concurrency:
            self.breaker.resize(endpoint.concurrency)
        if endpoint.rate is None:
            self._tokens = None
        elif self._tokens is None or self._tokens.rate != endpoint.rate:
            # One post at once, and no more: else each change would allow another.
            due = self._tokens.next if self._tokens is not None else 0.0
            self._tokens = EvenPace(endpoint.rate, self._loop.time(), min(due, self._loop.time() + 1.0 / endpoint.rate))
        # A line of all is what the mode says; what waits in lines of keys goes out in order, whatever the mode is now.
        if (queue := self.queues.get("all")) is not None:
            queue.serial = endpoint.mode == "fifo"
        self.wake()

    @property
    def blocked_for(self) -> float:
        """The seconds until a post may begin; infinite where somebody has to say so first."""
        return self.breaker.blocked_for if self.policy is not None and self.policy.active else float("inf")

    @property
    def parked(self) -> int:
        return sum(queue.behind for queue in self.queues.values())

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember."""
        return (
            not self.under_way
            and not self.breaker.has_state
            and (self._tokens is None or self._tokens.full(self._loop.time()))
            and all(queue.idle for queue in self.queues.values())
        )

    def queue(self, name: str, serial: bool) -> OrderedQueue:
        """Finds a queue, or begins it."""
        queue = self.queues.get(name)
        if queue is None:
            queue = self.queues[name] = OrderedQueue(name, serial)
        return queue

    # In

    def admit(self, pending: PendingJob) -> None:
        """Finds a place for a job that has come."""
        assert self.policy is not None
        queue = self.queue(*queue_of(pending.job, self.policy.mode))
        if queue.first is not None and pending.order and (queue.early or self._floor.was_there(pending)):
            self._line_up(queue, pending)
        elif self._is_full(queue, pending):
            self._park(queue, pending)
        else:
            queue.waiting.append(pending)
            self._mark(queue)
        self.pump()

    def _is_full(self, queue: OrderedQueue, pending: PendingJob) -> bool:
        settings = self._floor.queue_settings
        # A retry that is due may go before what is parked, where there is no order to keep.
        if queue.behind and (queue.serial or not pending.job.due_at):
            return True
        if self.blocked_for > settings.hold or queue.halted or queue.not_before > wall.now() + settings.hold:
            return True
        if self.breaker.state == "half_open":
            return bool(queue.waiting)
        assert self.policy is not None
        waiting = settings.pressed if self._floor.pressed else settings.waiting
        if waiting < settings.quick and not self._floor.pressed and self.pace and self._tokens is None:
            waiting = max(waiting, min(settings.quick, int(self.policy.concurrency / self.pace)))
        if self.policy.batch is not None:
            waiting = max(waiting, 2 * self.policy.batch.max_n)
        return len(queue.waiting) >= waiting

    def _park(self, queue: OrderedQueue, pending: PendingJob) -> None:
        if queue.serial:
            # What came before goes before.
            self._floor.rest(queue.park_waiting())
        queue.park([pending])
        self._mark(queue)
        self._store(queue)

    def _line_up(self, queue: OrderedQueue, pending: PendingJob) -> None:
        """Finds the place of a new job where a predecessor has left a log: before it, or behind it."""
        if queue.first == 0:
            if not queue.early:
                self._floor.spawn(self._look_up(queue), f"first of {queue.name}")
            queue.early.append(pending)
        elif queue.first is not None and pending.order < queue.first:
            queue.waiting.append(pending)
            self._mark(queue)
        else:
            queue.park([pending])
            self._store(queue)

    async def _look_up(self, queue: OrderedQueue) -> None:
        while self._floor.open:
            try:
                page, _ = await self._floor.backlog.page(self._floor.partition, self.session, queue.name, 0, 1)
            except BrokerError as fault:
                log.debug("a queue's log cannot be read", extra={"fault": str(fault)})
                await asyncio.sleep(0.2)
                continue
            job = page[0].job if page else None
            # Of one that has no place of its own, all that is new counts as later.
            queue.first = job.order if job is not None and job.order else 1
            early, queue.early = queue.early, []
            for pending in early:
                self._line_up(queue, pending)
            self.pump()
            return

    # Out

    def pump(self) -> None:
        """Lets begin what may."""
        floor, policy = self._floor, self.policy
        if not floor.open or policy is None:
            return
        self.used = time.monotonic()
        places = self.breaker.places(policy.concurrency) if policy.active else 0
        while self.under_way < places and self._ready:
            if self._tokens is not None and (wait := self._tokens.wait(self._loop.time())):
                self.wake(wait)
                break
            name, queue = next(iter(self._ready.items()))
            del self._ready[name]
            post = self._next_post(queue, policy)
            if post is None:
                continue
            if self._tokens is not None:
                self._tokens.take(self._loop.time())
            self.under_way += 1
            queue.under_way += 1
            self._mark(queue)
            floor.begin(self, queue, post)
        if places:
            self._fetch()
        else:
            self._shut()

    def _shut(self) -> None:
        """Nothing may begin: what waits is parked, unless it is for a moment only."""
        blocked = self.blocked_for
        if blocked > self._floor.queue_settings.hold:
            for queue in list(self._waiting.values()):
                if queue.waiting:
                    self._floor.rest(queue.park_waiting())
                self._mark(queue)
                self._store(queue)
        if blocked != float("inf"):
            self.wake(blocked)

    def _next_post(self, queue: OrderedQueue, policy: EndpointSettings) -> Post | None:
        """Takes the next post out of a queue; None where a batch is not full yet."""
        head, batch, first = queue.head, policy.batch, queue.waiting[0]
        if batch is None and (head is None or head.jobs == 1 or first.job.parts):
            queue.waiting.popleft()
            some = [first]
            job = first.job
        elif first.job.parts:
            queue.waiting.popleft()
            some, job = [first], first.job
        else:
            taken = self._gather(queue, policy)
            if taken is None:
                return None
            some = taken
            job = Job.batch([pending.job for pending in some])
        if head is not None:
            if head.id == job.id:
                job = replace(job, attempt=head.attempt, last_status=head.last_status, tried=head.tried)
            else:
                queue.head = None  # of a job that is no more
        return Post(some, job)

    def _gather(self, queue: OrderedQueue, policy: EndpointSettings) -> list[PendingJob] | None:
        """Takes a batch out of a queue: as full as it may be, or as old, or the one that is to be tried again."""
        batch = policy.batch
        again = queue.head.jobs if queue.head is not None else 0
        most = again or (batch.max_n if batch is not None else 1)
        # What is tried again is what it was.
        most_bytes = batch.max_bytes if batch is not None and not again else 0
        count = size = 0
        full = False
        for pending in queue.waiting:
            weight = self._floor.weigh(pending) if most_bytes else 0
            if pending.job.parts or count == most or (count and most_bytes and size + weight > most_bytes):
                full = True
                break
            count, size = count + 1, size + weight
        full = full or count >= most or size >= most_bytes > 0
        if again and not full and queue.behind:
            self.wake(0.1)
            self._fetch()
            return None
        if not full and batch is not None and not again:
            left = queue.waiting[0].since + batch.linger - self._loop.time()
            if left > 0:
                self.wake(left)
                self._fetch()
                return None
        return [queue.waiting.popleft() for _ in range(count)]

    def took(self, seconds: float) -> None:
        """Learns how long a post took."""
        self.pace = seconds if not self.pace else 0.8 * self.pace + 0.2 * seconds

    def finished(self, queue: OrderedQueue) -> None:
        """One post is over: its place is free."""
        self.under_way -= 1
        queue.under_way -= 1
        if queue.idle and queue.first is None:
            self.queues.pop(queue.name, None)
            self._ready.pop(queue.name, None)
            self._waiting.pop(queue.name, None)
        else:
            self._mark(queue)
        self.pump()

    def retry(self, queue: OrderedQueue, post: Post, head: Head) -> None:
        """Lets a serial queue's post stand in front again, for a later time."""
        queue.head = head
        queue.not_before = head.not_before
        queue.put_back(post.pending)
        if head.halted or head.not_before - wall.now() > self._floor.queue_settings.hold:
            self._floor.rest(queue.park_waiting())
            self._store(queue)
        self._mark(queue)

    def restored(self, queue: OrderedQueue, head: Head, not_before: float) -> None:
        """Takes over how far the first of a queue had come at a predecessor."""
        queue.head, queue.not_before = head, not_before
        self._mark(queue)

    def postpone(self, queue: OrderedQueue, post: Post, seconds: float) -> None:
        """Lets a post that was not posted stand in front again; nothing of its queue begins for so many seconds."""
        queue.not_before = max(queue.not_before, wall.now() + seconds)
        queue.put_back(post.pending)
        if seconds > self._floor.queue_settings.hold:
            self._floor.rest(queue.park_waiting())
            self._store(queue)
        self._mark(queue)

    def resume(self, queue: OrderedQueue) -> None:
        """Lets a halted queue go on."""
        queue.not_before = 0.0
        self._mark(queue)

    def _mark(self, queue: OrderedQueue) -> None:
        """Notes whether a queue may begin."""
        now = wall.now()
        if queue.waiting or (queue.not_before > now and not queue.halted):
            self._waiting[queue.name] = queue
        else:
            self._waiting.pop(queue.name, None)
        if queue.may_begin(now):
            self._ready[queue.name] = queue
            return
        self._ready.pop(queue.name, None)
        if queue.not_before > now and not queue.halted:
            self.wake(queue.not_before - now)

    def wake(self, seconds: float = 0.0) -> None:
        """Looks again after so many seconds, or sooner."""
        at = self._loop.time() + max(seconds, 0.0)
        if self._timer is not None:
            if self._due <= at:
                return
            self._timer.cancel()
        # Kept here: what uvloop gives for a time that has come has no `when`.
        self._due = at
        self._timer = self._loop.call_at(at, self._woken)

    def _woken(self) -> None:
        self._timer = None
        for queue in list(self._waiting.values()):
            self._mark(queue)
        self.pump()

    def end(self) -> None:
        """Stops looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # To the log and back

    def _store(self, queue: OrderedQueue) -> None:
        if queue.parking:
            self._to_store[queue.name] = queue
        if not self._storing and self._floor.open and self._to_store:
            self._storing = True
            self._floor.spawn(self._store_all(), "park")

    async def _store_all(self) -> None:
        try:
            while self._floor.open and self._to_store:
                queue = next(iter(self._to_store.values()))
                if not queue.parking:
                    del self._to_store[queue.name]
                    continue
                some = [queue.parking[n] for n in range(min(STORING, len(queue.parking)))]
                try:
                    await self._floor.stored(self, queue, some)
                except BrokerError as fault:
                    log.warning("jobs were not parked yet", extra={"fault": str(fault)})
                    await asyncio.sleep(0.2)
        finally:
            self._storing = False
        self.pump()

    def _fetch(self) -> None:
        if not self._fetching and self._floor.open and self._hungry() is not None:
            self._fetching = True
            self._floor.spawn(self._fetch_all(), "fetch")

    def _hungry(self) -> OrderedQueue | None:
        """A queue that could go on if it had what lies in its log."""
        assert self.policy is not None
        batch = self.policy.batch.max_n if self.policy.batch is not None else 1
        for queue in self.queues.values():
            if queue.stored <= 0 or queue.halted or queue.not_before > wall.now():
                continue
            if self.blocked_for > 0:
                return None
            # What a predecessor had in hand comes first.
            if queue.serial and (queue.early or not self._floor.is_ready(self.session)):
                continue
            again = queue.head.jobs if queue.head is not None else 1
            if len(queue.waiting) < (max(batch, again) if queue.serial else max(batch, self.policy.concurrency)):
                return queue
        return None

    async def _fetch_all(self) -> None:
        empty = 0
        try:
            while self._floor.open and (queue := self._hungry()) is not None:
                try:
                    found = await self._fetch_page(queue)
                except BrokerError as fault:
                    log.debug("a queue's log cannot be read", extra={"fault": str(fault)})
                    await asyncio.sleep(0.1)
                    continue
                empty = 0 if found else empty + 1
                if empty:
                    if empty > 10 and queue.stored > 0:
                        # It was counted, and is not there; the next look at the stream tells.
                        queue.behind = len(queue.parking)
                        empty = 0
                    await asyncio.sleep(0.1)
                self.pump()
        finally:
            self._fetching = False

    async def _fetch_page(self, queue: OrderedQueue) -> int:
        assert self.policy is not None
        jobs = PAGE_JOBS if queue.name == "all" else KEY_PAGE
        if self.policy.batch is not None:
            jobs = max(jobs, self.policy.batch.max_n)
        after = queue.after
        page, _ = await self._floor.backlog.page(self._floor.partition, self.session, queue.name, after, jobs)
        if queue.after != after or queue.halted or queue.not_before > wall.now():
            return len(page)  # it was parked meanwhile
        queue.first = None
        for parked in page:
            queue.after = parked.sequence
            queue.behind -= 1
            if parked.job is None:
                self._floor.spawn(self._floor.throw_away(parked), "throw away")
                continue
            pending = PendingJob(parked.job, self._loop.time(), parked_at=parked.sequence, size=len(parked.payload))
            pending.suspect = queue.suspects
            if self._floor.fetched(self, queue, pending):
                queue.waiting.append(pending)
            else:
                # It was counted when it was taken before. One too many is found out, one too few would be left behind.
                queue.behind += 1
        queue.suspects = False
        self._mark(queue)
        return len(page)
