"""Counts the outcomes of each webhook session's jobs, and stores the counts in ENDPOINTS, where all processes add theirs.

The process that ends a job counts it. It adds its new counts to `figures.<shard>` under compare-and-set, before it
acknowledges the jobs: a process that dies leaves jobs that are delivered again rather than jobs that were not counted.

Queued jobs are not counted but looked up in the streams. So a session's counts are right after any restart, and `sent`,
which is the sum of all of them, is never less than what was counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import zlib
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from edge.stats import Stats
from edge.webhooks.queue.job import DUE, FRESH, PARKED, SCHEDULED
from router.broker import Broker
from router.coalescing import coalesced_sleep
from router.errors import BrokerError, Conflict
from router.nats.bucket import Bucket
from router.stored import decoder
from router.topology import ENDPOINTS, HOOKS, RETRIES

log = logging.getLogger(__name__)

PREFIX = "figures"
# Of 10,000 sessions a shard has 160, some 15 kB.
SHARDS = 64
# The last writers of a shard, so that they find out whether a write was stored whose answer they missed.
WRITERS = 8
# How often counts are stored that no acknowledgement waits for, in seconds.
FLUSH_EVERY = 0.5
MAX_TRIES = 8
# Every so many rounds all sessions are compared.
THOROUGH = 20


class Kept(msgspec.Struct, array_like=True):
    """The stored counts of a session, of all processes that ever ran."""

    delivered: int = 0
    failed: int = 0
    dropped: int = 0
    retries: int = 0
    slowed: int = 0
    gaps: int = 0
    last_delivery: float = 0.0
    last_error: str | None = None

    @classmethod
    def of(cls, stats: Stats) -> Kept:
        return cls(
            stats.delivered,
            stats.failed,
            stats.dropped,
            stats.retries,
            stats.slowed,
            stats.gaps,
            stats.last_delivery,
            stats.last_error,
        )

    def since(self, before: Kept) -> Kept | None:
        """What was counted since an earlier state of the same counts; None for nothing."""
        if self == before:
            return None
        return Kept(
            self.delivered - before.delivered,
            self.failed - before.failed,
            self.dropped - before.dropped,
            self.retries - before.retries,
            self.slowed - before.slowed,
            self.gaps - before.gaps,
            self.last_delivery,
            self.last_error if self.last_error != before.last_error else None,
        )

    def plus(self, more: Kept) -> Kept:
        return Kept(
            self.delivered + more.delivered,
            self.failed + more.failed,
            self.dropped + more.dropped,
            self.retries + more.retries,
            self.slowed + more.slowed,
            self.gaps + more.gaps,
            max(self.last_delivery, more.last_delivery),
            more.last_error or self.last_error,
        )


class StatsShard(msgspec.Struct):
    """One value in the bucket: the counts of some sessions, and the number of each writer's last write."""

    sessions: dict[str, Kept] = {}
    writes: dict[str, int] = {}


_shard = decoder(StatsShard, ENDPOINTS)


def shard_of(session: str) -> int:
    return zlib.crc32(session.encode()) % SHARDS


class _Unanswered(NamedTuple):
    """A write that may be stored, or still under way: the revision that it replaces, and what it added."""

    upon: int
    added: dict[str, Kept]


class _Known:
    """A shard as this process last read it, and its own writes, by number, whose result it does not know."""

    __slots__ = ("revision", "shard", "unanswered")

    def __init__(self) -> None:
        self.shard: StatsShard | None = None
        self.revision = 0
        self.unanswered: dict[int, _Unanswered] = {}


class DeliveryStats:
    """The counts of all webhook sessions: those of this process, and the stored ones of all."""

    def __init__(self, broker: Broker, writer: str) -> None:
        self._broker = broker
        self._bucket = Bucket(broker.connection, ENDPOINTS)
        self._writer = writer
        self._counted: dict[str, Stats] = {}
        # How much of it is stored.
        self._done: dict[str, Kept] = {}
        self._touched: set[str] = set()
        # Whether there may be any counts.
        self._counting = asyncio.Event()
        self._known: dict[int, _Known] = {}
        self._number = 0
        self._writing = asyncio.Lock()

    # Counting

    def of(self, session: str) -> Stats:
        """What this process counts for a session; to be changed without an await after this."""
        self._touched.add(session)
        found = self._counted.get(session)
        if found is None:
            found = self._counted[session] = Stats()
            self._counting.set()
        return found

    def drop(self, session: str) -> None:
        """Counts nothing more of a session that was deleted."""
        self._counted.pop(session, None)
        self._done.pop(session, None)
        self._touched.discard(session)

    # Storing

    async def run(self) -> None:
        """Stores new counts until cancelled, and then what is left, for a second."""
        rounds = 0
        try:
            while True:
                if not self._counted:
                    self._counting.clear()
                    await self._counting.wait()
                await coalesced_sleep(FLUSH_EVERY)
                rounds += 1
                if rounds % THOROUGH == 0:
                    self._touched.update(self._counted)
                await self.flush()
        finally:
            self._touched.update(self._counted)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self.flush()

    async def flush(self) -> None:
        """Stores new counts. Where the bucket does not accept them, they are stored later."""
        async with self._writing:
            touched, self._touched = self._touched, set()
            shards: dict[int, list[str]] = {}
            for session in touched:
                if self._fresh(session) is not None:
                    shards.setdefault(shard_of(session), []).append(session)
            await asyncio.gather(*(self._keep(number, sessions) for number, sessions in shards.items()))

    def _fresh(self, session: str) -> Kept | None:
        stats = self._counted.get(session)
        return Kept.of(stats).since(self._done.get(session, Kept())) if stats is not None else None

    async def _keep(self, number: int, sessions: list[str]) -> None:
        known = self._known.setdefault(number, _Known())
        try:
            for _ in range(MAX_TRIES):
                if known.shard is None:
                    await self._learn(number, known)
                fresh = {session: more for session in sessions if (more := self._fresh(session)) is not None}
                if not fresh or await self._write(number, known, fresh):
                    return
            raise Conflict(409, 0, "other processes write it all the time")
        except BrokerError as fault:
            self._touched.update(sessions)
            log.debug(
                "webhook stats were not stored; they are stored later", extra={"shard": number, "fault": str(fault)}
            )

    async def _learn(self, number: int, known: _Known) -> None:
        entry = await self._bucket.get(_key(number))
        shard = _shard(entry.key, entry.value) if entry is not None else None
        known.shard = shard or StatsShard()
        known.revision = entry.revision if entry is not None else 0
        # At most one of them is stored: each is conditional upon the revision that was known before all of them.
        stored = known.unanswered.get(known.shard.writes.get(self._writer, 0))
        if stored is not None:
            self._note(stored.added)
            known.unanswered.clear()
        else:
            # A direct get may overtake a write, so that one upon the newest revision may still be stored. Others cannot.
            revision = known.revision
            known.unanswered = {n: each for n, each in known.unanswered.items() if each.upon == revision}

    async def _write(self, number: int, known: _Known, fresh: dict[str, Kept]) -> bool:
        """Adds to a shard; False where another process wrote it first."""
        assert known.shard is not None
        self._number += 1
        sessions = dict(known.shard.sessions)
        for session, more in fresh.items():
            sessions[session] = sessions.get(session, Kept()).plus(more)
        writes = {writer: last for writer, last in known.shard.writes.items() if writer != self._writer}
        writes = dict([*writes.items(), (self._writer, self._number)][-WRITERS:])
        shard = StatsShard(sessions, writes)
        known.unanswered[self._number] = _Unanswered(known.revision, fresh)
        value, key = msgspec.json.encode(shard), _key(number)
        try:
            if known.revision:
                revision = await self._bucket.update(key, value, known.revision)
            else:
                revision = await self._bucket.create(key, value)
        except Conflict:
            # It may be a write of our own whose answer was lost: the stored value shows.
            known.shard = None
            return False
        except BaseException:
            known.shard = None
            raise
        known.shard, known.revision = shard, revision
        known.unanswered.clear()
        self._note(fresh)
        return True

    def _note(self, fresh: dict[str, Kept]) -> None:
        for session, more in fresh.items():
            done = self._done.get(session, Kept()).plus(more)
            # The newest time, not the sum.
            done.last_delivery = more.last_delivery
            if session in self._counted:
                done.last_error = more.last_error or done.last_error
                self._done[session] = done

    async def kept(self) -> set[str]:
        """The sessions of which counts are stored. Raises BrokerError."""
        return {session for shard in await self._all() for session in shard.sessions}

    async def forget(self, session: str) -> None:
        """Removes the counts of a deleted session. Raises BrokerError."""
        key = _key(shard_of(session))
        async with self._writing:
            for _ in range(MAX_TRIES):
                entry = await self._bucket.get(key)
                shard = _shard(key, entry.value) if entry is not None else None
                if entry is None or shard is None or session not in shard.sessions:
                    return
                del shard.sessions[session]
                known = self._known.setdefault(shard_of(session), _Known())
                known.shard = None
                try:
                    await self._bucket.update(key, msgspec.json.encode(shard), entry.revision)
                    return
                except Conflict:
                    continue

    # Reading

    async def session(self, session: str) -> Stats:
        """The counts of one session, from all processes. Raises BrokerError."""
        queued = await self._waiting(
            (HOOKS, f"{FRESH}.*.{session}"),
            (HOOKS, f"{PARKED}.*.{session}.*"),
            (RETRIES, f"{DUE}.*.{session}"),
            (RETRIES, f"{SCHEDULED}.{session}.*"),
        )
        number = shard_of(session)
        entry = await self._bucket.get(_key(number))
        shard = _shard(entry.key, entry.value) if entry is not None else None
        return _stats(shard.sessions.get(session, Kept()) if shard is not None else Kept(), queued)

    async def total(self) -> Stats:
        """The counts of all sessions together. Raises BrokerError."""
        queued = 0
        for stream in (HOOKS, RETRIES):
            queued += int((await self._broker.stream(stream).state())["messages"])
        whole = Kept()
        for shard in await self._all():
            for kept in shard.sessions.values():
                whole = whole.plus(kept)
        return _stats(whole, queued)

    async def waiting(self, session: str) -> int:
        """How many jobs of a session are in the streams. Raises BrokerError."""
        return (await self.session(session)).queued

    async def _waiting(self, *places: tuple[str, str]) -> int:
        listings = await asyncio.gather(
            *(self._broker.stream(stream).page_of_subjects(subjects) for stream, subjects in places)
        )
        return sum(sum(listing.subjects.values()) for listing in listings)

    async def _all(self) -> Iterable[StatsShard]:
        entries = await self._bucket.entries(f"{PREFIX}.*")
        return [shard for entry in entries if (shard := _shard(entry.key, entry.value)) is not None]


def _stats(kept: Kept, queued: int) -> Stats:
    return Stats(
        sent=kept.delivered + kept.failed + kept.dropped + queued,
        delivered=kept.delivered,
        failed=kept.failed,
        dropped=kept.dropped,
        retries=kept.retries,
        slowed=kept.slowed,
        gaps=kept.gaps,
        last_delivery=kept.last_delivery,
        last_error=kept.last_error,
    )


def _key(number: int) -> str:
    return f"{PREFIX}.{number}"
