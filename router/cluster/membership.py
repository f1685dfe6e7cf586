"""Keeps the key of LEASES that says that this process is alive, and notices when other processes may believe it gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from router.cluster.ownership import ALIVE, member_key
from router.cluster.role import RoleSettings
from router.coalescing import coalesced_sleep
from router.errors import BrokerError
from router.nats.bucket import Bucket

log = logging.getLogger(__name__)

# Between two attempts to refresh the key, once one has failed, in seconds.
RETRY_SECONDS = 0.1
# The marker of a released key stays so long, for watchers that were away.
MARKER_SECONDS = 60.0
RELEASE_TIMEOUT = 1.0


class Membership:
    """The membership lease of one process."""

    def __init__(
        self,
        bucket: Bucket,
        holder: str,
        settings: RoleSettings,
        gained: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        """`gained` and `lost` are called when the lease is first stored, and when it was not refreshed for too long."""
        self._bucket = bucket
        self._key = member_key(holder)
        self._settings = settings
        self._gained = gained
        self._lost = lost
        # When the last refresh that was answered was sent; None while there is no lease.
        self._refreshed: float | None = None

    @property
    def held(self) -> bool:
        """Whether no other process can believe this one gone."""
        return self._refreshed is not None

    async def run(self) -> None:
        """Refreshes the lease until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            sent = loop.time()
            try:
                async with asyncio.timeout(self._left(sent)):
                    await self._bucket.put(self._key, ALIVE, self._settings.ttl)
                is_new, self._refreshed = self._refreshed is None, sent
                if is_new:
                    self._gained()
                pause = self._settings.refresh
            except (BrokerError, TimeoutError) as fault:
                log.debug("membership lease was not refreshed; retrying", extra={"fault": str(fault)})
                pause = RETRY_SECONDS
            if self._refreshed is not None and loop.time() - self._refreshed >= self._settings.refresh_timeout:
                self._refreshed = None
                self._lost()
            # Every member hears of every refresh, and wakes then anyhow.
            await coalesced_sleep(pause)

    async def release(self) -> None:
        """Deletes the key, once `run` has ended; where that fails it expires by its TTL."""
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT):
                await self._bucket.delete(self._key, MARKER_SECONDS)
        except (BrokerError, TimeoutError):
            log.debug("membership lease was not released; it expires by its TTL")

    def _left(self, now: float) -> float:
        timeout = self._settings.refresh_timeout
        left = self._refreshed + timeout - now if self._refreshed is not None else timeout
        return left if left > 0 else timeout
