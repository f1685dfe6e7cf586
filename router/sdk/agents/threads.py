"""Gives a thread to one run at a time, among all processes that serve agents: by the run's entry in RUNS and its lease.

The entry is changed under compare-and-set, so that of two starts one has it. A thread whose run goes on is refused. A run whose
process is gone is failed here, by its lease, so that the thread is free as soon as that has run out; the agent actor does the
same a little later, and one end of both is stored.
"""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import datetime

from router.broker import Broker
from router.clock import wall
from router.codec import encode
from router.errors import BrokerError, RunBusy, RunConflict
from router.event import Event
from router.nats.bucket import Bucket
from router.run_entry import GONE, RunEntry
from router.runs import RunLedger
from router.topology import LEASES

log = logging.getLogger(__name__)

# 5 s: as the agent actor waits for a producer that was only cut off, or NATS itself away (actors/agent/leases.py).
GRACE_SECONDS = 5.0
# 6 s of the 8 in which a start is answered: for a run that was asked to stop, and mostly ends at once. Who stops an answer and writes
# the next message is not to be told that the thread is busy.
STOPPING_SECONDS = 6.0
# 0.4 s: for one of which that is not known yet, since it has just been asked.
BUSY_SECONDS = 0.4
# What the note of a stop may take; it says no more than what is known soon.
NOTE_SECONDS = 2.0
# Between two looks.
MIN_PAUSE, MAX_PAUSE = 0.05, 0.15


class ThreadOwners:
    """Takes threads, and every other run that agents are given."""

    def __init__(self, broker: Broker) -> None:
        self._ledger = RunLedger(broker)
        self._leases = Bucket(broker.connection, LEASES)

    async def take(
        self, domain: str, token: str, incarnation: str, ttl: float, source: str, *, patient: bool = True
    ) -> None:
        """Makes an incarnation the living one; a patient caller waits a little for the end of a run that was asked to stop.

        Raises RunBusy where a run of the thread goes on, RunSuperseded where there was one of this incarnation, and BrokerError.
        """
        clock = asyncio.get_running_loop().time
        begun = clock()
        while True:
            try:
                await self._ledger.take(domain, token, incarnation, lease=ttl)
                return
            except RunBusy as busy:
                entry = await self._ledger.read(domain, token)
                if entry is not None and entry.ended is None and entry.incarnation == busy.incarnation:
                    if await self._is_gone(f"run.{domain}.{token}", entry):
                        await self._fail(domain, token, entry, source)
                    elif busy.incarnation == incarnation:
                        raise
                patience = STOPPING_SECONDS if entry is not None and entry.stop is not None else BUSY_SECONDS
                if not patient or clock() - begun > patience:
                    raise
            await asyncio.sleep(random.uniform(MIN_PAUSE, MAX_PAUSE))

    async def stopping(self, domain: str, token: str, incarnation: str, reason: str | None) -> None:
        """Notes that this life was asked to stop, so that the next one waits for its end."""
        try:
            await self._ledger.request_stop(domain, token, reason, incarnation=incarnation, timeout=NOTE_SECONDS)
        except (RunConflict, BrokerError) as fault:
            log.debug("stop of a run was not noted", extra={"run": f"{domain}.{token}", "fault": str(fault)})

    async def _is_gone(self, key: str, entry: RunEntry) -> bool:
        """Whether nobody holds the lease of the living run, for longer than a holder may need to take or refresh it."""
        now = wall.now_ns() / 1e9
        if now - entry.started / 1e9 < (entry.lease or 0.0) + GRACE_SECONDS:
            return False
        held = await self._leases.latest(key)
        if held is None:
            return True
        # What the server left when the lease ran out says when that was.
        return held.value is None and now - _seconds(held.stored) > GRACE_SECONDS

    async def _fail(self, domain: str, token: str, entry: RunEntry, source: str) -> None:
        """Ends the run of a process that is gone, as the agent actor would."""
        life = entry.incarnation
        data = {"success": False, "error": GONE, "synthesized": True, "incarnation": life}
        event = Event.new(f"{domain}.{token}.completion", data, source=source)
        try:
            await self._ledger.end(event, encode(event), incarnation=life, synthesized=True)
        except RunConflict as fault:
            log.debug("run was ended by others", extra={"run": f"{domain}.{token}", "fault": str(fault)})
            return
        log.warning("process of a run is gone; run ended as failed", extra={"run": f"{domain}.{token}"})


def _seconds(moment: str) -> float:
    """A time in RFC 3339 as seconds since the epoch; now where there is none."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return wall.now_ns() / 1e9
