"""Examines one stream: whether it takes writes now, and where it does not, why.

There are four sources: the stream's information (missing, without a leader), a write of our own to LEASES, what became of
real publishes, and a publish that no stream stores, which shows whether NATS allows this user to publish.

nats-server keeps the first write error of a stream: it then leaves later publishes unanswered, even once there is room
again, until it is restarted. A purge of a subject that the stream does not have returns the text of that error and changes
nothing; so that is asked where this process may purge.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from router import provisioning, topology
from router.broker import Broker
from router.errors import BrokerError, Forbidden, NoResponders, Refused, Timeout
from router.nats.bucket import Bucket
from router.nats.error_codes import ErrorCode
from router.nats.stream import Stream
from router.store_trouble import (
    FORBIDDEN,
    NO_QUORUM,
    STREAM_MISSING,
    UNREACHABLE,
    WRITE_FAILED,
    Finding,
    Trouble,
    code_of,
)
from router.topology import DeclaredStream

log = logging.getLogger(__name__)

# An election takes up to 9 s, a restart of the server less; publishers wait that out, so it is no failure yet.
GRACE_SECONDS = 10.0
# So many publishes in a row that nobody answers, while the stream's newest sequence stays the same.
SILENT_PUBLISHES = 2
PROBE_TTL = 60.0
# Subjects that no stream has: a purge of them removes nothing, and meets no consumer's filter.
NOTHING = "callboard.nothing"
# The last token of subjects to which a right is tried.
PROBE = "callboard_probe"
# Where nothing was acknowledged yet: streams that Callboard alone writes to, with the right of the process that looks (the edge).
PROBES: Mapping[str, str] = {
    topology.HOOKS: f"hook.q.0.{PROBE}",
    topology.RETRIES: f"retry.at.{PROBE}",
    topology.DEADLETTERS: f"dead.webhook.{PROBE}.{PROBE}",
    topology.ATTEMPTS: f"attempt.{PROBE}.ok",
    **{f"KV_{name}": f"$KV.{name}.{PROBE}" for name in (topology.SESSIONS, topology.JOBS, topology.ENDPOINTS)},
}
# Where others make the streams, the edge may purge these and no others (k8s/base/nats/accounts.conf).
PURGEABLE = frozenset({topology.HOOKS, topology.RETRIES, topology.DEADLETTERS})

# Refusals of a purge that say why the stream takes no writes.
_OF_WRITING = (ErrorCode.STREAM_GENERAL_ERROR, ErrorCode.CLUSTER_NOT_AVAILABLE, ErrorCode.STREAM_NOT_FOUND)


class StoreProbe:
    """Examines the streams of a broker's store, and remembers what it has seen of each."""

    def __init__(self, broker: Broker) -> None:
        self.recreated: dict[str, int] = {}
        self._broker = broker
        self._connection = broker.connection
        self._bucket = Bucket(broker.connection, topology.LEASES)
        self._key = f"store.probe.{secrets.token_hex(4)}"
        # Where a stream stood when its publishes were first left unanswered, how many there were, and when the last was seen.
        self._stuck: dict[str, tuple[tuple[Any, ...], int, float]] = {}
        self._created: dict[str, str] = {}
        self._listeners: list[Callable[[str], None]] = []

    def on_renewed(self, listener: Callable[[str], None]) -> None:
        """Calls listener(stream) where a stream was deleted and created again, by this process or another."""
        self._listeners.append(listener)

    def is_stuck(self, stream: str) -> bool:
        """Whether publishes to a stream are left unanswered, as far as has been seen."""
        return stream in self._stuck

    async def examine(self, stream: DeclaredStream, active: bool) -> Finding | None:
        """Asks how a stream stands; None where it takes writes. If `active`, writes to find out and restores a missing stream."""
        if not topology.is_expendable(stream, self._broker.topology):
            found = await self._ask(stream, active)
            absent = found is not None and found.trouble.code == STREAM_MISSING
            return None if absent and stream.name in topology.OPTIONAL else found
        # Its only server may be down, which makes no edge unready; `router_stream_leader` shows it.
        try:
            async with asyncio.timeout(provisioning.EXPENDABLE_SECONDS):
                found = await self._ask(stream, active)
        except TimeoutError:
            return None
        return None if found is not None and found.trouble.code in (NO_QUORUM, UNREACHABLE) else found

    async def _ask(self, stream: DeclaredStream, active: bool) -> Finding | None:
        name = stream.name
        # A stream with replicas answers once a majority has elected its leader.
        silent = NO_QUORUM if stream.config["num_replicas"] > 1 else UNREACHABLE
        info: dict[str, Any] = {}
        try:
            info = await Stream(self._connection, name).info()
            self._compare(name, info["created"])
            cluster = info.get("cluster") or {}
            if cluster and not cluster.get("leader"):
                self._explain(name)
                return Finding(Trouble(name, NO_QUORUM, "the stream has no leader"), False)
            before = self._broker.unanswered.get(name, 0)
            if self._may_purge(stream, active) and await self._purge_nothing(name):
                # A majority has agreed and the store has purged: earlier publishes were left unanswered for another reason,
                # such as a leader that had lost its majority.
                self._explain(name, before)
            if active and (subject := await self._forbidden_subject(name)):
                return Finding(Trouble(name, FORBIDDEN, f"NATS does not allow this user to publish to {subject}"), True)
            if active and stream.name == self._bucket.stream:
                await self._bucket.put(self._key, b"1", PROBE_TTL)
            return self._unanswered(name, info)
        except Refused as refusal:
            code = code_of(refusal)
            if code == STREAM_MISSING and active:
                return await self._restore(stream)
            if code == NO_QUORUM:
                self._explain(name)
            text = refusal.description if code != STREAM_MISSING else "the stream does not exist"
            return Finding(Trouble(name, code, text), code != NO_QUORUM)
        except Forbidden as refusal:
            return Finding(Trouble(name, FORBIDDEN, str(refusal)), True)
        except NoResponders:
            if not info:
                return Finding(Trouble(name, UNREACHABLE, "JetStream does not answer"), False)
            self._explain(name)
            return Finding(Trouble(name, silent, "the stream does not answer"), False)
        except Timeout:
            self._explain(name)
            return Finding(Trouble(name, silent, "the stream does not answer"), False)

    def _explain(self, name: str, count: int | None = None) -> None:
        """Discards unanswered publishes, or `count` of them, as evidence of a write error that the stream has kept."""
        left = self._broker.unanswered.pop(name, 0) - count if count is not None else 0
        if left > 0:
            self._broker.unanswered[name] = left
        else:
            self._stuck.pop(name, None)

    def _compare(self, name: str, created: str) -> None:
        known, self._created[name] = self._created.get(name, created), created
        if known != created:
            log.error(
                "stream was deleted and created again; its readers start over",
                extra={"stream": name, "since": created},
            )
            for listener in self._listeners:
                listener(name)

    def _may_purge(self, stream: DeclaredStream, active: bool) -> bool:
        if stream.config["storage"] == "memory":
            return False
        return self._broker.topology.apply_streams or (active and stream.name in PURGEABLE)

    async def _purge_nothing(self, name: str) -> bool:
        """Purges a subject that the stream does not have; returns whether it was purged.

        Raises Refused with the write error that the stream has kept, where there is one.
        """
        try:
            await Stream(self._connection, name).purge(NOTHING)
        except Forbidden:
            return False
        except Refused as refusal:
            # Any other error concerns the purge itself, which an operator may have denied.
            if refusal.err_code in _OF_WRITING:
                raise
            return False
        return True

    async def _forbidden_subject(self, name: str) -> str | None:
        """A subject of a stream to which NATS does not allow this user to publish; None where there is none.

        It is tried by a publish that expects another stream, which JetStream refuses to store. Its subject ends with
        `callboard_probe`, beside the subject that was acknowledged last, so that a core NATS subscriber can recognise it.
        A single subject of an event that is refused concerns only its publishers; of the streams that Callboard itself
        writes to, such as webhook jobs, every subject is needed.
        """
        refused = [each for each in self._connection.refused_publishes.subjects if topology.stream_of(each) == name]
        acknowledged = self._broker.acknowledged.get(name)
        usual = f"{acknowledged.rpartition('.')[0]}.{PROBE}" if acknowledged else PROBES.get(name)
        tried = refused[-1:] if usual is None else [usual] if topology.is_of_events(name) else [*refused[-1:], usual]
        for subject in tried:
            try:
                await self._connection.ask(subject, b"", {"Nats-Expected-Stream": NOTHING})
            except Forbidden:
                return subject
            except (NoResponders, Timeout):
                return None
        self._connection.refused_publishes.allowed(refused)
        return None

    def _unanswered(self, name: str, info: Mapping[str, Any]) -> Finding | None:
        """Whether publishes are left unanswered while the stream stores nothing."""
        silent = self._broker.unanswered.get(name, 0)
        if not silent:
            self._stuck.pop(name, None)
            return None
        cluster = info.get("cluster") or {}
        stands = (info["state"]["last_seq"], info["created"], cluster.get("leader"), cluster.get("leader_since"))
        now = asyncio.get_running_loop().time()
        known, count, at = self._stuck.get(name, (stands, 0, now))
        if known != stands or (count == silent and now - at >= GRACE_SECONDS):
            # The stream has stored another publish or elected a leader. Or nothing was published for a while, as by an edge
            # that is not ready: then the next publishes decide.
            self._explain(name)
            return None
        self._stuck[name] = (stands, silent, at if count == silent else now)
        if silent < SILENT_PUBLISHES:
            return None
        return Finding(Trouble(name, WRITE_FAILED, "publishes are not acknowledged; see the log of nats-server"), True)

    async def _restore(self, stream: DeclaredStream) -> Finding | None:
        """Creates a missing stream again, where this process may."""
        name = stream.name
        if topology.is_of_events(name):
            # It may be a former one that was deleted, of which this process was not told.
            try:
                await self._broker.layouts.read_leader()
            except BrokerError as fault:
                text = f"the stream does not exist, and whether events go to others is not known: {fault}"
                return Finding(Trouble(name, STREAM_MISSING, text), False)
            if name not in {shard.stream for shard in self._broker.layout.current.shards}:
                return None
        if not self._broker.topology.apply_streams and stream.config["storage"] != "memory":
            text = "the stream does not exist; `callboard streams apply` makes it"
            return Finding(Trouble(name, STREAM_MISSING, text), True)
        try:
            await provisioning.create(self._connection, stream)
        except BrokerError as fault:
            return Finding(Trouble(name, STREAM_MISSING, f"the stream cannot be made again: {fault}"), True)
        log.error("stream was missing; created it again, empty", extra={"stream": name})
        self.recreated[name] = self.recreated.get(name, 0) + 1
        self._broker.unanswered.pop(name, None)
        return None
