"""Ends runs whose producer is gone, and publishes ends whose finisher is, through the ledger of runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from actors.agent.leases import Lease, LeaseWatch
from actors.agent.metrics import SETTLED, VANISHED
from actors.agent.producers import Producers
from actors.agent.record import RunRecord
from actors.agent.runs import Runs
from router.codec import encode
from router.dedup import dedup_id
from router.errors import BrokerError, RunConflict, RunEnded
from router.event import Event
from router.run_entry import GONE
from router.runs import RunEntry

log = logging.getLogger(__name__)

# How long an end that is claimed waits for its finisher to publish it. Two that do are no harm, only a request more.
SETTLE_AFTER_SECONDS = 3.0
# So many runs are ended side by side; a program with 10,000 runs that dies is done within seconds.
SIDE_BY_SIDE = 100


class RunEnds:
    """The leases of producers, the claims of finishers, and what becomes of runs that lose theirs. Times on the actor's clock."""

    def __init__(
        self, producers: Producers, known: Runs, source: str, clock: Callable[[], float] = lambda: 0.0
    ) -> None:
        """`clock` gives the time at which something is heard."""
        self._clock = clock
        self.leases = LeaseWatch()
        self._producers = producers
        self._ledger = producers.ledger
        self._known = known
        self._source = source
        self._claims: dict[str, float] = {}

    async def watch_leases(self, beat: Callable[[], None]) -> None:
        """Follows the leases of producers, until cancelled."""
        await self._producers.watch_leases(lambda key, lease: self.leases.saw(key, lease, self._clock()))

    async def watch_entries(self, beat: Callable[[], None]) -> None:
        """Follows the entries of runs, until cancelled."""
        await self._producers.watch_entries(lambda key, entry: self.heard_entry(key, entry, self._clock()))

    def newly_leased(self) -> list[RunRecord]:
        """Marks the open runs whose lease was seen for the first time, and returns them."""
        found = [
            record
            for record in self._known.open()
            if not record.leased and self.leases.of(record.key, record.incarnation) is not None
        ]
        for record in found:
            record.leased = True
        return found

    def heard_entry(self, key: str, entry: RunEntry | None, now: float) -> None:
        """Notes what the ledger says of a run: an end that is to be published, a lease that is to come."""
        if entry is not None and entry.ended is not None and not entry.ended.stored:
            self._claims.setdefault(key, now)
            return
        self._claims.pop(key, None)
        if entry is not None:
            self._expect(key, entry, now)

    async def began(self, record: RunRecord, event: Event, now: float) -> None:
        """Sees that the ledger knows a life that has begun, also where its producer does not use it."""
        assert record.incarnation is not None
        try:
            entry = await self._ledger.read(record.domain, record.token)
            if entry is None or (entry.incarnation != record.incarnation and not entry.was(record.incarnation)):
                resumed = event.data.get("resumed") is True
                entry = await self._ledger.begin(
                    record.domain, record.token, record.incarnation, resumed=resumed, started=event.time
                )
        except (BrokerError, RunConflict) as fault:
            log.debug("begin of a run was not noted", extra={"run": record.key, "fault": str(fault)})
            return
        if entry.incarnation == record.incarnation:
            self._expect(record.key, entry, now)

    async def over(self, record: RunRecord, event: Event) -> None:
        """Sees that the ledger knows the end of a life, also where its producer does not use it."""
        self.leases.forget(record.key)
        try:
            await self._ledger.note_end(event, record.status, record.incarnation)
        except BrokerError as fault:
            log.debug("end of a run was not noted", extra={"run": record.key, "fault": str(fault)})

    async def check(self, now: float) -> None:
        """Fails the runs whose producer is gone, and publishes what was claimed and not published."""
        if not await self._producers.reachable():
            self.leases.forgive(now)
            return
        lost = self.leases.take_lost(now)
        for at in range(0, len(lost), SIDE_BY_SIDE):
            await asyncio.gather(*(self._missed(key, lease, now) for key, lease in lost[at : at + SIDE_BY_SIDE]))
        due = [key for key, since in self._claims.items() if now - since >= SETTLE_AFTER_SECONDS]
        for at in range(0, len(due), SIDE_BY_SIDE):
            await asyncio.gather(*(self._settle(key, now) for key in due[at : at + SIDE_BY_SIDE]))

    async def fail(self, record: RunRecord, error: str) -> None:
        """Ends a run in its producer's stead; its own end, or another life, goes before. Raises BrokerError.

        The event is received as any other is, and changes the state then.
        """
        life = record.incarnation
        data = {"success": False, "error": error, "synthesized": True, **({"incarnation": life} if life else {})}
        # The same after a restart, so that a repeat is known as one.
        name = f"lost-{dedup_id('lost', record.key, life, record.started // 1000)}"
        event = Event.new(f"{record.key}.completion", data, source=self._source, id=name)
        try:
            ack = await self._ledger.end(event, encode(event), incarnation=life, synthesized=True)
        except RunConflict as fault:
            log.debug("run is not failed", extra={"run": record.key, "fault": str(fault)})
            return
        if not ack.duplicate:
            VANISHED.inc()
            log.warning("producer of the run is gone; run ended as failed", extra={"run": record.key, "error": error})

    async def stop_by_heartbeat(self, record: RunRecord, reason: str | None) -> bool:
        """Stores that a run is to stop; False where it is over. Raises BrokerError."""
        try:
            await self._ledger.request_stop(record.domain, record.token, reason)
        except RunEnded:
            return False
        return True

    def _expect(self, key: str, entry: RunEntry, now: float) -> None:
        if entry.lease is not None and entry.ended is None:
            self.leases.expect(key, Lease(entry.lease, entry.incarnation), now)

    async def _missed(self, key: str, lease: Lease, now: float) -> None:
        """Takes a lease that ran out: of the living life, the run is failed; of one before, nothing follows."""
        try:
            record = self._known.get(key) or await self._unheard(key)
            if record is None or record.over:
                return
            if None not in (lease.incarnation, record.incarnation) and lease.incarnation != record.incarnation:
                return
            if self.leases.of(key, record.incarnation) is not None:
                return
            # The watch may have been deaf.
            held = await self._producers.lease(key)
            if held is not None and (held.incarnation is None or held.incarnation == record.incarnation):
                self.leases.saw(key, held, now)
                return
            await self.fail(record, GONE)
        except BrokerError as fault:
            log.debug("lost run could not be failed; retrying", extra={"run": key, "fault": str(fault)})
            self.leases.expect(key, lease, now)

    async def _unheard(self, key: str) -> RunRecord | None:
        """The run as the ledger knows it, of which this actor has received nothing: it was begun before the actor first ran."""
        domain, _, token = key.partition(".")
        entry = await self._ledger.read(domain, token)
        if entry is None or entry.ended is not None:
            return None
        return RunRecord(domain, token, entry.started, entry.started, incarnation=entry.incarnation)

    async def _settle(self, key: str, now: float) -> None:
        domain, _, token = key.partition(".")
        try:
            if await self._ledger.settle(domain, token):
                SETTLED.inc()
                log.warning("end of the run was claimed and not published; it is published now", extra={"run": key})
        except BrokerError as fault:
            log.debug("claimed end could not be published; retrying", extra={"run": key, "fault": str(fault)})
            self._claims[key] = now
            return
        self._claims.pop(key, None)
