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
from router.codec import decode
from router.dedup import of_event
from router.errors import (
    BadEvent,
    BrokerError,
    Conflict,
    NoResponders,
    RunSuperseded,
    Timeout,
    TooLarge,
)
from router.event import Event
from router.last_event import LastEvent, last_event, put_behind
from router.nats.bucket import Bucket, WriteGuard
from router.nats.stream import Ack
from router.run_entry import (
    AlreadyStored,
    EarlierLife,
    RunEnd,
    RunEntry,
    StopRequest,
    bounded,
    claim,
    incarnation_of,
    next_life,
    run_ended,
    take,
)
from router.stored import decoder
from router.timing import full_jitter
from router.topology import EVENTS, RUNS

__all__ = ["EarlierLife", "RunEnd", "RunEntry", "RunLedger", "StopRequest"]

log = logging.getLogger(__name__)

# 30 days: longer than any run that somebody still waits for.
OPEN_SECONDS = 30 * 86400.0
# 3 days: a second end is refused so long, also one that a spool keeps over a weekend.
OVER_SECONDS = 3 * 86400.0
# So often another event may come to the subject of an end while that is published.
MAX_TRIES = 20
START = "workflow_start"


class _Found(NamedTuple):
    entry: RunEntry | None
    revision: int


class _NotStored(Exception):
    """The end of the life before is claimed and not published."""

    def __init__(self, end: RunEnd) -> None:
        self.end = end


Change = Callable[[RunEntry | None], RunEntry | None]

_entry = decoder(RunEntry, RUNS)


class _Entries:
    """The entries of the bucket, each changed by compare-and-set."""

    def __init__(self, broker: Broker, guard: WriteGuard | None) -> None:
        self._bucket = Bucket(broker.connection, RUNS, guard)

    async def find(self, key: str) -> _Found:
        """Reads from the leader: a copy that is behind could show the end of a life before."""
        found = await self._bucket.latest(key)
        if found is None:
            return _Found(None, 0)
        return _Found(_entry(key, found.value), found.revision)

    async def change(self, key: str, apply: Change, timeout: float) -> RunEntry:
        """Applies a change to an entry, again where somebody else was faster; returns the entry as it is now.

        `apply` returns None where there is nothing to change, and may be called several times: after a write without an
        answer it sees whether that was done.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        tries = 0
        while True:
            tries += 1
            try:
                entry, revision = await self.find(key)
                wanted = apply(entry)
                if wanted is None:
                    return entry or RunEntry()
                ttl = OPEN_SECONDS if wanted.ended is None else OVER_SECONDS
                await self._bucket.update(key, msgspec.json.encode(wanted), revision, ttl)
                return wanted
            except (Conflict, Timeout, NoResponders) as fault:
                if loop.time() > deadline:
                    raise fault if not isinstance(fault, Conflict) else Timeout(f"{key} is changed by others") from None
            await asyncio.sleep(full_jitter(tries, 0.01, 0.5))


class RunLedger:
    """Begins and ends lives of runs. All methods take a run as domain and token, and raise BrokerError.

    `timeout` is in seconds: until then an unanswered request is repeated.
    """

    def __init__(self, broker: Broker, guard: WriteGuard | None = None) -> None:
        self._broker = broker
        self._entries = _Entries(broker, guard)

    async def read(self, domain: str, token: str) -> RunEntry | None:
        """Reads the entry of a run as the bucket's leader has it; None where there is none."""
        return (await self._entries.find(f"{domain}.{token}")).entry

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

        def change(entry: RunEntry | None) -> RunEntry | None:
            if entry is None:
                return RunEntry(incarnation, started or wall.now_ns(), resumed, lease)
            if entry.incarnation == incarnation:
                return None
            if entry.was(incarnation) or (started is not None and started < entry.started):
                raise RunSuperseded(entry.incarnation)
            return next_life(entry, incarnation, started or wall.now_ns(), resumed, lease)

        return await self._begin(f"{domain}.{token}", change, timeout)

    async def take(self, domain: str, token: str, incarnation: str, *, lease: float, timeout: float = 10.0) -> RunEntry:
        """Begins a life as `begin` does, but only where the one before is over: of many calls at once, one does.

        Raises RunBusy where a producer holds, or held, the lease of the life before (`router.sdk.agents.threads` asks which), and
        RunSuperseded where a life of this name is over.
        """
        now = wall.now_ns()
        return await self._begin(f"{domain}.{token}", lambda entry: take(entry, incarnation, now, lease), timeout)

    async def _begin(self, key: str, change: Change, timeout: float) -> RunEntry:
        """Applies a change that begins a life, once the end of the one before is stored."""
        settled: set[str] = set()

        def after_the_end(entry: RunEntry | None) -> RunEntry | None:
            wanted, end = change(entry), entry.ended if entry is not None else None
            if wanted is not None and end is not None and not end.stored and end.dedup not in settled:
                raise _NotStored(end)
            return wanted

        while True:
            try:
                return await self._entries.change(key, after_the_end, timeout)
            except _NotStored as claimed:
                await self._settle(key, claimed.end, timeout)
                settled.add(claimed.end.dedup)

    async def start(
        self,
        event: Event,
        payload: bytes,
        incarnation: str,
        *,
        lease: float | None = None,
        late: bool = False,
        dedup: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> Ack:
        """Begins a life by a workflow_start, of which `payload` is the encoding, and stores that; a repeat is a success.

        No start is stored behind that of a life which has superseded its own: each names the one before it. So the order of
        the lives is that of their starts, and the place of its start is what a life is told from a later one by
        (`router.sdk.fence`). `late`: it comes from a spool, and does not supersede a life that has begun after it was said.
        Raises RunSuperseded, TooLarge and BrokerError.
        """
        domain, token, name = event.subject.domain, event.subject.entity, dedup or of_event(event)
        resumed, started = event.data.get("resumed") is True, event.time if late else None
        for tries in range(1, MAX_TRIES):
            # First: a life that supersedes this one behind its `begin` has its start behind this place.
            last = await last_event(self._broker, event.subject)
            await self.begin(domain, token, incarnation, resumed=resumed, lease=lease, started=started, timeout=timeout)
            if last.ack is not None and last.name == name:
                return last.ack
            try:
                return await put_behind(self._broker, last, event, payload, timeout, name, headers, await_right=False)
            except Conflict:
                await asyncio.sleep(full_jitter(tries, 0.01, 0.5))
        raise Timeout(f"others publish to {event.subject} all the time")

    async def last_start(self, domain: str, token: str) -> LastEvent:
        """The newest workflow_start of a run. Raises BrokerError."""
        return await last_event(self._broker, f"{domain}.{token}.{START}")

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
        life = incarnation or incarnation_of(event)
        name = dedup or of_event(event)
        key = f"{event.subject.domain}.{event.subject.entity}"
        last = await last_event(self._broker, event.subject)
        claimed = RunEnd(
            event.id, event.type, status, wall.now_ns(), synthesized, name, last.sequence, last.generation,
            bounded(event, payload),
        )  # fmt: skip

        try:
            entry = await self._entries.change(key, lambda entry: claim(entry, event, life, claimed), timeout)
        except AlreadyStored as stored:
            return Ack(stored.sequence, True, stored.stream or EVENTS)
        assert entry.ended is not None
        if entry.ended.stored:
            return Ack(entry.ended.sequence, True, entry.ended.stream or EVENTS)
        return await self._publish(key, entry.ended, event, payload, timeout, headers)

    async def settle(self, domain: str, token: str, timeout: float = 10.0) -> bool:
        """Publishes an end that was claimed and is not known to be stored; False where there is none."""
        key = f"{domain}.{token}"
        entry = (await self._entries.find(key)).entry
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

        await self._entries.change(key, change, timeout)

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
                raise run_ended(entry.ended)
            wanted = msgspec.structs.replace(entry, incarnation=entry.incarnation or incarnation, lease=ttl)
            return None if wanted == entry else wanted

        return await self._entries.change(f"{domain}.{token}", change, timeout)

    async def request_stop(
        self,
        domain: str,
        token: str,
        reason: str | None = None,
        by: str | None = None,
        incarnation: str | None = None,
        timeout: float = 10.0,
    ) -> RunEntry:
        """Stores that a run, or this life of it alone, is to stop; its producer's next heartbeat is answered with it.

        Raises RunEnded, and RunSuperseded where another life lives.
        """
        request = StopRequest(wall.now_ns(), reason, by)

        def change(entry: RunEntry | None) -> RunEntry | None:
            if entry is None:
                return RunEntry(None, request.at, stop=request)
            if incarnation is not None and entry.incarnation != incarnation:
                raise RunSuperseded(entry.incarnation)
            if entry.ended is not None:
                raise run_ended(entry.ended)
            return None if entry.stop is not None else msgspec.structs.replace(entry, stop=request)

        return await self._entries.change(f"{domain}.{token}", change, timeout)

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
        after = LastEvent(end.after, end.generation)
        tries = 0
        while True:
            try:
                ack = await put_behind(self._broker, after, event, payload, timeout, end.dedup, headers)
                break
            except Conflict:
                pass
            # Another event has come to its subject: this one, published by somebody else, or one that was not claimed. Or the
            # events go to other streams since it was claimed.
            last = await last_event(self._broker, event.subject)
            if last.ack is not None and last.name == end.dedup:
                ack = last.ack
                break
            tries += 1
            if last.is_same(after):
                # The copy that was asked is behind the leader.
                await asyncio.sleep(full_jitter(tries, 0.05, 0.5))
            after = last
            if tries > MAX_TRIES:
                raise Timeout(f"others publish to {event.subject} all the time")
        await self._mark(key, end, ack)
        return ack

    async def _settle(self, key: str, end: RunEnd, timeout: float) -> None:
        try:
            event = decode(end.payload)
        except BadEvent as fault:
            log.error("claimed end of a run cannot be decoded; it is dropped", extra={"run": key, "fault": str(fault)})
            await self._mark(key, end, Ack(0, False))
            return
        await self._publish(key, end, event, end.payload, timeout)

    async def _mark(self, key: str, end: RunEnd, ack: Ack) -> None:
        """Notes that the claimed event is stored. Where that fails, the agent actor finds the event stored and notes it."""

        def change(entry: RunEntry | None) -> RunEntry | None:
            if entry is None or entry.ended is None or entry.ended.dedup != end.dedup or entry.ended.stored:
                return None
            stream = "" if ack.stream == EVENTS else ack.stream
            stored = msgspec.structs.replace(
                entry.ended, stored=True, sequence=ack.sequence, stream=stream, payload=b""
            )
            return msgspec.structs.replace(entry, ended=stored)

        try:
            await self._entries.change(key, change, 2.0)
        except BrokerError as fault:
            log.debug("stored end of a run could not be marked", extra={"run": key, "fault": str(fault)})


def _status_of(event: Event) -> str:
    """Raises BadEvent for an event that ends no run."""
    status = catalogue.ending(event.subject.domain, event.type, event.data)
    if status is None:
        raise BadEvent(f"{event.subject} with the type {event.type} ends no run")
    return status
