"""Dispatches the jobs of one endpoint: which may be posted now, and which wait in memory or in the backlog.

There is a dispatcher for each endpoint with anything to remember, in the one process that owns its partition. While nothing
may be posted (the circuit breaker is open, the endpoint is disabled, or it asked for a pause) no job waits in memory: all are
parked, at the cost of one write each, and fetched in order once posts may begin again. That is the backpressure of a webhook.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from edge.sessions.endpoint.settings import EndpointSettings
from edge.webhooks.endpoint.backlog_io import BacklogReader, BacklogWriter, WantedJobs
from edge.webhooks.endpoint.batching import next_post
from edge.webhooks.endpoint.breaker import CircuitBreaker
from edge.webhooks.endpoint.host import DispatchHost
from edge.webhooks.endpoint.rules import Rules
from edge.webhooks.queue.backlog import PAGE_JOBS
from edge.webhooks.queue.ordering import ALL, Head, OrderedQueue, queue_of
from edge.webhooks.queue.post import PendingJob, Post
from router.clock import wall
from router.rates import EvenPace

# The backlog of a key is read a few jobs at a time: many keys share what an endpoint may have in hand.
KEY_PAGE = 4


class EndpointDispatcher:
    """The queues of one endpoint, its circuit breaker, and the places for its posts."""

    def __init__(
        self,
        host: DispatchHost,
        session: str,
        breaker: CircuitBreaker,
        endpoint: EndpointSettings,
        rules: Rules,
        start: Callable[[EndpointDispatcher, OrderedQueue, Post], None],
    ) -> None:
        """`start` posts a post; `finished` follows."""
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
        self._host = host
        self._start = start
        self._ready: dict[str, OrderedQueue] = {}
        # Queues that wait for a place or for a time: among tens of thousands of keys whose jobs are all parked there are few.
        self._waiting: dict[str, OrderedQueue] = {}
        self._writer = BacklogWriter(host, session, self.pump)
        self._reader = BacklogReader(host, session, self._wanted, self._mark, self.pump)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._tokens: EvenPace | None = None
        self._loop = asyncio.get_running_loop()
        self.change(endpoint, rules)

    # What it is

    def change(self, endpoint: EndpointSettings, rules: Rules) -> None:
        """Takes new settings, from now on."""
        before, self.policy = self.policy, endpoint
        self.rules = rules
        self.breaker.settings = rules.breaker
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
        # The mode decides on the queue of all; jobs that wait in queues of keys go out in order, whatever the mode is now.
        if (queue := self.queues.get(ALL)) is not None:
            queue.serial = endpoint.mode == "fifo"
        self.wake()

    @property
    def blocked_for(self) -> float:
        """The seconds until a post may begin; infinite where only a person can change that."""
        return self.breaker.blocked_for if self.policy is not None and self.policy.active else float("inf")

    @property
    def parked(self) -> int:
        """Jobs in the backlog, those on their way included."""
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

    def backlog_queue(self, name: str) -> OrderedQueue:
        """Finds or begins the queue of a backlog, which is serial unless it is that of all and the mode says otherwise."""
        assert self.policy is not None
        return self.queue(name, name != ALL or self.policy.mode == "fifo")

    def is_shut(self, queue: OrderedQueue) -> bool:
        """Whether nothing of a queue may be posted now."""
        return self.blocked_for > 0 or queue.halted or queue.not_before > wall.now()

    # Admission

    def admit(self, pending: PendingJob) -> None:
        """Finds a place for a job that has arrived."""
        assert self.policy is not None
        queue = self.queue(*queue_of(pending.job, self.policy.mode))
        if queue.first is not None and pending.order and (queue.early or self._host.catch_up.was_there(pending)):
            self._line_up(queue, pending)
        elif self._is_full(queue, pending):
            self._park(queue, pending)
        else:
            queue.waiting.append(pending)
            self._mark(queue)
        self.pump()

    def _is_full(self, queue: OrderedQueue, pending: PendingJob) -> bool:
        settings = self._host.settings
        # A retry that is due may go before what is parked, where there is no order to keep.
        if queue.behind and (queue.serial or not pending.job.due_at):
            return True
        if self.blocked_for > settings.hold or queue.halted or queue.not_before > wall.now() + settings.hold:
            return True
        if self.breaker.state == "half_open":
            return bool(queue.waiting)
        assert self.policy is not None
        nearly_full = self._host.in_hand.nearly_full
        max_waiting = settings.pressed if nearly_full else settings.waiting
        if max_waiting < settings.quick and not nearly_full and self.pace and self._tokens is None:
            max_waiting = max(max_waiting, min(settings.quick, int(self.policy.concurrency / self.pace)))
        if self.policy.batch is not None:
            max_waiting = max(max_waiting, 2 * self.policy.batch.max_n)
        return len(queue.waiting) >= max_waiting

    def _park(self, queue: OrderedQueue, pending: PendingJob) -> None:
        if queue.serial:
            # What came before goes before.
            self._host.in_hand.release_credit(queue.park_waiting())
        queue.park([pending])
        self._mark(queue)
        self._writer.store(queue)

    def _park_waiting(self, queue: OrderedQueue) -> None:
        self._host.in_hand.release_credit(queue.park_waiting())
        self._writer.store(queue)

    def _line_up(self, queue: OrderedQueue, pending: PendingJob) -> None:
        """Finds the place of a new job where a predecessor has left a backlog: before it, or behind it."""
        if queue.first == 0:
            if not queue.early:
                self._host.tasks.spawn(self._look_up(queue), f"first of {queue.name}")
            queue.early.append(pending)
        elif queue.first is not None and pending.order < queue.first:
            queue.waiting.append(pending)
            self._mark(queue)
        else:
            queue.park([pending])
            self._writer.store(queue)

    async def _look_up(self, queue: OrderedQueue) -> None:
        """Looks up which new jobs come before the backlog, and lines up those that have arrived meanwhile."""
        first = await self._reader.first_order(queue)
        if first is None:
            return
        queue.first = first
        early, queue.early = queue.early, []
        for pending in early:
            self._line_up(queue, pending)
        self.pump()

    # Dispatch

    def pump(self) -> None:
        """Starts all posts that may begin now."""
        policy = self.policy
        if not self._host.tasks.open or policy is None:
            return
        self.used = time.monotonic()
        places = self.breaker.places(policy.concurrency) if policy.active else 0
        while self.under_way < places and self._ready:
            if self._tokens is not None and (wait := self._tokens.wait(self._loop.time())):
                self.wake(wait)
                break
            name, queue = next(iter(self._ready.items()))
            del self._ready[name]
            post = next_post(queue, policy.batch, self._host.weigh, self._loop.time())
            if isinstance(post, float):
                # A batch that is not full yet.
                self.wake(post)
                self._reader.fetch()
                continue
            if self._tokens is not None:
                self._tokens.take(self._loop.time())
            self.under_way += 1
            queue.under_way += 1
            self._mark(queue)
            self._start(self, queue, post)
        if places:
            self._reader.fetch()
        else:
            self._shut()

    def _shut(self) -> None:
        """Parks all waiting jobs because nothing may begin, unless that is for a moment only."""
        blocked = self.blocked_for
        if blocked > self._host.settings.hold:
            for queue in list(self._waiting.values()):
                if queue.waiting:
                    self._host.in_hand.release_credit(queue.park_waiting())
                self._mark(queue)
                self._writer.store(queue)
        if blocked != float("inf"):
            self.wake(blocked)

    def took(self, seconds: float) -> None:
        """Learns how long a post took."""
        self.pace = seconds if not self.pace else 0.8 * self.pace + 0.2 * seconds

    def finished(self, queue: OrderedQueue) -> None:
        """Frees the place of a post that is over."""
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
        """Puts a serial queue's post in front again, for a later time."""
        queue.head = head
        queue.not_before = head.not_before
        queue.put_back(post.pending)
        if head.halted or head.not_before - wall.now() > self._host.settings.hold:
            self._park_waiting(queue)
        self._mark(queue)

    def restored(self, queue: OrderedQueue, head: Head, not_before: float) -> None:
        """Takes over how far a predecessor had come with the first post of a queue."""
        queue.head, queue.not_before = head, not_before
        self._mark(queue)

    def postpone(self, queue: OrderedQueue, post: Post, seconds: float) -> None:
        """Puts a post that was not made in front again; nothing of its queue begins for so many seconds."""
        queue.not_before = max(queue.not_before, wall.now() + seconds)
        queue.put_back(post.pending)
        if seconds > self._host.settings.hold:
            self._park_waiting(queue)
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

    def _wanted(self) -> WantedJobs | None:
        """A queue that could go on if it had what is in its backlog; None for none, and once the session is deleted."""
        if self.policy is None:
            return None
        batch = self.policy.batch.max_n if self.policy.batch is not None else 1
        for queue in self.queues.values():
            if queue.stored <= 0 or queue.halted or queue.not_before > wall.now():
                continue
            if self.blocked_for > 0:
                return None
            # What a predecessor had in hand comes first.
            if queue.serial and (queue.early or not self._host.catch_up.is_ready(self.session)):
                continue
            again = queue.head.jobs if queue.head is not None else 1
            if len(queue.waiting) < (max(batch, again) if queue.serial else max(batch, self.policy.concurrency)):
                return WantedJobs(queue, max(PAGE_JOBS if queue.name == ALL else KEY_PAGE, batch))
        return None

    # Waking up

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
