"""Stores the state of every endpoint in ENDPOINTS: its owner writes it, every process reads it.

`health.<session>` is an `EndpointState`. `head.<session>.<queue>` says how often the first post of a serial queue has been tried,
so that a change of owner neither forgets an attempt nor makes one too many. `kills.<stream>.<sequence>` counts the workers that
died while they worked on a job.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from edge.webhooks.endpoint.state import EndpointState
from edge.webhooks.queue.ordering import Head
from router.bucket_cache import BucketCache
from router.errors import Conflict
from router.nats.bucket import Bucket, Entry, WriteGuard
from router.nats.connection import Connection
from router.stored import decoder
from router.topology import ENDPOINTS

log = logging.getLogger(__name__)

HEALTH, HEAD, KILLS = "health", "head", "kills"
# A minute for a process that was away; a day for a job that kills its workers.
TOMBSTONE_SECONDS = 60.0
KILLS_SECONDS = 86400.0


_head = decoder(Head, ENDPOINTS)
_decode_state = decoder(EndpointState, ENDPOINTS)


class EndpointStore:
    """The states of all endpoints, kept in step with the bucket."""

    def __init__(self, connection: Connection, guard: WriteGuard | None = None) -> None:
        self._bucket = Bucket(connection, ENDPOINTS, guard)
        self._known: BucketCache[str, EndpointState] = BucketCache()
        # What this process wrote last: no change when the watch reports it, be it before the write's own answer.
        self._own: dict[str, bytes] = {}
        self._listeners: list[Callable[[str, EndpointState], None]] = []

    async def run(self, ready: Callable[[], None]) -> None:
        """Keeps in step with the bucket until cancelled."""
        await self._bucket.watch(self._on_entry, f"{HEALTH}.*", ready=ready, renewed=self._on_renewed)

    def of(self, session: str) -> EndpointState | None:
        """An endpoint's state as far as it is known here; None for one whose state was never stored."""
        return self._known.get(session)

    def all(self) -> list[EndpointState]:
        return list(self._known.values.values())

    def on_change(self, listener: Callable[[str, EndpointState], None]) -> Callable[[], None]:
        """Calls listener(session, state) where another process wrote one. Returns what takes the listener off."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    async def keep(self, session: str, state: EndpointState) -> None:
        """Writes what its owner knows. Raises Conflict where another wrote since: what that says counts. Raises BrokerError."""
        value = msgspec.json.encode(state)
        key = f"{HEALTH}.{session}"
        self._own[session] = value
        try:
            if session in self._known:
                revision = await self._bucket.update(key, value, self._known.revision(session))
            else:
                revision = await self._bucket.create(key, value)
        except Conflict:
            before = self._known.revision(session)
            entry = await self._bucket.get(key)
            if entry is None or entry.value != value:
                self._take(session, entry, before)
                raise
            revision = entry.revision  # a write of our own whose answer was lost
        self._known.put(session, state, revision)

    async def change(self, session: str, make: Callable[[EndpointState], EndpointState]) -> EndpointState:
        """Changes a state, in any process; the endpoint's owner follows. Raises BrokerError."""
        key = f"{HEALTH}.{session}"
        while True:
            entry = await self._bucket.get(key)
            before = _read_state(entry) if entry else None
            after = make(before or EndpointState())
            value = msgspec.json.encode(after)
            try:
                if entry is None:
                    revision = await self._bucket.create(key, value)
                else:
                    revision = await self._bucket.update(key, value, entry.revision)
            except Conflict:
                continue
            if self._known.put(session, after, revision):
                self._notify(session, after)
            return after

    async def kept(self) -> set[str]:
        """The sessions of which anything is kept. Raises BrokerError."""
        return set(self._known) | {session for session, _ in await self.heads()}

    async def forget(self, session: str) -> None:
        """Removes all that is kept of a deleted session. Raises BrokerError."""
        for key in await self._bucket.names(f"{HEAD}.{session}.*"):
            await self._bucket.delete(key, TOMBSTONE_SECONDS)
        if session in self._known or await self._bucket.get(f"{HEALTH}.{session}") is not None:
            self._drop(session, await self._bucket.delete(f"{HEALTH}.{session}", TOMBSTONE_SECONDS))

    # First posts of serial queues

    async def heads(self) -> dict[tuple[str, str], Head]:
        """All heads there are, by session and queue. Raises BrokerError."""
        found: dict[tuple[str, str], Head] = {}
        for entry in await self._bucket.entries(f"{HEAD}.*.*"):
            head = _head(entry.key, entry.value)
            if head is None:
                continue
            _, session, queue = entry.key.split(".")
            found[session, queue] = head
        return found

    async def keep_head(self, session: str, queue: str, head: Head) -> None:
        await self._bucket.put(f"{HEAD}.{session}.{queue}", msgspec.json.encode(head))

    async def drop_head(self, session: str, queue: str) -> None:
        await self._bucket.delete(f"{HEAD}.{session}.{queue}", TOMBSTONE_SECONDS)

    # Workers that died

    async def count_kill(self, stream: str, sequence: int) -> int:
        """Counts one more worker that died while it worked on this job; returns how many have. Raises BrokerError."""
        key = f"{KILLS}.{stream}.{sequence}"
        entry = await self._bucket.get(key)
        kills = (int(entry.value) if entry and entry.value and entry.value.isdigit() else 0) + 1
        await self._bucket.put(key, b"%d" % kills, KILLS_SECONDS)
        return kills

    def _on_entry(self, entry: Entry, _ready: bool) -> None:
        session = entry.key.rpartition(".")[2]
        if entry.value is None:
            self._drop(session, entry.revision)
            return
        state = _read_state(entry)
        if state is None or not self._known.put(session, state, entry.revision):
            return
        if entry.value != self._own.get(session):
            self._notify(session, state)

    def _take(self, session: str, entry: Entry | None, before: int) -> None:
        """Takes what was read after a conflict; the read began when the session's revision here was `before`."""
        if entry is None:
            self._known.correct(session, None, 0, before)
            self._own.pop(session, None)
            return
        state = _read_state(entry)
        if state is not None and self._known.correct(session, state, entry.revision, before):
            self._notify(session, state)

    def _on_renewed(self) -> None:
        # The owners write their states again when these change; the revisions they knew are void.
        self._known.clear()
        self._own.clear()

    def _drop(self, session: str, revision: int) -> None:
        self._known.drop(session, revision)
        if session not in self._known:
            self._own.pop(session, None)

    def _notify(self, session: str, state: EndpointState) -> None:
        for listener in list(self._listeners):
            listener(session, state)


def _read_state(entry: Entry) -> EndpointState | None:
    return _decode_state(entry.key, entry.value)
