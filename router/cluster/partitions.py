"""Distributes the partitions of the webhooks among the edge processes: each has one owner, and all own about as many.

A process keeps a key of LEASES alive (`router.cluster.ownership` describes the keys) and writes itself as the owner of a
partition under compare-and-set. A partition whose owner is gone, or has released it, is free; a process that has fewer than
its share claims it. The revision of that write is the owner's epoch: it names the owner's consumers, so that a
predecessor can no longer settle their jobs.

What a process knows of the owners only moves to higher revisions. After a write that conflicts the bucket's leader is
read, and all owners are read again at intervals, which repairs what the watch missed.

A process that cannot refresh its key stops its partitions before another process can claim them.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable
from typing import Protocol

from router.cluster.departures import Departures
from router.cluster.membership import Membership
from router.cluster.ownership import ABANDONED, KEYS, Ownership, owner_key, owner_value
from router.cluster.role import RoleSettings
from router.coalescing import coalesced_sleep, until_multiple
from router.errors import BrokerError, Conflict
from router.nats.bucket import Bucket, Entry

log = logging.getLogger(__name__)

# How often the owners are read again, in seconds: sixteen small reads by each edge.
RECONCILE_SECONDS = 60.0
# While this process works its share, and no other is heard to come or go, the partitions are looked at again so seldom.
SETTLED_SECONDS = 5.0
# So long a term may take to end after it was closed; one that still waits for an answer of NATS then is cancelled, since
# nobody else can work its partition meanwhile.
LINGER_SECONDS = 5.0
# So long a partition's release may wait for its answer.
RELEASE_SECONDS = 1.0


class Term(Protocol):
    """What is done with a partition while it is owned."""

    async def run(self) -> None:
        """Works until cancelled, or until `close` has let everything go."""

    async def close(self, grace: float) -> None:
        """Takes nothing more, and ends within about `grace` seconds in good order."""


class PartitionCounters(Protocol):
    """Counts what metrics show of the partitions."""

    def lost(self, count: int) -> None:
        """So many partitions were lost to another process, or for want of NATS."""

    def stand(self, owned: int, unowned: int) -> None:
        """So many partitions are owned here, and so many by nobody."""


class Partitions:
    """The partitions of this process, as far as others leave them to it."""

    def __init__(
        self,
        bucket: Bucket,
        count: int,
        holder: str,
        begin: Callable[[int, int, bool], Term],
        settings: RoleSettings,
        counters: PartitionCounters,
        departures: Departures | None = None,
    ) -> None:
        """`begin(partition, epoch, clean)` makes a term; `clean` says that the predecessor let go in good order.

        `departures` is told when processes come and go.
        """
        self.settings = settings
        self.ownership = Ownership(count, holder, settings.ttl)
        self.terms: dict[int, Term] = {}
        self._bucket = bucket
        self._count = count
        self._holder = holder
        self._begin = begin
        self._counters = counters
        self._departures = departures or Departures()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._letting_go: set[int] = set()
        self._news = asyncio.Event()
        self._membership = Membership(bucket, holder, settings, self._news.set, self._fence)
        self._told = asyncio.Event()
        self._closed = asyncio.Event()
        self._closing = False
        self._tasks: asyncio.TaskGroup | None = None
        self._living: asyncio.Task[None] | None = None

    @property
    def unowned(self) -> list[int]:
        """The partitions that nobody works, as far as is known here: without a living owner, or ours and not worked."""
        alive = self.ownership.alive()
        return [
            partition
            for partition in range(self._count)
            if (owner := self.ownership.owner(partition)) not in alive
            or (owner == self._holder and partition not in self._running)
        ]

    async def run(self, grace: float = 2.0) -> None:
        """Takes its share and lets go of what is more, until cancelled or closed. `grace` is for posts under way."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._living = tasks.create_task(self._membership.run(), name="membership lease")
            beside = [
                tasks.create_task(self._watch(), name="who owns"),
                tasks.create_task(self._reconcile_often(), name="reconcile owners"),
                self._living,
            ]
            try:
                await self._told.wait()
                while not self._closing:
                    self._news.clear()
                    await self._look(grace)
                    try:
                        pause = SETTLED_SECONDS if self._is_settled else self.settings.poll
                        async with asyncio.timeout(until_multiple(pause)):
                            await self._news.wait()
                    except TimeoutError:
                        pass
                await self._closed.wait()
            finally:
                self._tasks = None
                for task in (*beside, *self._running.values()):
                    task.cancel()

    @property
    def _is_settled(self) -> bool:
        """Whether this process works its share and nothing else, so that nothing changes without news."""
        return (
            self._membership.held
            and not self._letting_go
            and len(self._running) == self.ownership.share(self.ownership.alive())
            and not any(map(self._is_ours_and_idle, range(self._count)))
        )

    async def close(self, grace: float) -> None:
        """Lets all partitions go, in good order; `run` then returns."""
        self._closing = True
        for partition in list(self._running):
            self._leave(partition, grace)
        if self._leaving:
            await asyncio.wait(set(self._leaving), timeout=grace + LINGER_SECONDS)
        if self._living is not None:
            # Before the key is deleted, which a late refresh would write again.
            self._living.cancel()
        await self._membership.release()
        self._closed.set()
        self._news.set()

    def _fence(self) -> None:
        """Others may believe us gone: nothing is done any more in the partitions' name."""
        if self._running:
            log.warning(
                "membership lease lost; stopping all webhook partitions",
                extra={"partitions": len(self._running)},
            )
            self._counters.lost(len(self._running))
        for task in self._running.values():
            task.cancel()

    # What is owned by which process

    async def _watch(self) -> None:
        while True:
            try:
                await self._bucket.watch(self._heard, KEYS, self._told.set, self._renewed)
            except BrokerError as fault:
                log.info("owners of webhook partitions cannot be watched; retrying", extra={"fault": str(fault)})
                await asyncio.sleep(0.5)

    def _heard(self, entry: Entry, _ready: bool) -> None:
        if self.ownership.heard(entry):
            self._news.set()
            self._departures.tell()

    def _renewed(self) -> None:
        """The bucket was recreated: nobody owns anything in it until it is claimed again."""
        self.ownership.clear()
        self.restart()

    def restart(self) -> None:
        """Ends all terms at once and begins others: what they know of the streams is void."""
        for task in self._running.values():
            task.cancel()
        self._news.set()

    async def _reconcile_often(self) -> None:
        await self._told.wait()
        while True:
            await coalesced_sleep(RECONCILE_SECONDS)
            try:
                await self.reconcile()
            except BrokerError as fault:
                log.debug("owners of webhook partitions were not read again", extra={"fault": str(fault)})

    async def reconcile(self) -> None:
        """Reads the owner of every partition again, as the bucket's leader has it. Raises BrokerError."""
        await asyncio.gather(*map(self._read_again, range(self._count)))

    async def _read_again(self, partition: int) -> None:
        before = self.ownership.revision(partition)
        entry = await self._bucket.latest(owner_key(partition))
        if self.ownership.read(partition, entry, before):
            self._news.set()

    async def _conflicted(self, partition: int) -> None:
        """Reads what another wrote, or what a write without an answer has become."""
        try:
            await self._read_again(partition)
        except BrokerError as fault:
            log.debug(
                "owner of a webhook partition was not read again",
                extra={"partition": partition, "fault": str(fault)},
            )

    # Taking and letting go

    async def _look(self, grace: float) -> None:
        """Compares what is owned with what should be."""
        if not self._membership.held:
            self._show()
            return
        alive = self.ownership.alive()
        share = self.ownership.share(alive)
        for partition in [each for each in self._running if self.ownership.owner(each) != self._holder]:
            # Taken by another, which must have believed us gone.
            log.warning(
                "webhook partition was taken by another process; stopping it here", extra={"partition": partition}
            )
            self._counters.lost(1)
            self._running[partition].cancel()
        for partition in sorted(self._running)[share:]:
            if partition in self.terms:
                self._leave(partition, grace)
        await self._take(share, alive)
        # Ours by the bucket and worked by nobody: of a release that failed, or of a lease that was lost for a while.
        for partition in [each for each in range(self._count) if self._is_ours_and_idle(each)]:
            if len(self._running) >= share and not self._closing:
                await self._disown(partition, ABANDONED)
        self._show()

    async def _take(self, share: int, alive: list[str]) -> None:
        """Claims what is free, up to our share."""
        free = [partition for partition in self.ownership.free(alive) if self._is_idle(partition)]
        # With the revision that is seen now: a process that claims one meanwhile keeps it.
        seen = {partition: self.ownership.revision(partition) for partition in range(self._count)}
        # Each begins at another place, so that few reach for the same one.
        turn = zlib.crc32(self._holder.encode()) % self._count
        # What a process that died here under our own name would have held is free, too.
        ours = [each for each in range(self._count) if self._is_ours_and_idle(each)]
        for partition in ours + sorted(free, key=lambda each: (each - turn) % self._count):
            if len(self._running) >= share or self._closing or not self._membership.held:
                break
            if self.ownership.revision(partition) == seen[partition]:
                await self._claim(partition)

    def _is_idle(self, partition: int) -> bool:
        return partition not in self._running and partition not in self._letting_go

    def _is_ours_and_idle(self, partition: int) -> bool:
        return self._is_idle(partition) and self.ownership.owner(partition) == self._holder

    async def _claim(self, partition: int) -> None:
        key, value = owner_key(partition), owner_value(self._holder)
        recorded = self.ownership.has_record(partition)
        clean = recorded and not self.ownership.owner(partition)
        try:
            if recorded:
                epoch = await self._bucket.update(key, value, self.ownership.revision(partition))
            else:
                epoch = await self._bucket.create(key, value)
        except Conflict:
            await self._conflicted(partition)
            return
        except BrokerError as fault:
            log.debug(
                "webhook partition could not be claimed; retrying", extra={"partition": partition, "fault": str(fault)}
            )
            return
        if not self.ownership.wrote(partition, self._holder, epoch):
            return  # taken by another before the answer came
        if self._tasks is None or self._closing or not self._membership.held:
            return  # free once we are gone, or looked at again once our lease is back
        term = self.terms[partition] = self._begin(partition, epoch, clean)
        self._running[partition] = self._tasks.create_task(self._serve(partition, term), name=f"hooks {partition}")
        self._show()
        log.info("webhook partition acquired", extra={"partition": partition, "epoch": epoch})

    async def _serve(self, partition: int, term: Term) -> None:
        try:
            await term.run()
        except asyncio.CancelledError:
            # By `_fence` or `_look` only this term ends; by who ends everything, the rest is cancelled, too.
            if self._tasks is None or self._closing:
                raise
        finally:
            self._ended(partition)

    def _ended(self, partition: int) -> None:
        self._running.pop(partition, None)
        self.terms.pop(partition, None)
        self._show()
        self._news.set()

    def _show(self) -> None:
        self._counters.stand(len(self._running), len(self.unowned))

    def _leave(self, partition: int, grace: float) -> None:
        """Begins to let a partition go, for another to take."""
        term = self.terms.pop(partition, None)
        if term is not None and self._tasks is not None:
            self._letting_go.add(partition)
            # Taken here: once the hand-over begins, the term may have ended for another reason.
            work = self._hand_over(partition, term, self._running[partition], grace)
            leaving = self._tasks.create_task(work, name=f"hand over {partition}")
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def _hand_over(self, partition: int, term: Term, serving: asyncio.Task[None], grace: float) -> None:
        try:
            await term.close(grace)
            _, left = await asyncio.wait({serving}, timeout=LINGER_SECONDS)
            if left:
                serving.cancel()
                await asyncio.wait(left)
            if self.ownership.owner(partition) == self._holder:
                await self._disown(partition, ABANDONED if left else "")
        finally:
            self._letting_go.discard(partition)
            self._news.set()

    async def _disown(self, partition: int, holder: str) -> None:
        """Writes that nobody (`holder`) owns a partition of ours. Where that fails it stays ours, and is looked at again."""
        revision = self.ownership.revision(partition)
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                epoch = await self._bucket.update(owner_key(partition), owner_value(holder), revision)
        except Conflict:
            await self._conflicted(partition)
        except (BrokerError, TimeoutError) as fault:
            log.debug(
                "webhook partition could not be released; retrying", extra={"partition": partition, "fault": str(fault)}
            )
        else:
            self.ownership.wrote(partition, holder, epoch)
