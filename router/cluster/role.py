"""Leader election: of many processes one is the leader of a role, by a lease in LEASES that it refreshes and releases.

The lease is a key with a TTL, written under compare-and-set. A leader that cannot refresh it steps down before its TTL is
over, so that there are never two.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from router.cluster.departures import Departures
from router.coalescing import coalesced_sleep, until_multiple
from router.errors import BrokerError, Conflict
from router.nats.bucket import Bucket
from router.tasks import run_cancellable

log = logging.getLogger(__name__)


class LeadershipLost(Exception):
    """this process is no longer the leader"""


class WorkRestart(Exception):
    """the leader's work ends, to begin anew"""


@dataclass(frozen=True)
class RoleSettings:
    """How fast a role gets a new leader: after `ttl` and one `poll`, in seconds, where the last one died.

    Who is told of departures looks only every `poll_seldom` while nothing has ended: so late is a role taken over that its
    leader has lost or released without ending.

    A leader that cannot refresh its lease steps down before another can be elected. With `steps_down=False` it goes on
    until it learns of a successor, which suits work that no other process can do while NATS is away.
    """

    ttl: float = 4.0
    poll: float = 0.5
    poll_seldom: float = 5.0
    steps_down: bool = True

    @property
    def refresh(self) -> float:
        # At least three tries within a ttl, of which two may be lost; and where that is enough, each second, when a process wakes anyhow.
        return min(self.ttl / 3, 1.0)

    @property
    def refresh_timeout(self) -> float:
        """How long a leader that cannot refresh its lease stays leader; shorter than the TTL."""
        return self.ttl * 0.8 if self.steps_down else math.inf


class Role:
    """One role, for which every process that runs this stands for election."""

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        holder: str,
        settings: RoleSettings | None = None,
        dead: Callable[[str], bool] = lambda _holder: False,
        departures: Departures | None = None,
    ) -> None:
        """`dead(holder)` may know that a holder has died, whose lease is then not waited for.

        With `departures` the lease is looked at often only when a process has ended, which may have been the leader.
        """
        self.is_leader = False
        # The leader, as far as is known while waiting.
        self.owner = ""
        self._dead = dead
        self.settings = settings or RoleSettings()
        self._bucket = bucket
        self._key = key
        self._holder = holder.encode()
        self._revision = 0
        # Until when the lease is looked at often (monotonic time of the loop), and what ends a long wait.
        self._often_until = math.inf if departures is None else 0.0
        self._departed = asyncio.Event()
        if departures is not None:
            departures.on_departure(self._departed.set)

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Waits to be elected, works while it is the leader, and stands again where it lost the role; until cancelled.

        Work that NATS interrupts (a BrokerError) starts again as well; every other exception is raised.
        """
        while True:
            try:
                if await self.term(work):
                    log.info("leader's work has ended; standing for election again", extra={"role": self._key})
                else:
                    log.warning("leadership lost; standing for election again", extra={"role": self._key})
            except* BrokerError as interrupted:
                fault = "; ".join(str(each) for each in interrupted.exceptions)
                log.warning(
                    "NATS interrupted the leader's work; starting it again", extra={"role": self._key, "fault": fault}
                )
            await asyncio.sleep(self.settings.poll)

    async def term(self, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Waits to be elected and works until the work is done or the role is lost; returns whether it is done.

        Work is done, too, where it raises WorkRestart.
        """
        await self._acquire()
        log.info("elected leader", extra={"role": self._key})
        try:
            return await self._work(work)
        finally:
            self.is_leader = False
            await self._release()

    async def _acquire(self) -> None:
        self._look_often()
        while True:
            try:
                entry = await self._bucket.get(self._key)
                if entry is None:
                    self._revision = await self._bucket.create(self._key, self._holder, self.settings.ttl)
                    return
                owner = (entry.value or b"").decode(errors="replace")
                # Released, and its marker has not expired; or its holder has died.
                if not owner or self._dead(owner):
                    self._revision = await self._bucket.update(
                        self._key, self._holder, entry.revision, self.settings.ttl
                    )
                    return
                if owner != self.owner:
                    self.owner = owner
                    log.info("another process is leader; waiting", extra={"role": self._key, "owner": owner})
            except Conflict:
                pass  # another process was elected
            except BrokerError as fault:
                log.debug(
                    "leader election could not be tried; retrying", extra={"role": self._key, "fault": str(fault)}
                )
                # Who led may have lost its lease meanwhile.
                self._look_often()
            await self._pause()

    def _look_often(self) -> None:
        """Looks often for as long as it may take a leader that has ended to lose its lease."""
        self._departed.clear()
        self._often_until = max(self._often_until, asyncio.get_running_loop().time() + 2 * self.settings.ttl)

    async def _pause(self) -> None:
        if asyncio.get_running_loop().time() < self._often_until:
            await coalesced_sleep(self.settings.poll)
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until_multiple(self.settings.poll_seldom)):
                    await self._departed.wait()
        if self._departed.is_set():
            self._look_often()

    async def _work(self, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        self.is_leader = True
        done = False
        try:
            await run_cancellable(work(), name=self._key, companion=self._refresh())
            done = True
        except* WorkRestart:
            done = True
        except* LeadershipLost:
            done = False
        return done

    async def _refresh(self) -> None:
        """Keeps the lease. Raises LeadershipLost where another process has it, or NATS has not answered for too long."""
        loop = asyncio.get_running_loop()
        good = loop.time()
        while True:
            if loop.time() - good < self.settings.refresh:
                await coalesced_sleep(self.settings.refresh)
            else:
                await asyncio.sleep(0.2)
            asked = loop.time()
            try:
                timeout = min(good + self.settings.refresh_timeout - asked, self.settings.ttl)
                async with asyncio.timeout(max(0.05, timeout)):
                    self._revision = await self._bucket.update(
                        self._key, self._holder, self._revision, self.settings.ttl
                    )
                good = asked
            except Conflict:
                # A refresh whose answer was lost has moved the revision on; only another holder's name means that the lease is lost.
                if not await self._still_ours():
                    raise LeadershipLost from None
            except (BrokerError, TimeoutError):
                if loop.time() - good >= self.settings.refresh_timeout:
                    raise LeadershipLost from None

    async def _still_ours(self) -> bool:
        try:
            entry = await self._bucket.get(self._key)
            if entry is None and not self.settings.steps_down:
                # It ran out while NATS was away, and nobody has taken it since.
                self._revision = await self._bucket.create(self._key, self._holder, self.settings.ttl)
                return True
        except Conflict:
            return False
        except BrokerError:
            return True  # the next refresh decides
        if entry is None or entry.value != self._holder:
            return False
        self._revision = entry.revision
        return True

    async def _release(self) -> None:
        """Releases the lease, so that the next leader is elected at once; where that fails, the TTL ends it a little later."""
        try:
            async with asyncio.timeout(1.0):
                # Written, not deleted, because only a write can be made to depend on the lease still being ours.
                try:
                    await self._bucket.update(self._key, b"", self._revision, 1.0)
                except Conflict:
                    # A refresh that was cancelled before its answer came has moved the revision on.
                    entry = await self._bucket.get(self._key)
                    if entry is not None and entry.value == self._holder:
                        await self._bucket.update(self._key, b"", entry.revision, 1.0)
        except (BrokerError, TimeoutError):
            log.debug("leadership was not released; its lease expires by its TTL", extra={"role": self._key})
