"""Session expiry: deletes sessions that have had no reader for longer than their TTL, and webhooks that have had no post.

A process that serves a reader of a session writes the time to `seen.<session>` in the sessions' bucket now and then; any
process may delete an expired session, because deletion is idempotent. The key is removed with its session, and has a TTL in
case another process writes it at the moment of the deletion.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from edge import metrics
from edge.errors import Problem
from edge.sessions.cluster_stats import ClusterStats
from edge.sessions.registry import Registry, Session
from edge.sessions.spec import UNSTORED
from router.clock import wall
from router.coalescing import coalesced_sleep
from router.errors import BrokerError
from router.nats.bucket import Bucket, Entry

log = logging.getLogger("callback_manager")


class Posted(NamedTuple):
    """When a webhook session was posted last (seconds since 1970), and whether anything waits to be posted."""

    last: float
    waits: bool


LookUp = Callable[[Session, float], Awaitable[Posted]]

# At most a quarter of the TTL, by which an expiry comes later; every process hears of each mark.
MAX_SECONDS_BETWEEN_MARKS = 300.0
# A session is looked at so often between two marks, and not oftener than each round: what nobody reads costs next to nothing.
LOOKS_BETWEEN_MARKS = 4
ROUND_SECONDS = 1.0
ROUNDS_BETWEEN_SWEEPS = 60
# A `seen` key outlives its session's TTL, and is kept for a week at least: raising the TTL of a session that was read this
# week does not lose it.
MIN_SECONDS_SEEN = 7 * 86400.0
# A day: so much longer a webhook stays where posts wait, as those of an endpoint that is away.
MAX_WAITING_SECONDS = 86400.0
# What waits for a webhook is looked up in the streams; so often, for each whose time is over.
MIN_SECONDS_BETWEEN_LOOKS = 5.0


class SessionExpiry:
    """Marks the sessions that are read here, and deletes the expired ones."""

    def __init__(
        self, bucket: Bucket, registry: Registry, cluster_stats: ClusterStats, idle: float, posted: LookUp
    ) -> None:
        """`idle` is the TTL in seconds of sessions without one of their own; 0: they do not expire. `posted` looks up when
        a webhook session was posted last, and whether anything waits that was there at a given time."""
        self._bucket = bucket
        self._registry = registry
        self._cluster_stats = cluster_stats
        self._idle = idle
        self._posted = posted
        self._seen: dict[str, float] = {}
        self._counted: dict[str, int] = {}
        self._looked: dict[str, float] = {}
        self._rounds = 0
        # When each session is looked at next, on the monotonic clock. The heap keeps replaced entries until they are due.
        self._next: dict[str, float] = {}
        self._due: list[tuple[float, str]] = []
        registry.on_change(self._changed)
        registry.on_delete(self._purge)

    def idle_of(self, session: Session) -> float:
        """The TTL of a session in seconds, 0 for none. A webhook session expires only where it has one of its own."""
        default = self._idle if session.spec.delivery_method != "webhook" else 0.0
        own = session.spec.expires_after
        return default if own is None else own

    async def run(self) -> None:
        """Marks and deletes until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bucket.watch(self._marked, "seen.*"))
            await self._registry.ready.wait()
            while True:
                await coalesced_sleep(ROUND_SECONDS)
                try:
                    await self._round()
                except (BrokerError, Problem) as fault:
                    log.debug("session expiry failed; trying again", extra={"fault": str(fault)})

    async def _round(self) -> None:
        self._rounds += 1
        if self._rounds % ROUNDS_BETWEEN_SWEEPS == 0:
            # Stats that a reader or webhook counted after its session was deleted.
            for session_id in self._cluster_stats.stats.keys() - self._registry.sessions.keys():
                if not session_id.startswith(UNSTORED):
                    self._cluster_stats.forget(session_id)
        begun = time.monotonic()
        while self._due and self._due[0][0] <= begun:
            at, session_id = heapq.heappop(self._due)
            if self._next.get(session_id) != at:
                continue
            session = self._registry.sessions.get(session_id)
            if session is None or not (idle := self.idle_of(session)):
                del self._next[session_id]
                continue
            between = min(MAX_SECONDS_BETWEEN_MARKS, idle / 4)
            # Planned first: where NATS does not answer it is looked at again all the same.
            pause = max(ROUND_SECONDS, between / LOOKS_BETWEEN_MARKS)
            self._plan(session_id, begun + pause)
            # So early that at the next look the mark is not too old.
            await self._look(session, idle, between - pause)

    async def _look(self, session: Session, idle: float, oldest: float) -> None:
        """Marks a session that is read here and whose mark is older than `oldest` seconds; deletes one that has expired."""
        now = wall.now()
        last = max(session.spec.created / 1e9, self._seen.get(session.id, 0.0))
        if self._is_read(session.id):
            if now - last > oldest:
                self._seen[session.id] = now
                kept = max(2 * idle, MIN_SECONDS_SEEN)
                await self._bucket.put(f"seen.{session.id}", b"%d" % int(now * 1000), kept)
        # Marks of other processes may be a quarter of the TTL and two rounds old.
        elif now - last > idle * 1.25 + 2 * ROUND_SECONDS and not await self._is_posted(session, last, idle, now):
            log.info("session expired; deleting it", extra={"session": session.id})
            metrics.sessions_expired.inc()
            await self._registry.delete(session.id)

    def _changed(self, session_id: str, session: Session | None) -> None:
        """Has a session that is new, or may have another TTL, looked at in the next round."""
        if session is None:
            self._next.pop(session_id, None)
        else:
            self._plan(session_id, time.monotonic())

    def _plan(self, session_id: str, at: float) -> None:
        self._next[session_id] = at
        heapq.heappush(self._due, (at, session_id))

    async def _purge(self, session_id: str) -> None:
        """Purges the key of a session that this process deletes; nothing reads the key any more."""
        if session_id in self._seen:
            try:
                await self._bucket.purge(f"seen.{session_id}")
            except BrokerError as fault:
                log.debug(
                    "seen key of a deleted session could not be purged; its TTL removes it", extra={"fault": str(fault)}
                )

    async def _is_posted(self, session: Session, last: float, idle: float, now: float) -> bool:
        """Whether a webhook session had a post within its TTL, or one waits; not known before it is time to look again."""
        if session.spec.delivery_method != "webhook":
            return False
        if now < self._looked.get(session.id, 0.0) + min(idle, MIN_SECONDS_BETWEEN_LOOKS):
            return True
        self._looked[session.id] = now
        posted = await self._posted(session, last + idle)
        if posted.last > last:
            self._seen[session.id] = last = posted.last
        return now - last <= idle or (posted.waits and now - last <= idle + MAX_WAITING_SECONDS)

    def _is_read(self, session_id: str) -> bool:
        """Whether a reader is connected here, or was served since the last round."""
        stats = self._cluster_stats.stats.get(session_id)
        if stats is None:
            return False
        served, self._counted[session_id] = stats.served != self._counted.get(session_id, 0), stats.served
        return served or bool(stats.websockets or stats.sses or stats.polls)

    def _marked(self, entry: Entry, _ready: bool) -> None:
        if entry.value is not None and entry.value.isdigit():
            session_id = entry.key.removeprefix("seen.")
            self._seen[session_id] = max(self._seen.get(session_id, 0.0), int(entry.value) / 1000)

    def forget(self, session_id: str) -> None:
        """Forgets a session that was deleted, here or by another process."""
        self._seen.pop(session_id, None)
        self._counted.pop(session_id, None)
        self._looked.pop(session_id, None)
