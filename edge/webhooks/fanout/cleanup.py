"""Removes what deleted webhook sessions have left in the streams and buckets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from edge.sessions.registry import Registry, is_deleted
from edge.webhooks.fanout.marks import MARKS, MARKS_OF, POSITION, marks_key
from edge.webhooks.fanout.members import Members
from edge.webhooks.queue.job import DUE, FRESH, PARKED, SCHEDULED
from router.broker import Broker
from router.errors import BrokerError
from router.layout import ORIGINAL, Shard
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
        shards: Callable[[], Sequence[tuple[Shard, Members]]],
        forget: Callable[[str], Awaitable[None]] | None,
        kept: Callable[[], Awaitable[set[str]]] | None,
    ) -> None:
        """`shards` lists those that are fanned out.

        `forget` removes what else is kept of a deleted session, and `kept` lists the sessions of which something is."""
        self._broker = broker
        self._bucket = bucket
        self._registry = registry
        self._shards = shards
        self._forget_more = forget
        self._kept = kept

    async def remove_deleted(self) -> None:
        """Removes what is left of the sessions in `Members.gone`. Raises BrokerError."""
        shards = self._shards()
        for session_id in {session_id for _, members in shards for session_id in members.gone}:
            await self._remove(session_id)
            for _, members in shards:
                members.gone.discard(session_id)

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
        for shard, _ in self._shards():
            await self._bucket.delete(f"{marks_key(shard)}.{session_id}", _TOMBSTONE_SECONDS)

    async def run(self, every: float) -> None:
        """Finds sessions that were deleted while nobody owned the role, or whose records were written after that."""
        while True:
            marked = {session_id for _, members in self._shards() for session_id in members.marks}
            try:
                left = marked | await self._queued()
                if self._kept is not None:
                    left |= await self._kept()
                await self._forget_former()
            except BrokerError as fault:
                log.debug("the records of deleted webhook sessions cannot be listed", extra={"fault": str(fault)})
                left = marked
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

    async def _forget_former(self) -> None:
        """Removes the positions and marks of streams that were deleted, since all in them was too old."""
        streams = self._broker.layout.by_stream
        if ORIGINAL.stream in streams and len(streams) == 1:
            return
        for pattern in (f"{MARKS_OF}.>", f"{POSITION}.>"):
            for key in await self._bucket.names(pattern):
                if key.split(".")[2] not in streams:
                    await self._bucket.delete(key, _TOMBSTONE_SECONDS)
        if ORIGINAL.stream not in streams:
            for key in await self._bucket.names(f"{MARKS}.*"):
                await self._bucket.delete(key, _TOMBSTONE_SECONDS)

    async def _check(self, session_id: str) -> None:
        try:
            gone = await is_deleted(self._registry, session_id)
        except BrokerError as fault:
            log.debug("a webhook session cannot be looked up", extra={"session": session_id, "fault": str(fault)})
            return
        if gone:
            for _, members in self._shards():
                members.marks.pop(session_id, None)
                members.gone.add(session_id)
