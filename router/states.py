"""Keeps the newest state of each camera and Octane in the bucket STATES, and says that one is gone exactly once.

The actor writes `<domain>.<entity>` with each state event. Whether it still lives is told by the lease of its process,
`actor.<domain>.<entity>` in LEASES. When that lease is gone, whoever notices publishes one state event with the status `gone`
and marks the entry; all writes depend on the revision that was read, so the state of a newer life is never overwritten.
What an actor keeps over restarts lies beside it, as `<domain>.<entity>.kept.<name>`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from router.broker import Broker
from router.cluster.leases import lease_key
from router.codec import DECODE_FAULTS, decode, encode, rfc3339
from router.errors import BadEvent, Conflict
from router.event import Event
from router.last_event import last_event, put_behind
from router.nats.bucket import Bucket, Entry, WriteGuard
from router.stored import decoder
from router.subject import Subject, escape, unescape
from router.topology import LEASES, STATES

log = logging.getLogger(__name__)

GONE: Final = "gone"
# A day: a camera that was switched off in the evening is still listed in the morning.
KEEP_GONE_SECONDS: Final = 86_400.0
PAGE_BYTES: Final = 1 << 20


class GoneMark(msgspec.Struct, frozen=True):
    """Since when (RFC 3339) and why the actor of an entry does not live any more."""

    reason: str
    since: str


class StateEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The newest state event of one entity. `life` names the incarnation that published it; the times are RFC 3339."""

    life: int
    status: str
    since: str
    updated: str
    reason: str | None = None
    data: dict[str, Any] = {}
    gone: GoneMark | None = None


@dataclass(frozen=True, slots=True)
class StoredState:
    """An entry, None where there is none, and the revision that a write must name."""

    entry: StateEntry | None
    revision: int


_decode = decoder(StateEntry, STATES)
_encode = msgspec.json.Encoder(enc_hook=str).encode


def state_key(domain: str, entity: str) -> str:
    """The key of an entity's state; also the rest of its actor's lease `actor.<key>`."""
    return f"{escape(domain)}.{escape(entity)}"


def decode_state(entry: Entry) -> StateEntry | None:
    """The state of a key's value; None where it was deleted or cannot be decoded."""
    return _decode(entry.key, entry.value)


def entry_of(event: Event, life: int, before: StateEntry | None) -> StateEntry:
    """The entry of a state event. `since` is when it came to this status, if the event does not say."""
    status, reason = str(event.data.get("status", "")), event.data.get("reason")
    told = event.data.get("since")
    updated = rfc3339(event.time)
    if isinstance(told, str):
        since = told
    elif before is not None and before.gone is None and (before.status, before.reason) == (status, reason):
        since = before.since
    else:
        since = updated
    return StateEntry(
        life=life,
        status=status,
        reason=None if reason is None else str(reason),
        since=since,
        updated=updated,
        data=dict(event.data),
    )


def gone_event(domain: str, entity: str, entry: StateEntry, reason: str, time_ns: int) -> Event:
    """The state event of an entity whose actor does not live any more: its last state, with the status `gone`."""
    data = {**entry.data, "status": GONE, "reason": reason, "since": rfc3339(time_ns)}
    return Event.new(Subject.of(domain, entity, "state"), data, source=domain, time_ns=time_ns)


class StateStore:
    """Reads and writes the bucket STATES."""

    def __init__(self, broker: Broker, guard: WriteGuard | None = None) -> None:
        self.bucket = Bucket(broker.connection, STATES, guard)
        self._leases = Bucket(broker.connection, LEASES)
        self._broker = broker

    async def read(self, domain: str, entity: str) -> StoredState:
        """Reads one state, by a request that names its key. Raises BrokerError."""
        entry = await self.bucket.read(state_key(domain, entity))
        return StoredState(decode_state(entry), entry.revision)

    async def write(self, domain: str, entity: str, entry: StateEntry, revision: int) -> int:
        """Writes a state over the given revision; returns its revision. Raises Conflict where another was first."""
        ttl = None if entry.gone is None else KEEP_GONE_SECONDS
        return await self.bucket.update(state_key(domain, entity), _encode(entry), revision, ttl)

    async def kept(self, domain: str, entity: str, name: str) -> dict[str, Any] | None:
        """What an actor keeps under a name over its restarts; None where it keeps nothing. Raises BrokerError."""
        entry = await self.bucket.read(f"{state_key(domain, entity)}.kept.{escape(name)}")
        if entry.value is None:
            return None
        try:
            found = msgspec.json.decode(entry.value)
        except DECODE_FAULTS:
            log.warning("what an actor has kept cannot be decoded; it is ignored", extra={"key": entry.key})
            return None
        return found if isinstance(found, dict) else None

    async def keep(self, domain: str, entity: str, name: str, kept: Mapping[str, Any]) -> None:
        """Writes what an actor keeps over its restarts. Raises BrokerError."""
        await self.bucket.put(f"{state_key(domain, entity)}.kept.{escape(name)}", _encode(kept))

    async def listing(self, domain: str) -> list[tuple[str, StateEntry]]:
        """All entities of a domain with their states, by id; takes no more rights than to read. Raises BrokerError."""
        request: dict[str, Any] = {"multi_last": [f"$KV.{STATES}.{escape(domain)}.*"], "max_bytes": PAGE_BYTES}
        found: list[tuple[str, StateEntry]] = []
        while True:
            run = await self._broker.stream(self.bucket.stream).read_run(request, self.bucket.entry_of)
            states = ((unescape(entry.key.partition(".")[2]), decode_state(entry)) for entry in run.messages)
            found += [(name, state) for name, state in states if state is not None]
            if not run.left or not run.messages:
                return sorted(found, key=lambda each: each[0])
            request["seq"] = run.messages[-1].revision + 1

    async def seems_to_live(self, domain: str, entity: str) -> bool:
        """Whether a process holds the lease of this actor, as any copy of the bucket knows. Raises BrokerError."""
        entry = await self._leases.get(lease_key("actor", domain, entity))
        return entry is not None and bool(entry.value)

    async def lives(self, domain: str, entity: str) -> bool:
        """Whether a process holds the lease of this actor, as the leader of the bucket knows. Raises BrokerError."""
        entry = await self._leases.latest(lease_key("actor", domain, entity))
        return entry is not None and bool(entry.value)

    async def declare_gone(self, domain: str, entity: str, reason: str, time_ns: int) -> bool:
        """Says of an entity whose actor holds no lease that it is gone; returns False where it lives after all.

        Harmless where several do it at once: one event is stored. Raises BrokerError.
        """
        subject = Subject.of(domain, entity, "state")
        # In this order: a new life takes its lease, then publishes. What it published before this reading shows by its
        # lease, and what it publishes afterwards makes our event, which names this sequence, a conflict.
        last = await last_event(self._broker, subject, leader=True)
        stored = await self.read(domain, entity)
        entry = stored.entry
        if entry is None or await self.lives(domain, entity):
            return False
        if entry.gone is not None:
            return True
        if last.ack is None or not _says_gone(last.payload):
            event = gone_event(domain, entity, entry, reason, time_ns)
            dedup = f"{GONE}.{state_key(domain, entity)}.{entry.life}.{stored.revision}"
            try:
                await put_behind(self._broker, last, event, encode(event), 10.0, dedup)
            except Conflict:
                return False
        marked = msgspec.structs.replace(entry, gone=GoneMark(reason, rfc3339(time_ns)))
        try:
            await self.write(domain, entity, marked, stored.revision)
        except Conflict:
            return False
        return True


def _says_gone(payload: bytes) -> bool:
    try:
        return decode(payload).data.get("status") == GONE
    except BadEvent:
        return False
