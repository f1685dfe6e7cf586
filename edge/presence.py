"""Knows which cameras and Octanes there are, what each last said of itself, and whether its actor lives.

Their states lie in the bucket STATES; that an actor lives is told by the lease of its process in LEASES. When a lease ends,
one of the edges says once that the entity is gone (`router.states`). An entity of which only events are known belongs to a
program that publishes them itself, and is believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from router.broker import Broker
from router.bucket_cache import BucketCache
from router.codec import rfc3339
from router.errors import BrokerError
from router.event import Event
from router.nats.bucket import Bucket, Entry, WriteGuard, read_through
from router.states import GONE, KEEP_GONE_SECONDS, StateEntry, StateStore, decode_state, state_key
from router.subject import Subject, escape, unescape
from router.topology import LEASES, STATES

log = logging.getLogger(__name__)

DEAD = "its process has died or cannot reach NATS"
UNKNOWN = "no process runs it"
# After its own start, and after a loss of NATS, an edge gives actors so long to come back before it says that they are
# gone: they refresh their leases every 2.4 s, and try more often while they cannot.
SETTLE_SECONDS = 5.0
# An actor that ends by itself releases its lease, and says why within this time.
OWN_WORD_SECONDS = 1.0
# So long a state that is just written counts as a sign of life where there is no lease: longer than any lease lasts.
FRESH_SECONDS = 10.0
RETRY_SECONDS = 1.0

Heard = Callable[["EntityState"], None]


@dataclass(frozen=True, slots=True)
class EntityState:
    """What is known of one camera or Octane. `since` and `updated` are RFC 3339; `data` are those of its last state event."""

    domain: str
    id: str
    status: str
    reason: str | None
    since: str
    life: int | None
    updated: str
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def gone(self) -> bool:
        """Whether its actor does not live any more."""
        return self.status == GONE

    def described(self) -> dict[str, Any]:
        """Its state as it is listed."""
        shown = {"id": self.id, **self.data, "status": self.status, "since": self.since, "updated": self.updated}
        if self.reason is not None or "reason" in self.data:
            shown["reason"] = self.reason
        return shown if self.life is None else {**shown, "life": self.life}


class Presence:
    """The cameras and Octanes that this edge knows."""

    def __init__(self, broker: Broker, guard: WriteGuard | None = None) -> None:
        self._broker = broker
        self._store = StateStore(broker, guard)
        self._leases = Bucket(broker.connection, LEASES)
        self._entries: BucketCache[str, StateEntry] = BucketCache()
        # Until when, on the loop's clock, an actor counts as living; without end while its lease is there.
        self._until: dict[str, float] = {}
        # When an actor was first found not to live, RFC 3339.
        self._noticed: dict[str, str] = {}
        self._told: dict[str, EntityState] = {}
        self._listeners: dict[str, list[Heard]] = {}
        self._settled_at = math.inf
        self._states_read, self._leases_read = asyncio.Event(), asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Follows both buckets and says who is gone, until cancelled."""
        self._settle()
        forget = self._broker.connection.on_reconnect(self._settle)
        try:
            async with asyncio.TaskGroup() as group:
                states, leases = self._store.bucket, self._leases
                # The leases first: who lives is known before the states are read.
                group.create_task(leases.watch(self._lease_heard, "actor.*.*", ready=self._leases_read.set))
                await self._leases_read.wait()
                group.create_task(
                    states.watch(self._state_heard, "*.*", ready=self._states_read.set, renewed=self._renewed)
                )
                group.create_task(self._watch_ends())
        finally:
            forget()

    def known(self, domain: str, entity: str) -> EntityState | None:
        """The state of one that has an entry in STATES; None of others."""
        return self._state(state_key(domain, entity))

    async def find(self, domain: str, entity: str) -> EntityState | None:
        """The state of one, also where only its events are known; None where nothing is known. Raises BrokerError."""
        await self._read()
        if (known := self.known(domain, entity)) is not None:
            return known
        records = await self._broker.latest([f"{domain}.{escape(entity)}.state"])
        event = records[-1].event if records else None
        return None if event is None else self._by_event(domain, event)

    def listing(self, domain: str) -> list[EntityState]:
        """The states of all that have an entry in STATES."""
        states = (self._state(key) for key in list(self._entries) if key.startswith(f"{escape(domain)}."))
        return [state for state in states if state is not None]

    async def all(self, domain: str) -> list[EntityState]:
        """The states of all, by id; also of those of which only events are known. Raises BrokerError."""
        await self._read()
        found = {state.id: state for state in self.listing(domain)}
        for record in await self._broker.latest([f"{domain}.*.state"]):
            event = record.event
            if event is None or unescape(event.subject.entity) in found:
                continue
            if (state := self._by_event(domain, event)) is not None:
                found[state.id] = state
        return [found[id] for id in sorted(found)]

    def living(self) -> list[tuple[str, str]]:
        """The actors whose processes hold their leases now, as name and instance; watched by people or not."""
        held = (key.partition(".") for key, until in self._until.items() if until == math.inf)
        return sorted((unescape(name), unescape(instance)) for name, _, instance in held)

    def listen(self, domain: str, entity: str, heard: Heard) -> Callable[[], None]:
        """Calls back with each change of one's state from now on; returns a function that ends it."""
        key = state_key(domain, entity)
        self._listeners.setdefault(key, []).append(heard)

        def stop() -> None:
            listeners = self._listeners.get(key, [])
            if heard in listeners:
                listeners.remove(heard)
            if not listeners:
                self._listeners.pop(key, None)

        return stop

    async def _read(self) -> None:
        await read_through(self._leases_read, LEASES)
        await read_through(self._states_read, STATES)

    def _settle(self) -> None:
        self._settled_at = self._now() + SETTLE_SECONDS
        self._changed.set()

    def _state_heard(self, entry: Entry, ready: bool) -> None:
        key = entry.key
        state = decode_state(entry)
        if state is None:
            if self._entries.drop(key, entry.revision):
                self._until.pop(key, None)
                self._noticed.pop(key, None)
                self._told.pop(key, None)
            return
        before = self._entries.get(key)
        if self._entries.put(key, state, entry.revision):
            if ready and (before is None or before.life <= state.life) and self._until.get(key) != math.inf:
                self._until[key] = self._now() + FRESH_SECONDS
            self._tell(key)
            self._changed.set()

    def _renewed(self) -> None:
        self._entries.clear()
        self._told.clear()

    def _lease_heard(self, entry: Entry, _ready: bool) -> None:
        key = entry.key.partition(".")[2]
        if entry.value:
            self._until[key] = math.inf
            self._noticed.pop(key, None)
        elif self._until.get(key) == math.inf:
            now = self._now()
            # A released lease has an empty value; one that ran out has none. Where NATS was away, all ran out.
            self._until[key] = now + OWN_WORD_SECONDS if entry.value is not None else max(now, self._settled_at)
        else:
            return
        self._tell(key)
        self._changed.set()

    def _state(self, key: str) -> EntityState | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        domain, _, token = key.partition(".")
        status, reason, since = entry.status, entry.reason, entry.since
        if entry.gone is not None:
            status, reason, since = GONE, entry.gone.reason, entry.gone.since
        elif not self._lives(key):
            since = self._noticed.setdefault(key, rfc3339(time.time_ns()))
            status, reason = GONE, DEAD
        return EntityState(domain, unescape(token), status, reason, since, entry.life, entry.updated, dict(entry.data))

    def _lives(self, key: str) -> bool:
        return self._until.get(key, -math.inf) > self._now()

    def _by_event(self, domain: str, event: Event) -> EntityState | None:
        """The state by the last event alone; None of an actor of ours that is gone for longer than a day."""
        entity, updated = unescape(event.subject.entity), rfc3339(event.time)
        status, reason = str(event.data.get("status", "")), event.data.get("reason")
        since = str(event.data.get("since") or updated)
        # Our actors have the name of their domain; without an entry and a lease they are those of an earlier version.
        if status == GONE or (event.source == domain and not self._lives(f"{domain}.{event.subject.entity}")):
            if event.time < time.time_ns() - KEEP_GONE_SECONDS * 1e9:
                return None
            status, reason = GONE, reason if status == GONE else UNKNOWN
        told = None if reason is None else str(reason)
        return EntityState(domain, entity, status, told, since, None, updated, dict(event.data))

    def _tell(self, key: str) -> None:
        state = self._state(key)
        if state is None or state == self._told.get(key):
            return
        self._told[key] = state
        for heard in list(self._listeners.get(key, ())):
            heard(state)

    async def _watch_ends(self) -> None:
        """Waits for each actor that does not live any more, tells who listens, and says once that it is gone."""
        await self._states_read.wait()
        while True:
            self._changed.clear()
            now, pauses = self._now(), [math.inf]
            for key, entry in list(self._entries.values.items()):
                until = self._until.get(key, -math.inf)
                if entry.gone is not None or until == math.inf:
                    continue
                due = max(until, self._settled_at)
                if until <= now:
                    self._tell(key)
                if due > now:
                    pauses.append(max(until - now, 0.0) or due - now)
                elif not await self._declare(key):
                    pauses.append(RETRY_SECONDS)
            pause = min(pauses)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if pause == math.inf else pause):
                    await self._changed.wait()

    async def _declare(self, key: str) -> bool:
        """Says that an entity is gone; False where that is to be tried again."""
        domain, _, token = key.partition(".")
        entity = unescape(token)
        try:
            declared = await self._store.declare_gone(domain, entity, DEAD, time.time_ns())
        except BrokerError as fault:
            log.debug("that an actor is gone could not be published; retrying", extra={"key": key, "fault": str(fault)})
            return False
        if declared:
            subject = Subject.of(domain, entity, "state")
            log.warning("actor is gone; its state says so now", extra={"subject": subject, "reason": DEAD})
        return declared

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
