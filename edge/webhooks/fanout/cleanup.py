"""Removes what deleted webhook sessions have left in the streams and buckets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from edge.sessions.registry import Registry, is_deleted
from edge.webhooks.fanout.marks import MARKS
from edge.webhooks.fanout.members import Members
from edge.webhooks.queue.job import DUE, FRESH, PARKED, SCHEDULED
from router.broker import Broker
from router.errors import BrokerError
from router.nats.bucket import Bucket
from router.topology import HOOKS, RETRIES

log = logging.getLogger(__name__)

# A mark of a deleted session stays a minute, for a process that was away.
_TOMBSTONE_SECONDS = 60.0


class Cleanup:
    """Purges the jobs, retries and marks of deleted sessions, and of those that nobody removed at the time."""

    def __init__(
        self,
        broker: Broker,
        bucket: Bucket,
        registry: Registry,
        members: Members,
        forget: Callable[[str], Awaitable[None]] | None,
        kept: Callable[[], Awaitable[set[str]]] | None,
    ) -> None:
        """`forget` removes what else is kept of a deleted session, and `kept` lists the sessions of which something is."""
        self._broker = broker
        self._bucket = bucket
        self._registry = registry
        self._members = members
        self._forget_more = forget
        self._kept = kept

    async def remove_deleted(self) -> None:
        """Removes what is left of the sessions in `members.gone`. Raises BrokerError."""
        gone = self._members.gone
        for session_id in list(gone):
            await self._remove(session_id)
            gone.discard(session_id)

    async def _remove(self, session_id: str) -> None:
        for stream, subjects in (
            (HOOKS, f"{FRESH}.*.{session_id}"),
            (HOOKS, f"{PARKED}.*.{session_id}.*"),
            (RETRIES, f"{DUE}.*.{session_id}"),
            (RETRIES, f"{SCHEDULED}.{session_id}.*"),
        ):
            await self._broker.stream(stream).purge(subjects)
        if self._forget_more is not None:
            await self._forget_more(session_id)
        await self._bucket.delete(f"{MARKS}.{session_id}", _TOMBSTONE_SECONDS)

    async def run(self, every: float) -> None:
        """Finds sessions that were deleted while nobody owned the role, or whose records were written after that."""
        marks = self._members.marks
        while True:
            try:
                left = set(marks) | await self._queued()
                if self._kept is not None:
                    left |= await self._kept()
            except BrokerError as fault:
                log.debug("the records of deleted webhook sessions cannot be listed", extra={"fault": str(fault)})
                left = set(marks)
            for session_id in left - self._registry.sessions.keys():
                await self._check(session_id)
            await asyncio.sleep(every)

    async def _queued(self) -> set[str]:
        """The sessions that have jobs in the streams, as far as one listing tells; the next one tells of others."""
        found: set[str] = set()
        for stream, subjects in ((HOOKS, "hook.>"), (RETRIES, f"{DUE}.>")):
            listing = await self._broker.stream(stream).page_of_subjects(subjects)
            found.update(subject.split(".")[3] for subject in listing.subjects)
        return found

    async def _check(self, session_id: str) -> None:
        try:
            gone = await is_deleted(self._registry, session_id)
        except BrokerError as fault:
            log.debug("a webhook session cannot be looked up", extra={"session": session_id, "fault": str(fault)})
            return
        if gone:
            self._members.marks.pop(session_id, None)
            self._members.gone.add(session_id)
