"""Compacts the buckets that earlier versions left full of delete markers, and deletes the streams of events that a reshard has sealed
once their events are too old: at start and daily, by one process (leader election)."""

from __future__ import annotations

import asyncio
import logging
import secrets

from edge.sessions.registry import Registry
from router.broker import Broker
from router.cluster.role import Role
from router.compaction import compact
from router.errors import BrokerError
from router.nats.bucket import Bucket
from router.reshard import drop_old
from router.topology import ENDPOINTS, JOBS, LEASES, SESSIONS

log = logging.getLogger(__name__)

ROLE = "role.compaction"
# Marks it as done for a day: an edge of an earlier version may still have run beside this one.
DONE = "compaction.done"
DAY_SECONDS = 86400.0
BUCKETS = (SESSIONS, LEASES, JOBS, ENDPOINTS)


class Compaction:
    """Compacts the buckets while this process holds the role."""

    def __init__(self, broker: Broker, registry: Registry) -> None:
        self._broker = broker
        self._connection = connection = broker.connection
        self._registry = registry
        self._leases = Bucket(connection, LEASES)
        self._role = Role(self._leases, ROLE, secrets.token_hex(8))

    async def run(self) -> None:
        """Compacts until cancelled."""
        await self._registry.ready.wait()
        while True:
            try:
                if await self._leases.get(DONE) is None:
                    await self._role.term(self._compact)
                pause = DAY_SECONDS
            except* BrokerError as faults:
                # A group where the work itself failed, a plain error where the role could not be acquired.
                log.warning(
                    "buckets could not be compacted; trying again in a minute",
                    extra={"fault": str(faults.exceptions[0])},
                )
                pause = 60.0
            await asyncio.sleep(pause)

    async def _compact(self) -> None:
        # Checked again: the previous holder of the role may have done the work.
        if await self._leases.get(DONE) is not None:
            return
        for name in BUCKETS:
            purged = await compact(self._connection, name, self._is_orphan)
            if purged:
                log.info("bucket compacted", extra={"bucket": name, "purged": purged})
        # Where others make the streams, `callboard streams apply` deletes them too.
        if self._broker.topology.apply_streams:
            await drop_old(self._broker)
        await self._leases.put(DONE, b"1", DAY_SECONDS)

    def _is_orphan(self, key: str) -> bool:
        """Whether a key is the `seen` mark of a session that no longer exists."""
        kind, _, session_id = key.partition(".")
        return kind == "seen" and session_id not in self._registry.sessions
