"""This file is where the edge processes share the partitions of the webhooks: each has one owner, and all about as many.

A process says that it lives by one key of LEASES with a ttl (`hook.member.<id>`), and that it owns a partition by another
without one (`hook.owner.<partition>`), written under compare-and-set. A partition whose owner has gone, or has let it go,
is free; whoever has fewer than its share takes it. The revision of that write is the owner's epoch: it names the owner's
consumers, so that nothing a predecessor still says about its jobs is heard any more.

A process that cannot refresh its key stops by itself before anybody could believe it gone.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from edge.webhooks import metrics
from router.buckets import Bucket, Entry
from router.errors import BrokerError, Conflict
from router.role import RoleSettings
from router.stored import decoder
from router.topology import LEASES

log = logging.getLogger(__name__)

MEMBER, OWNER = "hook.member", "hook.owner"
# A lease is refreshed three times in its ttl; who has said nothing while we were heard to do so five times is gone.
MISSED = 5


def owner_key(partition: int) -> str:
    """The key of LEASES that says who owns a partition."""
    return f"{OWNER}.{partition}"


class Term(Protocol):
    """What is done with a partition while it is owned."""

    async def run(self) -> None:
        """Works until cancelled, or until `close` has let everything go."""

    async def close(self, grace: float) -> None:
        """Takes nothing more, and ends within about `grace` seconds in good order."""


class _Owned(msgspec.Struct):
    """Who owns a partition; nobody where `holder` is empty."""

    holder: str


_owned = decoder(_Owned, LEASES)


@dataclass(slots=True)
class _Member:
    """Another process: when it was last heard of, and how often we were heard ourselves since then.

    Who hears nothing at all, because the watch is broken, does not hear himself either, and believes nobody gone for that.
    """

    heard: float
    missed: int = 0


class Partitions:
    """The partitions of this process, as far as others leave them to it."""

    def __init__(
        self, bucket: Bucket, count: int, holder: str, begin: Callable[[int, int, bool], Term], settings: RoleSettings
    ) -> None:
        """`begin(partition, epoch, clean)` makes a term; `clean` says that the predecessor let go in good order."""
        self.settings = settings
        self.terms: dict[int, Term] = {}
        self._bucket = bucket
        self._count = count
        self._holder = holder
        self._begin = begin
        self._members: dict[str, _Member] = {}  # the others
        self._owners: dict[int, tuple[str, int]] = {}  # holder and revision
        self._running: dict[int, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._letting_go: set[int] = set()
        self._news = asyncio.Event()
        self._told = asyncio.Event()
        self._closed = asyncio.Event()
        self._good = float("-inf")
        self._revision = 0
        self._closing = False
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, grace: float = 2.0) -> None:
        """Takes its share and lets go of what is more, until cancelled or closed. `grace` is for posts under way."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            watching = tasks.create_task(self._watch(), name="who owns")
            living = tasks.create_task(self._live(), name="owner's lease")
            try:
                await self._told.wait()
                while not self._closing:
                    self._news.clear()
                    await self._look(grace)
                    try:
                        async with asyncio.timeout(self.settings.poll):
                            await self._news.wait()
                    except TimeoutError:
                        pass
                await self._closed.wait()
            finally:
                self._tasks = None
                watching.cancel()
                living.cancel()
                for task in self._running.values():
                    task.cancel()

    async def close(self, grace: float) -> None:
        """Lets all partitions go, in good order; `run` then returns."""
        self._closing = True
        for partition in list(self._running):
            self._leave(partition, grace)
        if self._leaving:
            await asyncio.wait(set(self._leaving), timeout=grace + 3.0)
        try:
            async with asyncio.timeout(1.0):
                await self._bucket.delete(f"{MEMBER}.{self._holder}", 60.0)
        except (BrokerError, TimeoutError):
            log.debug("an owner's lease was not released")
        self._closed.set()
        self._news.set()

    # The lease

    async def _live(self) -> None:
        """Keeps the process's own key; where that fails for too long, all terms end at once."""
        loop = asyncio.get_running_loop()
        key, value = f"{MEMBER}.{self._holder}", b"1"
        while True:
            asked = loop.time()
            left = self._good + self.settings.patience - asked
            try:
                async with asyncio.timeout(left if left > 0 else self.settings.patience):
                    self._revision = await self._bucket.put(key, value, self.settings.ttl)
                if self._good == float("-inf"):
                    self._news.set()
                self._good = asked
                pause = self.settings.refresh
            except (BrokerError, TimeoutError) as fault:
                log.debug("an owner's lease was not refreshed", extra={"fault": str(fault)})
                pause = 0.1
            if loop.time() - self._good >= self.settings.patience and self._good != float("-inf"):
                self._fence()
            await asyncio.sleep(pause)

    def _fence(self) -> None:
        """Others may believe us gone: nothing is done any more in the partitions' name."""
        self._good = float("-inf")
        if self._running:
            log.warning("the webhook partitions are lost", extra={"partitions": len(self._running)})
            metrics.leases_lost.inc(len(self._running))
        for task in self._running.values():
            task.cancel()

    # Who has what

    async def _watch(self) -> None:
        while True:
            try:
                await self._bucket.watch(self._heard, "hook.*.*", self._told.set, self._renewed)
            except BrokerError as fault:
                log.info("who owns what is not known yet", extra={"fault": str(fault)})
                await asyncio.sleep(0.5)

    def _heard(self, entry: Entry, _ready: bool) -> None:
        _, kind, name = entry.key.split(".")
        if kind == "member":
            if name == self._holder:
                for member in self._members.values():
                    member.missed += 1
            elif entry.value is None:
                self._members.pop(name, None)
                self._news.set()
            else:
                if name not in self._members:
                    self._news.set()
                self._members[name] = _Member(asyncio.get_running_loop().time())
        elif kind == "owner" and name.isdigit():
            owned = _owned(entry.key, entry.value or None)
            holder = owned.holder if owned is not None else ""
            known = self._owners.get(int(name))
            if known is None or known[1] < entry.revision:
                self._owners[int(name)] = (holder, entry.revision)
            self._news.set()

    def _renewed(self) -> None:
        """The bucket was made anew: nobody owns anything in it until it is claimed again."""
        self._owners.clear()
        self._members.clear()
        self.restart()

    def restart(self) -> None:
        """Ends all terms at once and begins others: what they know of the streams is void."""
        for task in self._running.values():
            task.cancel()
        self._news.set()

    def _alive(self) -> list[str]:
        """Who lives. That a key ran out the server says; where we did not hear that, it is believed a little later."""
        oldest = asyncio.get_running_loop().time() - self.settings.ttl - 1.0
        found = {name for name, each in self._members.items() if each.missed < MISSED or each.heard > oldest}
        return sorted(found | {self._holder})

    async def _look(self, grace: float) -> None:
        """Compares what is owned with what should be."""
        if self._good == float("-inf"):
            return
        alive = self._alive()
        place = alive.index(self._holder)
        share = self._count // len(alive) + (1 if place < self._count % len(alive) else 0)
        for partition in [each for each in self._running if self._owners.get(each, ("", 0))[0] != self._holder]:
            # Taken by another, who must have believed us gone.
            log.warning("a webhook partition was taken over", extra={"partition": partition})
            metrics.leases_lost.inc()
            self._running[partition].cancel()
        for partition in sorted(self._running)[share:]:
            if partition in self.terms:
                self._leave(partition, grace)
        free = [
            partition
            for partition in range(self._count)
            if self._is_idle(partition) and self._owners.get(partition, ("", 0))[0] not in alive
        ]
        # With the revision that is seen now: whoever claims one meanwhile keeps it.
        seen = dict(self._owners)
        # Each begins at another place, so that few reach for the same one.
        turn = zlib.crc32(self._holder.encode()) % self._count
        # What a process that died here under our own name would have held is free, too.
        mine = [each for each in range(self._count) if self._owned_idly(each)]
        for partition in mine + sorted(free, key=lambda each: (each - turn) % self._count):
            if len(self._running) >= share or self._closing or self._good == float("-inf"):
                break
            await self._claim(partition, *seen.get(partition, ("", 0)))

    def _is_idle(self, partition: int) -> bool:
        return partition not in self._running and partition not in self._letting_go

    def _owned_idly(self, partition: int) -> bool:
        return self._is_idle(partition) and self._owners.get(partition, ("", 0))[0] == self._holder

    async def _claim(self, partition: int, holder: str, revision: int) -> None:
        key, value = owner_key(partition), msgspec.json.encode(_Owned(self._holder))
        try:
            if revision:
                epoch = await self._bucket.update(key, value, revision)
            else:
                epoch = await self._bucket.create(key, value)
        except Conflict:
            return  # another was quicker, and will be heard of
        except BrokerError as fault:
            log.debug("a webhook partition was not taken", extra={"partition": partition, "fault": str(fault)})
            return
        self._owners[partition] = (self._holder, epoch)
        if self._tasks is not None:
            term = self.terms[partition] = self._begin(partition, epoch, not holder and revision > 0)
            self._running[partition] = self._tasks.create_task(self._serve(partition, term), name=f"hooks {partition}")
            metrics.partitions.set(len(self._running))
            log.info("webhook partition taken", extra={"partition": partition, "epoch": epoch})

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
        metrics.partitions.set(len(self._running))
        self._news.set()

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
            await self._release(partition, term, serving, grace)
        finally:
            self._letting_go.discard(partition)
            self._news.set()

    async def _release(self, partition: int, term: Term, serving: asyncio.Task[None], grace: float) -> None:
        await term.close(grace)
        await asyncio.wait({serving})
        holder, revision = self._owners.get(partition, ("", 0))
        if holder != self._holder:
            return
        try:
            async with asyncio.timeout(1.0):
                epoch = await self._bucket.update(owner_key(partition), msgspec.json.encode(_Owned("")), revision)
            self._owners[partition] = ("", epoch)
        except (BrokerError, TimeoutError):
            log.debug("a webhook partition was not released; it is free once we are gone")
