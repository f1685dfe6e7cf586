"""Leader election: one process among many owns a role, by a lease that it refreshes, and releases when it goes."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from router.errors import BrokerError, Conflict
from router.nats.bucket import Bucket
from router.tasks import run_cancellable

log = logging.getLogger(__name__)


class Lost(Exception):
    """the role is no longer ours"""


@dataclass(frozen=True)
class RoleSettings:
    """How fast a role changes hands. A dead owner's successor begins after `ttl` and one `poll`, in seconds.

    An owner that cannot refresh stops before anybody could take over; one that is not `wary` goes on until it is told of a
    successor, which suits work that nobody else can do while NATS is away.
    """

    ttl: float = 4.0
    poll: float = 0.5
    wary: bool = True

    @property
    def refresh(self) -> float:
        # Three tries within a ttl: two may be lost.
        return self.ttl / 3

    @property
    def patience(self) -> float:
        """How long an owner that cannot refresh may still believe itself one; shorter than anybody could take over."""
        return self.ttl * 0.8 if self.wary else math.inf


class Role:
    """One role, contended for by every process that runs this."""

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        holder: str,
        settings: RoleSettings | None = None,
        dead: Callable[[str], bool] = lambda _holder: False,
    ) -> None:
        """`dead` may know of a holder that it is no more; it is then not waited for."""
        self.holds = False
        # Who has the role, as far as is known while waiting for it.
        self.owner = ""
        self._dead = dead
        self.settings = settings or RoleSettings()
        self._bucket = bucket
        self._key = key
        self._holder = holder.encode()
        self._revision = 0

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Waits for the role, works while it holds it, and begins again where it lost it; until cancelled.

        Work that NATS interrupts (a BrokerError) begins again as well; every other exception is raised.
        """
        while True:
            try:
                await self.term(work)
                log.warning("role lost", extra={"role": self._key})
            except* BrokerError as interrupted:
                fault = "; ".join(str(each) for each in interrupted.exceptions)
                log.warning(
                    "NATS interrupted the work of a role, it begins again", extra={"role": self._key, "fault": fault}
                )
            await asyncio.sleep(self.settings.poll)

    async def term(self, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Waits for the role and works until the work is done or the role is lost; says whether it is done."""
        await self._acquire()
        log.info("role taken", extra={"role": self._key})
        try:
            return await self._work(work)
        finally:
            self.holds = False
            await self._release()

    async def _acquire(self) -> None:
        while True:
            try:
                entry = await self._bucket.get(self._key)
                if entry is None:
                    self._revision = await self._bucket.create(self._key, self._holder, self.settings.ttl)
                    return
                owner = (entry.value or b"").decode(errors="replace")
                # Released, and its mark not yet run out; or of one that will never release it.
                if not owner or self._dead(owner):
                    self._revision = await self._bucket.update(
                        self._key, self._holder, entry.revision, self.settings.ttl
                    )
                    return
                if owner != self.owner:
                    self.owner = owner
                    log.info("a role is waited for", extra={"role": self._key, "owner": owner})
            except Conflict:
                pass  # another was quicker
            except BrokerError as fault:
                log.debug("a role could not be asked for", extra={"role": self._key, "fault": str(fault)})
            await asyncio.sleep(self.settings.poll * random.uniform(0.5, 1.0))

    async def _work(self, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        self.holds = True
        done = False
        try:
            await run_cancellable(work(), name=self._key, companion=self._refresh())
            done = True
        except* Lost:
            pass
        return done

    async def _refresh(self) -> None:
        """Keeps the lease; raises Lost where another has it, or nobody could be asked for too long."""
        loop = asyncio.get_running_loop()
        good = loop.time()
        while True:
            await asyncio.sleep(self.settings.refresh if loop.time() - good < self.settings.refresh else 0.2)
            asked = loop.time()
            try:
                patience = min(good + self.settings.patience - asked, self.settings.ttl)
                async with asyncio.timeout(max(0.05, patience)):
                    self._revision = await self._bucket.update(
                        self._key, self._holder, self._revision, self.settings.ttl
                    )
                good = asked
            except Conflict:
                # A refresh whose answer was lost has moved the revision on; only another's name means it is gone.
                if not await self._still_ours():
                    raise Lost from None
            except (BrokerError, TimeoutError):
                if loop.time() - good >= self.settings.patience:
                    raise Lost from None

    async def _still_ours(self) -> bool:
        try:
            entry = await self._bucket.get(self._key)
            if entry is None and not self.settings.wary:
                # It ran out while NATS was away, and nobody has taken it since.
                self._revision = await self._bucket.create(self._key, self._holder, self.settings.ttl)
                return True
        except Conflict:
            return False
        except BrokerError:
            return True  # the next refresh tells
        if entry is None or entry.value != self._holder:
            return False
        self._revision = entry.revision
        return True

    async def _release(self) -> None:
        """Lets the next one have it at once; where that fails, the ttl does the same a little later."""
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
            log.debug("a role was not released", extra={"role": self._key})
