"""Moves the jobs of one endpoint into its backlog while it cannot take them, and back in order once it can."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from edge.webhooks import metrics
from edge.webhooks.endpoint.host import DispatchHost
from edge.webhooks.queue.backlog import is_full
from edge.webhooks.queue.ordering import OrderedQueue
from edge.webhooks.queue.post import PendingJob
from router.clock import wall
from router.errors import BrokerError
from router.nats.publisher import is_too_large
from router.nats.stream import Ack

log = logging.getLogger(__name__)

# Jobs that are on their way into the backlog at the same time.
MAX_PARKING = 64
# After so many empty pages the count of what is parked is wrong.
MAX_EMPTY_PAGES = 10


class BacklogWriter:
    """Parks the jobs that the queues of one endpoint have marked as `parking`, in order."""

    def __init__(self, host: DispatchHost, session: str, done: Callable[[], None]) -> None:
        """`done` is called when all is parked."""
        self._host = host
        self._session = session
        self._done = done
        # Queues with jobs on their way: among tens of thousands of keys whose jobs are all parked there are few.
        self._queues: dict[str, OrderedQueue] = {}
        self._running = False

    def store(self, queue: OrderedQueue) -> None:
        """Starts to park what a queue has marked, if that is not under way."""
        if queue.parking:
            self._queues[queue.name] = queue
        if not self._running and self._host.tasks.open and self._queues:
            self._running = True
            self._host.tasks.spawn(self._run(), "park")

    async def _run(self) -> None:
        try:
            while self._host.tasks.open and self._queues:
                queue = next(iter(self._queues.values()))
                if not queue.parking:
                    del self._queues[queue.name]
                    continue
                some = [queue.parking[n] for n in range(min(MAX_PARKING, len(queue.parking)))]
                try:
                    await self._park(queue, some)
                except BrokerError as fault:
                    log.warning("jobs were not parked; they will be parked again", extra={"fault": str(fault)})
                    await asyncio.sleep(0.2)
        finally:
            self._running = False
        self._done()

    async def _park(self, queue: OrderedQueue, some: list[PendingJob]) -> None:
        """Parks some jobs, in order if the queue is serial. Raises BrokerError where the rest has to be parked again."""
        publishes = [pending.job.parked(queue.name, pending.order) for pending in some]
        results = await self._host.backlog.put(publishes, in_order=queue.serial)
        if not queue.parking:
            return  # the session was deleted meanwhile, and its jobs were ended
        fault: BrokerError | None = None
        again: list[PendingJob] = []
        for pending, result in zip(some, results, strict=True):
            if fault is not None and queue.serial:
                again.append(pending)
                if isinstance(result, BrokerError):
                    pending.unsure = True
                else:
                    # Stored before one that was not, and removed again: the next time it is another message.
                    pending.job = replace(pending.job, parks=pending.job.parks + 1)
            elif is_full(result):
                self._give_up(queue, pending, "overflow")
            elif is_too_large(result):
                self._give_up(queue, pending, "too_large")
            elif isinstance(result, BrokerError):
                fault = result
                pending.unsure = True
                again.append(pending)
            else:
                self._parked(queue, pending, result)
        for _ in some:
            queue.parking.popleft()
        queue.parking.extendleft(reversed(again))
        if fault is not None:
            raise fault

    def _parked(self, queue: OrderedQueue, pending: PendingJob, stored: Ack) -> None:
        metrics.parked_jobs.inc()
        if stored.duplicate and not pending.unsure:
            # Parked by a predecessor: it is counted, or settled since.
            queue.behind -= 1
        self._host.in_hand.end([pending])

    def _give_up(self, queue: OrderedQueue, pending: PendingJob, reason: str) -> None:
        queue.behind -= 1
        self._host.tasks.spawn(self._host.give_up(self._session, pending, reason), reason)


class WantedJobs(NamedTuple):
    """A queue that can take jobs from its backlog, and how many of them a page has."""

    queue: OrderedQueue
    jobs: int


class BacklogReader:
    """Fetches the parked jobs of one endpoint page by page, for as long as one of its queues wants more."""

    def __init__(
        self,
        host: DispatchHost,
        session: str,
        wanted: Callable[[], WantedJobs | None],
        fetched: Callable[[OrderedQueue], None],
        pump: Callable[[], None],
    ) -> None:
        """`fetched` is called for a queue that got jobs, and `pump` after each page."""
        self._host = host
        self._session = session
        self._wanted = wanted
        self._fetched = fetched
        self._pump = pump
        self._running = False

    def fetch(self) -> None:
        """Starts to fetch, if a queue wants jobs and that is not under way."""
        if not self._running and self._host.tasks.open and self._wanted() is not None:
            self._running = True
            self._host.tasks.spawn(self._run(), "fetch")

    async def _run(self) -> None:
        empty = 0
        try:
            while self._host.tasks.open and (wanted := self._wanted()) is not None:
                queue = wanted.queue
                try:
                    found = await self._fetch_page(queue, wanted.jobs)
                except BrokerError as fault:
                    log.debug("a backlog cannot be read; it will be read again", extra={"fault": str(fault)})
                    await asyncio.sleep(0.1)
                    continue
                empty = 0 if found else empty + 1
                if empty:
                    if empty > MAX_EMPTY_PAGES and queue.stored > 0:
                        # It was counted, and is not there; the next look at the stream tells.
                        queue.behind = len(queue.parking)
                        empty = 0
                    await asyncio.sleep(0.1)
                self._pump()
        finally:
            self._running = False

    async def _fetch_page(self, queue: OrderedQueue, jobs: int) -> int:
        host, after = self._host, queue.after
        page, _ = await host.backlog.page(host.partition, self._session, queue.name, after, jobs)
        if queue.after != after or queue.halted or queue.not_before > wall.now():
            return len(page)  # its jobs were parked meanwhile
        queue.first = None
        now = asyncio.get_running_loop().time()
        for parked in page:
            queue.after = parked.sequence
            queue.behind -= 1
            if parked.job is None:
                host.tasks.spawn(host.discard(parked), "discard")
                continue
            pending = PendingJob(parked.job, now, parked_at=parked.sequence, size=len(parked.payload))
            pending.suspect = queue.suspects
            if host.in_hand.is_removed(parked.sequence):
                host.in_hand.end([pending])
                # It was counted when it was taken before. One too many is found out, one too few would be left behind.
                queue.behind += 1
            else:
                queue.waiting.append(pending)
        queue.suspects = False
        self._fetched(queue)
        return len(page)

    async def first_order(self, queue: OrderedQueue) -> int | None:
        """The order of the first parked job, 1 where it has none; None where the worker has ended."""
        host = self._host
        while host.tasks.open:
            try:
                page, _ = await host.backlog.page(host.partition, self._session, queue.name, 0, 1)
            except BrokerError as fault:
                log.debug("a backlog cannot be read; it will be read again", extra={"fault": str(fault)})
                await asyncio.sleep(0.2)
                continue
            job = page[0].job if page else None
            # Every new job comes after one that has no order of its own.
            return job.order if job is not None and job.order else 1
        return None
