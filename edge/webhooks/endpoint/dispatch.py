"""This file is where one endpoint is served: which of its jobs may be posted now, and where the others wait meanwhile.

A gate is there as long as there is anything to remember of its endpoint, in the one process that owns its partition. Where
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
    """What a gate stands on: the term of its partition."""

    partition: int
    lane_settings: QueueSettings
    parking: Backlog

    @property
    def open(self) -> bool:
        """Whether work may still begin."""

    @property
    def pressed(self) -> bool:
        """Whether the partition is nearly full."""

    def was_there(self, held: PendingJob) -> bool:
        """Whether a new job lay in HOOKS already when the partition was taken over."""

    def is_ready(self, session: str) -> bool:
        """Whether all jobs of a session have been admitted that lay in HOOKS when the partition was taken over."""

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Runs something beside."""

    def begin(self, gate: EndpointDispatcher, lane: OrderedQueue, unit: Post) -> None:
        """Posts a unit; `finished` follows."""

    def rules(self, endpoint: EndpointSettings) -> Rules:
        """What counts for an endpoint of retries, circuit breaker and auto-disable."""

    def weigh(self, held: PendingJob) -> int:
        """The bytes of a job in a batch."""

    def rest(self, held: list[PendingJob]) -> None:
        """Gives the partition's places back for jobs that stay in hand."""

    def fetched(self, gate: EndpointDispatcher, lane: OrderedQueue, held: PendingJob) -> bool:
        """Takes a job from a log in hand; False where it was settled already."""

    async def stored(self, gate: EndpointDispatcher, lane: OrderedQueue, some: list[PendingJob]) -> None:
        """Parks some jobs, in order if the lane is serial. Raises BrokerError where the rest has to be parked again."""

    async def throw_away(self, parked: ParkedJob) -> None:
        """Takes out of a log what is no job, into the dead letters."""


class EndpointDispatcher:
    """One endpoint, as its owner serves it."""

    def __init__(self, floor: DispatchHost, session: str, health: CircuitBreaker, endpoint: EndpointSettings) -> None:
        self.session = session
        self.health = health
        self.policy: EndpointSettings | None = None
        self.lanes: dict[str, OrderedQueue] = {}
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
        self.health.settings = self.rules.health
        # As the attempt log has it.
        self.destination = endpoint.destination
        if before is None or before.concurrency != endpoint.concurrency:
            self.health.resize(endpoint.concurrency)
        if endpoint.rate is None:
            self._tokens = None
        elif self._tokens is None or self._tokens.rate != endpoint.rate:
            # One post at once, and no more: else each change would allow another.
            due = self._tokens.next if self._tokens is not None else 0.0
            self._tokens = EvenPace(endpoint.rate, self._loop.time(), min(due, self._loop.time() + 1.0 / endpoint.rate))
        # A line of all is what the mode says; what waits in lines of keys goes out in order, whatever the mode is now.
        if (lane := self.lanes.get("all")) is not None:
            lane.serial = endpoint.mode == "fifo"
        self.wake()

    @property
    def blocked_for(self) -> float:
        """The seconds until a post may begin; infinite where somebody has to say so first."""
        return self.health.blocked_for if self.policy is not None and self.policy.active else float("inf")

    @property
    def parked(self) -> int:
        return sum(lane.behind for lane in self.lanes.values())

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember."""
        return (
            not self.under_way
            and not self.health.memorable
            and (self._tokens is None or self._tokens.full(self._loop.time()))
            and all(lane.idle for lane in self.lanes.values())
        )

    def lane(self, name: str, serial: bool) -> OrderedQueue:
        """Finds a lane, or begins it."""
        lane = self.lanes.get(name)
        if lane is None:
            lane = self.lanes[name] = OrderedQueue(name, serial)
        return lane

    # In

    def admit(self, held: PendingJob) -> None:
        """Finds a place for a job that has come."""
        assert self.policy is not None
        lane = self.lane(*queue_of(held.job, self.policy.mode))
        if lane.first is not None and held.order and (lane.early or self._floor.was_there(held)):
            self._line_up(lane, held)
        elif self._is_full(lane, held):
            self._park(lane, held)
        else:
            lane.queue.append(held)
            self._mark(lane)
        self.pump()

    def _is_full(self, lane: OrderedQueue, held: PendingJob) -> bool:
        settings = self._floor.lane_settings
        # A retry that is due may go before what is parked, where there is no order to keep.
        if lane.behind and (lane.serial or not held.job.due_at):
            return True
        if self.blocked_for > settings.hold or lane.halted or lane.not_before > wall.now() + settings.hold:
            return True
        if self.health.state == "half_open":
            return bool(lane.queue)
        assert self.policy is not None
        waiting = settings.pressed if self._floor.pressed else settings.waiting
        if waiting < settings.quick and not self._floor.pressed and self.pace and self._tokens is None:
            waiting = max(waiting, min(settings.quick, int(self.policy.concurrency / self.pace)))
        if self.policy.batch is not None:
            waiting = max(waiting, 2 * self.policy.batch.max_n)
        return len(lane.queue) >= waiting

    def _park(self, lane: OrderedQueue, held: PendingJob) -> None:
        if lane.serial:
            # What came before goes before.
            self._floor.rest(lane.stow())
        lane.park([held])
        self._mark(lane)
        self._store(lane)

    def _line_up(self, lane: OrderedQueue, held: PendingJob) -> None:
        """Finds the place of a new job where a predecessor has left a log: before it, or behind it."""
        if lane.first == 0:
            if not lane.early:
                self._floor.spawn(self._look_up(lane), f"first of {lane.name}")
            lane.early.append(held)
        elif lane.first is not None and held.order < lane.first:
            lane.queue.append(held)
            self._mark(lane)
        else:
            lane.park([held])
            self._store(lane)

    async def _look_up(self, lane: OrderedQueue) -> None:
        while self._floor.open:
            try:
                page, _ = await self._floor.parking.page(self._floor.partition, self.session, lane.name, 0, 1)
            except BrokerError as fault:
                log.debug("a lane's log cannot be read", extra={"fault": str(fault)})
                await asyncio.sleep(0.2)
                continue
            job = page[0].job if page else None
            # Of one that has no place of its own, all that is new counts as later.
            lane.first = job.order if job is not None and job.order else 1
            early, lane.early = lane.early, []
            for held in early:
                self._line_up(lane, held)
            self.pump()
            return

    # Out

    def pump(self) -> None:
        """Lets begin what may."""
        floor, policy = self._floor, self.policy
        if not floor.open or policy is None:
            return
        self.used = time.monotonic()
        places = self.health.places(policy.concurrency) if policy.active else 0
        while self.under_way < places and self._ready:
            if self._tokens is not None and (wait := self._tokens.wait(self._loop.time())):
                self.wake(wait)
                break
            name, lane = next(iter(self._ready.items()))
            del self._ready[name]
            unit = self._unit(lane, policy)
            if unit is None:
                continue
            if self._tokens is not None:
                self._tokens.take(self._loop.time())
            self.under_way += 1
            lane.under_way += 1
            self._mark(lane)
            floor.begin(self, lane, unit)
        if places:
            self._fetch()
        else:
            self._shut()

    def _shut(self) -> None:
        """Nothing may begin: what waits is parked, unless it is for a moment only."""
        blocked = self.blocked_for
        if blocked > self._floor.lane_settings.hold:
            for lane in list(self._waiting.values()):
                if lane.queue:
                    self._floor.rest(lane.stow())
                self._mark(lane)
                self._store(lane)
        if blocked != float("inf"):
            self.wake(blocked)

    def _unit(self, lane: OrderedQueue, policy: EndpointSettings) -> Post | None:
        """Takes the next unit out of a lane; None where a batch is not full yet."""
        head, batch, first = lane.head, policy.batch, lane.queue[0]
        if batch is None and (head is None or head.jobs == 1 or first.job.parts):
            lane.queue.popleft()
            some = [first]
            job = first.job
        elif first.job.parts:
            lane.queue.popleft()
            some, job = [first], first.job
        else:
            taken = self._gather(lane, policy)
            if taken is None:
                return None
            some = taken
            job = Job.batch([held.job for held in some])
        if head is not None:
            if head.id == job.id:
                job = replace(job, attempt=head.attempt, last_status=head.last_status, tried=head.tried)
            else:
                lane.head = None  # of a job that is no more
        return Post(some, job)

    def _gather(self, lane: OrderedQueue, policy: EndpointSettings) -> list[PendingJob] | None:
        """Takes a batch out of a lane: as full as it may be, or as old, or the one that is to be tried again."""
        batch = policy.batch
        again = lane.head.jobs if lane.head is not None else 0
        most = again or (batch.max_n if batch is not None else 1)
        # What is tried again is what it was.
        most_bytes = batch.max_bytes if batch is not None and not again else 0
        count = size = 0
        full = False
        for held in lane.queue:
            weight = self._floor.weigh(held) if most_bytes else 0
            if held.job.parts or count == most or (count and most_bytes and size + weight > most_bytes):
                full = True
                break
            count, size = count + 1, size + weight
        full = full or count >= most or size >= most_bytes > 0
        if again and not full and lane.behind:
            self.wake(0.1)
            self._fetch()
            return None
        if not full and batch is not None and not again:
            left = lane.queue[0].since + batch.linger - self._loop.time()
            if left > 0:
                self.wake(left)
                self._fetch()
                return None
        return [lane.queue.popleft() for _ in range(count)]

    def took(self, seconds: float) -> None:
        """Learns how long a post took."""
        self.pace = seconds if not self.pace else 0.8 * self.pace + 0.2 * seconds

    def finished(self, lane: OrderedQueue) -> None:
        """One unit is over: its place is free."""
        self.under_way -= 1
        lane.under_way -= 1
        if lane.idle and lane.first is None:
            self.lanes.pop(lane.name, None)
            self._ready.pop(lane.name, None)
            self._waiting.pop(lane.name, None)
        else:
            self._mark(lane)
        self.pump()

    def retry(self, lane: OrderedQueue, unit: Post, head: Head) -> None:
        """Lets a serial lane's unit stand in front again, for a later time."""
        lane.head = head
        lane.not_before = head.not_before
        lane.put_back(unit.held)
        if head.halted or head.not_before - wall.now() > self._floor.lane_settings.hold:
            self._floor.rest(lane.stow())
            self._store(lane)
        self._mark(lane)

    def restored(self, lane: OrderedQueue, head: Head, not_before: float) -> None:
        """Takes over how far the first of a lane had come at a predecessor."""
        lane.head, lane.not_before = head, not_before
        self._mark(lane)

    def postpone(self, lane: OrderedQueue, unit: Post, seconds: float) -> None:
        """Lets a unit that was not posted stand in front again; nothing of its lane begins for so many seconds."""
        lane.not_before = max(lane.not_before, wall.now() + seconds)
        lane.put_back(unit.held)
        if seconds > self._floor.lane_settings.hold:
            self._floor.rest(lane.stow())
            self._store(lane)
        self._mark(lane)

    def resume(self, lane: OrderedQueue) -> None:
        """Lets a halted lane go on."""
        lane.not_before = 0.0
        self._mark(lane)

    def _mark(self, lane: OrderedQueue) -> None:
        """Notes whether a lane may begin."""
        now = wall.now()
        if lane.queue or (lane.not_before > now and not lane.halted):
            self._waiting[lane.name] = lane
        else:
            self._waiting.pop(lane.name, None)
        if lane.may_begin(now):
            self._ready[lane.name] = lane
            return
        self._ready.pop(lane.name, None)
        if lane.not_before > now and not lane.halted:
            self.wake(lane.not_before - now)

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
        for lane in list(self._waiting.values()):
            self._mark(lane)
        self.pump()

    def end(self) -> None:
        """Stops looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # To the log and back

    def _store(self, lane: OrderedQueue) -> None:
        if lane.stowing:
            self._to_store[lane.name] = lane
        if not self._storing and self._floor.open and self._to_store:
            self._storing = True
            self._floor.spawn(self._store_all(), "park")

    async def _store_all(self) -> None:
        try:
            while self._floor.open and self._to_store:
                lane = next(iter(self._to_store.values()))
                if not lane.stowing:
                    del self._to_store[lane.name]
                    continue
                some = [lane.stowing[n] for n in range(min(STORING, len(lane.stowing)))]
                try:
                    await self._floor.stored(self, lane, some)
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
        """A lane that could go on if it had what lies in its log."""
        assert self.policy is not None
        batch = self.policy.batch.max_n if self.policy.batch is not None else 1
        for lane in self.lanes.values():
            if lane.stored <= 0 or lane.halted or lane.not_before > wall.now():
                continue
            if self.blocked_for > 0:
                return None
            # What a predecessor had in hand comes first.
            if lane.serial and (lane.early or not self._floor.is_ready(self.session)):
                continue
            again = lane.head.jobs if lane.head is not None else 1
            if len(lane.queue) < (max(batch, again) if lane.serial else max(batch, self.policy.concurrency)):
                return lane
        return None

    async def _fetch_all(self) -> None:
        empty = 0
        try:
            while self._floor.open and (lane := self._hungry()) is not None:
                try:
                    found = await self._fetch_page(lane)
                except BrokerError as fault:
                    log.debug("a lane's log cannot be read", extra={"fault": str(fault)})
                    await asyncio.sleep(0.1)
                    continue
                empty = 0 if found else empty + 1
                if empty:
                    if empty > 10 and lane.stored > 0:
                        # It was counted, and is not there; the next look at the stream tells.
                        lane.behind = len(lane.stowing)
                        empty = 0
                    await asyncio.sleep(0.1)
                self.pump()
        finally:
            self._fetching = False

    async def _fetch_page(self, lane: OrderedQueue) -> int:
        assert self.policy is not None
        jobs = PAGE_JOBS if lane.name == "all" else KEY_PAGE
        if self.policy.batch is not None:
            jobs = max(jobs, self.policy.batch.max_n)
        after = lane.after
        page, _ = await self._floor.parking.page(self._floor.partition, self.session, lane.name, after, jobs)
        if lane.after != after or lane.halted or lane.not_before > wall.now():
            return len(page)  # it was stowed meanwhile
        lane.first = None
        for parked in page:
            lane.after = parked.sequence
            lane.behind -= 1
            if parked.job is None:
                self._floor.spawn(self._floor.throw_away(parked), "throw away")
                continue
            held = PendingJob(parked.job, self._loop.time(), parked_at=parked.sequence, size=len(parked.payload))
            held.suspect = lane.suspects
            if self._floor.fetched(self, lane, held):
                lane.queue.append(held)
            else:
                # It was counted when it was taken before. One too many is found out, one too few would be left behind.
                lane.behind += 1
        lane.suspects = False
        self._mark(lane)
        return len(page)
