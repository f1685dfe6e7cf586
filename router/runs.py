"""Keeps one entry a run in the bucket RUNS, by which each life of a run ends once.

A run may have several lives, one after the other, each with an incarnation: a pod that is restarted begins a new one. All
that changes a run does so by compare-and-set on its entry (`<domain>.<token>`):

1. `begin` makes a new incarnation the living one. The one before is superseded: its terminal event is refused.
2. `end` *claims* the end of the living incarnation: the entry holds the encoded event from then on. Whoever comes second is
   refused with RunEnded. The event is published only then, and marked as stored.

A finisher that dies between claim and publish leaves the event in the entry, and the agent actor publishes it (`settle`). Two
that publish the same claim store one event: both send the same `Nats-Msg-Id`, and the sequence that the claim saw on the
event's subject as `Nats-Expected-Last-Subject-Sequence`, so that the second is refused also after the duplicate window.

A thread that nobody began (`workflow_start`) is a conversation: each answer in it has its own end.

Entries run out by their TTL: 30 days after a life began, 3 days after it ended. ADR 0038 has the reasons.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from router import catalogue
from router.broker import Broker
from router.clock import wall
from router.codec import decode, encode
from router.dedup import of_event
from router.errors import (
    BadEvent,
    BrokerError,
    Conflict,
    NoResponders,
    RunEnded,
    RunSuperseded,
    Timeout,
    TooLarge,
)
from router.event import Event
from router.nats.bucket import Bucket, WriteGuard
from router.nats.headers import header
from router.nats.stream import Ack
from router.stored import decoder
from router.subject import STORED
from router.timing import full_jitter
from router.topology import EVENTS, RUNS

log = logging.getLogger(__name__)

# 30 days: longer than any run that somebody still waits for.
OPEN_SECONDS = 30 * 86400.0
# 3 days: a second end is refused so long, also one that a spool keeps over a weekend.
OVER_SECONDS = 3 * 86400.0
# 32 KiB of a claimed event are kept for the case that its finisher dies; of a larger one, its outcome (`_outcome_of`).
MAX_CLAIM = 32 * 1024
# The newest lives before the present one; a repeat of one of their ends is told from a late end by them.
MAX_EARLIER = 8
# Characters of a text in what is kept of an event that is too large.
MAX_TEXT = 500
# So often another event may come to the subject of an end while that is published.
MAX_TRIES = 20

_OUTCOME = (
    "success", "status", "error", "error_type", "exit_code", "message", "tokens_used", "cost", "total_time", "cancelled",
    "incarnation", "synthesized", "progress",
)  # fmt: skip


class RunEnd(msgspec.Struct, frozen=True, omit_defaults=True):
    """The end of one life of a run: first claimed, then stored as an event."""

    event: str  # its id
    type: str
    status: str  # completed, failed or cancelled
    at: int  # when it was claimed, in ns
    synthesized: bool = False  # by the agent actor, for a producer that was gone
    dedup: str = ""  # the `Nats-Msg-Id`
    after: int = 0  # the newest sequence of its subject when it was claimed
    payload: bytes = b""  # the encoded event, until it is stored
    stored: bool = False
    sequence: int = 0  # in EVENTS; 0 where that is not known


class StopRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """That somebody wants a run to stop, for a producer that asks by its heartbeat."""

    at: int  # ns
    reason: str | None = None
    by: str | None = None


class EarlierLife(msgspec.Struct, frozen=True, omit_defaults=True):
    """A life that is superseded, and the name of its end, where it has one."""

    incarnation: str | None = None
    dedup: str = ""
    sequence: int = 0


class RunEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is agreed on about a run: which life it is in, and whether that is over."""

    incarnation: str | None = None  # None where a run was ended or stopped without having been begun
    started: int = 0  # when this life began, in ns
    resumed: bool = False  # it goes on with the progress of the life before
    lease: float | None = None  # seconds: the ttl of the lease that its producer holds
    ended: RunEnd | None = None
    stop: StopRequest | None = None
    earlier: tuple[EarlierLife, ...] = ()  # oldest first

    def was(self, incarnation: str | None) -> bool:
        """Whether a life of this name is superseded."""
        return incarnation is not None and any(life.incarnation == incarnation for life in self.earlier)


class _Found(NamedTuple):
    entry: RunEntry | None
    revision: int


class _NotStored(Exception):
    """The end of the life before is claimed and not published."""

    def __init__(self, end: RunEnd) -> None:
        self.end = end


class _AlreadyStored(Exception):
    """The event is the end of an earlier life, which was stored then."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence


Change = Callable[[RunEntry | None], RunEntry | None]

_entry = decoder(RunEntry, RUNS)


class RunLedger:
    """Begins and ends lives of runs. All methods take a run as domain and token, and raise BrokerError.

    `timeout` is in seconds: until then an unanswered request is repeated.
    """

    def __init__(self, broker: Broker, guard: WriteGuard | None = None) -> None:
        self._broker = broker
        self._bucket = Bucket(broker.connection, RUNS, guard)

    async def read(self, domain: str, token: str) -> RunEntry | None:
        """Reads the entry of a run as the bucket's leader has it; None where there is none."""
        return (await self._find(f"{domain}.{token}")).entry

    async def begin(
        self,
        domain: str,
        token: str,
        incarnation: str,
        *,
        resumed: bool = False,
        lease: float | None = None,
        started: int | None = None,
        timeout: float = 10.0,
    ) -> RunEntry:
        """Makes an incarnation the living one, before its workflow_start is published; a repeat changes nothing.

        `lease` is the ttl of the lease that its producer is about to hold: a producer that dies before it holds one is found
        by it. `started` (ns) is given for a life that is delivered late, as from a spool: it does not supersede one that has
        begun after it. An end of the former life that was claimed and not published is published first. Raises RunSuperseded
        for an incarnation that has been superseded.
        """
        key = f"{domain}.{token}"
        settled: set[str] = set()

        def change(entry: RunEntry | None) -> RunEntry | None:
            if entry is None:
                return RunEntry(incarnation, started or wall.now_ns(), resumed, lease)
            if entry.incarnation == incarnation:
                return None
            if entry.was(incarnation) or (started is not None and started < entry.started):
                raise RunSuperseded(entry.incarnation)
            if entry.ended is not None and not entry.ended.stored and entry.ended.dedup not in settled:
                raise _NotStored(entry.ended)
            return _next_life(entry, incarnation, started or wall.now_ns(), resumed, lease)

        while True:
            try:
                return await self._change(key, change, timeout)
            except _NotStored as claimed:
                await self._settle(key, claimed.end, timeout)
                settled.add(claimed.end.dedup)

    async def end(
        self,
        event: Event,
        payload: bytes,
        *,
        incarnation: str | None = None,
        synthesized: bool = False,
        dedup: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> Ack:
        """Ends the living incarnation by a terminal event, of which `payload` is the encoding; a repeat is a success.

        The incarnation is that of the event's data where none is given, and the living one where that has none either.
        `dedup` is the event's `Nats-Msg-Id`, where it does not follow from source, subject and id; `headers` are stored with the
        event, unless its finisher dies before it is stored. Raises RunEnded where
        another event has ended this life, RunSuperseded where another incarnation lives, BadEvent for an event that ends
        nothing, TooLarge, and BrokerError: with Timeout the end may be claimed, and the same call finds out.
        """
        status = _status_of(event)
        if len(payload) > (limit := self._broker.largest_event):
            raise TooLarge(len(payload), limit, "the event")
        life = incarnation or _incarnation_of(event)
        name = dedup or of_event(event)
        key = f"{event.subject.domain}.{event.subject.entity}"
        last, _ = await self._last(event.subject)
        claimed = RunEnd(event.id, event.type, status, wall.now_ns(), synthesized, name, last, _bounded(event, payload))

        def claim(entry: RunEntry | None) -> RunEntry | None:
            if entry is None:
                return RunEntry(life, event.time, ended=claimed)
            if entry.ended is not None and entry.ended.dedup == name:
                return None
            for former in entry.earlier:
                if former.dedup == name:
                    raise _AlreadyStored(former.sequence)
            if life is not None and entry.incarnation is not None and life != entry.incarnation:
                raise RunSuperseded(entry.incarnation)
            if entry.ended is not None:
                if life is None and _is_conversation(event, entry):
                    return msgspec.structs.replace(entry, ended=claimed, earlier=_with_former(entry))
                raise _ended(entry.ended)
            return msgspec.structs.replace(entry, incarnation=entry.incarnation or life, ended=claimed)

        try:
            entry = await self._change(key, claim, timeout)
        except _AlreadyStored as stored:
            return Ack(stored.sequence, True)
        assert entry.ended is not None
        if entry.ended.stored:
            return Ack(entry.ended.sequence, True)
        return await self._publish(key, entry.ended, event, payload, timeout, headers)

    async def settle(self, domain: str, token: str, timeout: float = 10.0) -> bool:
        """Publishes an end that was claimed and is not known to be stored; False where there is none."""
        key = f"{domain}.{token}"
        entry = (await self._find(key)).entry
        if entry is None or entry.ended is None or entry.ended.stored:
            return False
        await self._settle(key, entry.ended, timeout)
        return True

    async def note_end(self, event: Event, status: str, incarnation: str | None, timeout: float = 10.0) -> None:
        """Notes a terminal event that reached the stream past the ledger, so that no second one is claimed after it.

        `incarnation` is the life that it ended, by its place in the stream; where another one lives, nothing is noted.
        """
        key, life = f"{event.subject.domain}.{event.subject.entity}", incarnation
        end = RunEnd(event.id, event.type, status, wall.now_ns(), dedup=of_event(event), stored=True)

        def change(entry: RunEntry | None) -> RunEntry | None:
            if entry is None:
                return RunEntry(life, event.time, ended=end)
            if entry.ended is not None or entry.incarnation not in (None, life):
                return None
            return msgspec.structs.replace(entry, incarnation=entry.incarnation or life, ended=end)

        await self._change(key, change, timeout)

    async def hold(
        self, domain: str, token: str, ttl: float, incarnation: str | None = None, timeout: float = 10.0
    ) -> RunEntry:
        """Notes that a run's producer holds a lease of `ttl` seconds, and reads whether it is to stop.

        Writes only where that was not known yet. Raises RunEnded where the run is over, by synthesis too, and RunSuperseded.
        """

        def change(entry: RunEntry | None) -> RunEntry | None:
            if entry is None:
                return RunEntry(incarnation, wall.now_ns(), lease=ttl)
            if incarnation is not None and entry.incarnation not in (None, incarnation):
                raise RunSuperseded(entry.incarnation)
            if entry.ended is not None:
                raise _ended(entry.ended)
            wanted = msgspec.structs.replace(entry, incarnation=entry.incarnation or incarnation, lease=ttl)
            return None if wanted == entry else wanted

        return await self._change(f"{domain}.{token}", change, timeout)

    async def request_stop(
        self, domain: str, token: str, reason: str | None = None, by: str | None = None, timeout: float = 10.0
    ) -> RunEntry:
        """Stores that a run is to stop; its producer's next heartbeat is answered with it. Raises RunEnded."""
        request = StopRequest(wall.now_ns(), reason, by)

        def change(entry: RunEntry | None) -> RunEntry | None:
            if entry is None:
                return RunEntry(None, request.at, stop=request)
            if entry.ended is not None:
                raise _ended(entry.ended)
            return None if entry.stop is not None else msgspec.structs.replace(entry, stop=request)

        return await self._change(f"{domain}.{token}", change, timeout)

    # Compare-and-set

    async def _find(self, key: str) -> _Found:
        """Reads from the leader: a copy that is behind could show the end of a life before."""
        found = await self._bucket.latest(key)
        if found is None:
            return _Found(None, 0)
        return _Found(_entry(key, found.value), found.revision)

    async def _change(self, key: str, change: Change, timeout: float) -> RunEntry:
        """Applies a change to an entry, again where somebody else was faster; returns the entry as it is now.

        `change` returns None where there is nothing to change, and may be called several times: after a write without an
        answer it sees whether that was done.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        tries = 0
        while True:
            tries += 1
            try:
                entry, revision = await self._find(key)
                wanted = change(entry)
                if wanted is None:
                    return entry or RunEntry()
                ttl = OPEN_SECONDS if wanted.ended is None else OVER_SECONDS
                await self._bucket.update(key, msgspec.json.encode(wanted), revision, ttl)
                return wanted
            except (Conflict, Timeout, NoResponders) as fault:
                if loop.time() > deadline:
                    raise fault if not isinstance(fault, Conflict) else Timeout(f"{key} is changed by others") from None
            await asyncio.sleep(full_jitter(tries, 0.01, 0.5))

    # Publishing what is claimed

    async def _publish(
        self,
        key: str,
        end: RunEnd,
        event: Event,
        payload: bytes,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> Ack:
        """Stores the claimed event, once, whoever else does the same."""
        after = end.after
        tries = 0
        while True:
            expected = {**(headers or {}), "Nats-Expected-Last-Subject-Sequence": str(after)}
            try:
                ack = await self._broker.put(event, payload, timeout, dedup=end.dedup, headers=expected)
                break
            except Conflict:
                pass
            # Another event has come to its subject: this one, published by somebody else, or one that was not claimed.
            last, name = await self._last(event.subject)
            if name == end.dedup:
                ack = Ack(last, True)
                break
            tries += 1
            if last == after:
                # The copy that was asked is behind the leader.
                await asyncio.sleep(full_jitter(tries, 0.05, 0.5))
            after = last
            if tries > MAX_TRIES:
                raise Timeout(f"others publish to {event.subject} all the time")
        await self._mark(key, end, ack.sequence)
        return ack

    async def _settle(self, key: str, end: RunEnd, timeout: float) -> None:
        try:
            event = decode(end.payload)
        except BadEvent as fault:
            log.error("claimed end of a run cannot be decoded; it is dropped", extra={"run": key, "fault": str(fault)})
            await self._mark(key, end, 0)
            return
        await self._publish(key, end, event, end.payload, timeout)

    async def _mark(self, key: str, end: RunEnd, sequence: int) -> None:
        """Notes that the claimed event is stored. Where that fails, the agent actor finds the event stored and notes it."""

        def change(entry: RunEntry | None) -> RunEntry | None:
            if entry is None or entry.ended is None or entry.ended.dedup != end.dedup or entry.ended.stored:
                return None
            stored = msgspec.structs.replace(entry.ended, stored=True, sequence=sequence, payload=b"")
            return msgspec.structs.replace(entry, ended=stored)

        try:
            await self._change(key, change, 2.0)
        except BrokerError as fault:
            log.debug("stored end of a run could not be marked", extra={"run": key, "fault": str(fault)})

    async def _last(self, subject: str) -> tuple[int, str]:
        """The sequence and `Nats-Msg-Id` of the newest event of a subject; 0 where there is none."""
        reply = await self._broker.stream(EVENTS).read_last(STORED + subject)
        if reply is None:
            return 0, ""
        return int(header(reply.headers, b"Nats-Sequence") or 0), header(reply.headers, b"Nats-Msg-Id") or ""


def _next_life(entry: RunEntry, incarnation: str, started: int, resumed: bool, lease: float | None) -> RunEntry:
    """The entry of a run whose present life is superseded. A request to stop is for a life, and those that resume it."""
    stop = entry.stop if resumed else None
    return RunEntry(incarnation, started, resumed, lease, stop=stop, earlier=_with_former(entry))


def _with_former(entry: RunEntry) -> tuple[EarlierLife, ...]:
    end = entry.ended
    former = EarlierLife(entry.incarnation, end.dedup if end else "", end.sequence if end else 0)
    return (*entry.earlier, former)[-MAX_EARLIER:]


def _is_conversation(event: Event, entry: RunEntry) -> bool:
    """Whether each end is that of one answer in a thread: of those nothing says when the next one begins."""
    ended = entry.ended
    return event.subject.domain == "thread" and entry.incarnation is None and ended is not None and ended.stored


def _ended(end: RunEnd) -> RunEnded:
    return RunEnded(end.event, end.type, end.status, end.at, end.synthesized)


def _incarnation_of(event: Event) -> str | None:
    said = event.data.get("incarnation")
    return said if isinstance(said, str) and said else None


def _bounded(event: Event, payload: bytes) -> bytes:
    """What an entry holds of a terminal event: all of it, or its outcome where it is too large."""
    if len(payload) <= MAX_CLAIM:
        return payload
    outcome: dict[str, object] = {}
    for name in _OUTCOME:
        value = event.data.get(name)
        if isinstance(value, str):
            outcome[name] = value[:MAX_TEXT]
        elif isinstance(value, (bool, int, float)):
            outcome[name] = value
    return encode(msgspec.structs.replace(event, data={**outcome, "truncated": True}))


def _status_of(event: Event) -> str:
    """Raises BadEvent for an event that ends no run."""
    status = catalogue.ending(event.subject.domain, event.type, event.data)
    if status is None:
        raise BadEvent(f"{event.subject} with the type {event.type} ends no run")
    return status
