"""Works one recovery: finds the deliveries that it is about, and puts each among the jobs once more at its rate."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from edge.errors import Problem
from edge.jobs import JobFailed, JobRun, Jobs
from edge.webhooks.history.attempt import Attempt, Part
from edge.webhooks.history.attempts import Attempts
from edge.webhooks.history.recovery_job import Recovery, RecoverySettings
from edge.webhooks.history.redelivery import Redelivery
from router.errors import BadEvent, Refused
from router.event_place import place_in
from router.nats.refusals import has_no_room
from router.rates import EvenPace
from router.record import Record

# Deliveries that one recovery may be about: their ids are held in the memory of the process that works it.
MAX_DELIVERIES = 200_000


class RecoveryRun(JobRun[Recovery]):
    """The work on one recovery."""

    loop = "recovery"

    def __init__(
        self,
        redelivery: Redelivery,
        attempts: Attempts,
        settings: RecoverySettings,
        jobs: Jobs[Recovery, Any],
        recovery: Recovery,
        revision: int,
    ) -> None:
        super().__init__(jobs, recovery, revision)
        self._redelivery = redelivery
        self._attempts = attempts
        self._settings = settings
        self._unnoted = 0
        self._pace = EvenPace(recovery.rate, asyncio.get_running_loop().time())
        # The dead letters of the deliveries that it is about.
        self._letters: Mapping[int, tuple[int, ...]] = {}

    async def run(self) -> None:
        """Redelivers all that it is about. Raises Cancelled, JobFailed or BrokerError."""
        try:
            await (self._recover() if self.job.kind == "recover" else self._replay())
        except Problem:
            raise JobFailed("the session was deleted") from None

    async def _recover(self) -> None:
        recovery = self.job
        failed = await self._failed()
        if recovery.total is None:
            recovery.total = len(failed)
            await self.note()
        since = datetime.fromisoformat(recovery.since).timestamp() if recovery.since else 0.0
        await self._find_letters({part.sequence for part in failed}, since)
        for part in failed:
            if part.sequence <= recovery.after:
                continue  # before a crash
            # Looked up again for each: a session that is deleted meanwhile ends this.
            session = await self.retry(self._redelivery.registry.find, recovery.session)
            record = await self.retry(self._redelivery.record, part, session)
            if record is None:
                recovery.skipped += 1
            else:
                await self._redeliver(record)
            await self._reached(part.sequence)

    async def _failed(self) -> list[Part]:
        """The deliveries that failed for good within the span, each once, in the order of their events."""
        recovery = self.job
        failed: dict[str, Part] = {}

        def add(attempt: Attempt) -> None:
            # A delivery that succeeded at last is not missing; one that is retried needs no help.
            for delivery, part in attempt.deliveries.items():
                if attempt.ok or attempt.next:
                    failed.pop(delivery, None)
                else:
                    failed[delivery] = part
            if len(failed) > MAX_DELIVERIES:
                raise JobFailed(f"more than {MAX_DELIVERIES} deliveries failed in this time; take less of it")

        async def scan() -> None:
            failed.clear()
            await self._attempts.scan(recovery.session, recovery.first, recovery.last, add)

        await self.retry(scan)
        return sorted(failed.values(), key=lambda part: part.sequence)

    async def _replay(self) -> None:
        recovery = self.job
        await self._find_letters(range(recovery.after + 1, recovery.last + 1), 0.0)
        for low, high in recovery.ranges:
            recovery.after = max(recovery.after, low)
            while recovery.after < high:
                # Looked up again for each page: a change of the session counts from now on.
                session = await self.retry(self._redelivery.registry.find, recovery.session)
                records, reached = await self.retry(self._redelivery.stretch, session, recovery.after, high)
                for record in records:
                    await self._redeliver(record)
                    await self._reached(place_in(record.shard, record.sequence))
                recovery.after = max(recovery.after, reached)
        recovery.total = recovery.sent

    async def _find_letters(self, wanted: Collection[int], since: float) -> None:
        self._letters = await self.retry(self._redelivery.sent_again.find, self.job.session, wanted, since)

    async def _redeliver(self, record: Record) -> None:
        """Redelivers one event, at the rate that is allowed, and as soon as there is room."""
        recovery = self.job
        loop = asyncio.get_running_loop()
        await self.pause(self._pace.wait(loop.time()))
        self._pace.take(loop.time())
        while not await self._redelivery.room.taken(recovery.session, len(record.payload)):
            await self.pause()
        while True:
            try:
                await self.retry(
                    self._redelivery.enqueue,
                    recovery.session,
                    record,
                    f"{recovery.kind}.{recovery.id}",
                    self._letters.get(place_in(record.shard, record.sequence), ()),
                )
                recovery.sent += 1
                return
            except BadEvent:
                recovery.skipped += 1
                return
            except Refused as refusal:
                if not has_no_room(refusal):
                    raise
                await self.pause()
            finally:
                self._redelivery.room.settled(recovery.session)

    async def _reached(self, sequence: int) -> None:
        self.job.after = sequence
        self._unnoted += 1
        waited = asyncio.get_running_loop().time() - self.noted
        if self._unnoted >= self._settings.chunk or waited >= self._settings.note_every:
            self._unnoted = 0
            await self.note()
