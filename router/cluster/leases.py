"""Holds and counts leases: keys of the bucket LEASES that a process refreshes while it uses something, and that expire otherwise.

`view.<domain>.<entity>.<holder>` is one viewer of one picture: an edge process holds it while somebody watches, and the
actor that makes the picture works only while the count is not zero. Where there are several pictures of an entity, the
key goes on with what is watched: `view.octane.main.<holder>.<track>.<rendition>`. A holder that dies is forgotten after its ttl, by
the server (the key's TTL) and by every counter on its own (the ttl is in the value), so that a lost connection cannot
keep a camera running.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter

import msgspec

from router.errors import BrokerError
from router.nats.bucket import Bucket, Entry
from router.nats.connection import Connection
from router.stored import decoder
from router.subject import escape, unescape
from router.timing import Clock, SystemClock, full_jitter
from router.topology import LEASES

log = logging.getLogger(__name__)

# Three refreshes a ttl: two may be lost before anybody believes the holder gone.
REFRESHES = 3
# A minute: a released key's mark stays long enough for a watcher that was away, and does not pile up.
MARK_SECONDS = 60.0


def lease_key(*tokens: str) -> str:
    """Makes a key of parts, escaping each (`a.b` becomes `a=2Eb`)."""
    return ".".join(escape(token) for token in tokens)


def view_key(domain: str, entity: str, holder: str, *what: str) -> str:
    """Makes the key that says: this holder watches that entity, or `what` of it."""
    return lease_key("view", domain, entity, holder, *what)


class _Value(msgspec.Struct):
    """What a lease holds: after how many seconds without a refresh its holder is gone."""

    ttl: float


_value = decoder(_Value, LEASES)


class Leases:
    """Takes and keeps leases."""

    def __init__(self, connection: Connection, clock: Clock | None = None) -> None:
        self.bucket = Bucket(connection, LEASES)
        self._clock = clock or SystemClock()

    async def hold(self, name: str, ttl: float) -> None:
        """Keeps a key alive until cancelled, then releases it. NATS being away is waited out.

        Run it as a child: `group.create_task(leases.hold(view_key("camera", "door", holder), ttl=15))`. The ttl is in
        whole seconds, at least one.
        """
        ttl = max(1.0, float(round(ttl)))
        value = msgspec.json.encode(_Value(ttl))
        failures = 0
        try:
            while True:
                try:
                    await self.bucket.put(name, value, ttl)
                    failures = 0
                    pause = ttl / REFRESHES
                except BrokerError as fault:
                    failures += 1
                    pause = full_jitter(failures, 0.1, 1.0)
                    log.debug("lease was not refreshed; retrying", extra={"lease": name, "fault": str(fault)})
                await self._clock.sleep(pause)
        finally:
            # Where this fails, the ttl says the same a little later.
            with contextlib.suppress(BrokerError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await self.bucket.delete(name, MARK_SECONDS)


class Viewers:
    """How many watch one entity. The actor reads it; `watch` keeps it up to date."""

    def __init__(self, domain: str, entity: str, clock: Clock | None = None) -> None:
        self.domain = domain
        self.entity = entity
        self._clock = clock or SystemClock()
        self._until: dict[str, float] = {}  # holder's key -> when it is believed gone
        self._changed = asyncio.Event()

    @property
    def count(self) -> int:
        """The leases that live now."""
        self._forget()
        return len(self._until)

    @property
    def wanted(self) -> list[tuple[str, ...]]:
        """What of the entity is watched, each once, the longest watched first; () for what names nothing in particular."""
        return list(self.counts)

    @property
    def counts(self) -> Counter[tuple[str, ...]]:
        """How many leases name each of what is watched, the longest watched first."""
        self._forget()
        return Counter(tuple(map(unescape, key.split(".")[4:])) for key in self._until)

    async def wait_for_some(self) -> None:
        """Returns once somebody watches."""
        while self.count == 0:
            await self._change()

    async def wait_for_none(self) -> None:
        """Returns once nobody watches."""
        while self.count > 0:
            await self._change()

    async def wait_for_news(self) -> None:
        """Returns once a lease was taken, refreshed or released, or has run out."""
        await self._change()

    def saw(self, key: str, ttl: float | None) -> None:
        """Notes that a lease was taken or refreshed, or is gone (None)."""
        if ttl is None:
            self._until.pop(key, None)
        else:
            self._until[key] = self._clock.now() + ttl
        # Every waiter wakes and looks; the next round waits on an event of its own.
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self) -> None:
        """Waits for news, but not past the moment the next lease runs out."""
        changed = self._changed
        if not self._until:
            await changed.wait()
            return
        left = min(self._until.values()) - self._clock.now()
        waiters = {asyncio.ensure_future(changed.wait()), asyncio.ensure_future(self._clock.sleep(left))}
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()

    def _forget(self) -> None:
        now = self._clock.now()
        for key in [key for key, until in self._until.items() if until <= now]:
            del self._until[key]


async def watch(viewers: Viewers, connection: Connection) -> None:
    """Keeps a count up to date until cancelled. NATS being away is waited out: leases then run out by themselves."""
    bucket = Bucket(connection, LEASES)

    def heard(entry: Entry, _ready: bool) -> None:
        if entry.value is None:
            viewers.saw(entry.key, None)
            return
        if (lease := _value(entry.key, entry.value)) is not None:
            viewers.saw(entry.key, lease.ttl)

    failures = 0
    while True:
        try:
            await bucket.watch(heard, f"{lease_key('view', viewers.domain, viewers.entity)}.>")
        except BrokerError as fault:
            failures += 1
            log.debug("leases of viewers cannot be watched; retrying", extra={"fault": str(fault)})
            await asyncio.sleep(full_jitter(failures, 0.1, 2.0))
