"""Stores records of EVENTS that are no events, or malformed ones, as dead letters: one for each,
however often and by whichever part it is found.

The hub, the replay and the fan-out skip such records and report them here. They are stored in the background with the
reason; the record itself stays in EVENTS until it runs out of retention.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque

from edge import metrics
from router.broker import Broker
from router.deadletter import ingest_subject
from router.deadletters import DeadLetters
from router.errors import BrokerError, Refused
from router.layout import Shard
from router.record import Record
from router.topology import EVENTS

log = logging.getLogger(__name__)

# So many records, or bytes of them, wait to be stored; more are read again from EVENTS when there is room.
MAX_WAITING = 1000
MAX_BYTES = 16 * 1024 * 1024
# Records that are known to have a dead letter; the oldest are forgotten.
MAX_KNOWN = 10_000
PAUSE_SECONDS = 1.0

_Key = tuple[str, int, int]


class Undecodable:
    """The records that this process found and could not decode."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._dead = DeadLetters(broker)
        self._waiting: deque[tuple[Record, str]] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        # Records found here, and records that have a dead letter.
        self._known: OrderedDict[_Key, None] = OrderedDict()
        self._stored: OrderedDict[_Key, None] = OrderedDict()
        # Up to this dead letter it is known what has been stored, by any process.
        self._read_upto = 0
        # By shard, from the first to the last record for which there was no room.
        self._missed: dict[Shard, tuple[int, int]] = {}

    def found(self, record: Record) -> None:
        """Takes a record whose `fault` says what is wrong with it. Never waits and never raises; repeats are dropped.

        One that is an event all the same is a record that a loop failed at.
        """
        reason = record.reason if record.event is None else "fault"
        key = _key(record)
        if key in self._known:
            return
        _note(self._known, key)
        metrics.undecodable.labels(reason).inc()
        if len(self._waiting) < MAX_WAITING and self._bytes + len(record.payload) <= MAX_BYTES:
            self._waiting.append((record, reason))
            self._bytes += len(record.payload)
        else:
            first, last = self._missed.get(record.shard, (record.sequence, record.sequence))
            self._missed[record.shard] = min(first, record.sequence), max(last, record.sequence)
            del self._known[key]
        self._wake.set()

    async def run(self) -> None:
        """Stores until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                record, reason = self._waiting[0]
                await self._store(record, reason)
                self._waiting.popleft()
                self._bytes -= len(record.payload)
            while self._missed:
                await self._read_again(*self._missed.popitem())

    async def _store(self, record: Record, reason: str) -> None:
        """Stores one record, again and again while NATS does not answer."""
        while True:
            try:
                if not await self._is_stored(record):
                    await self._add(record, reason)
                return
            except Refused as refusal:
                log.error(
                    "NATS refused a dead letter; it is not stored",
                    extra={"sequence": record.sequence, "fault": str(refusal)},
                )
                return
            except BrokerError as fault:
                log.debug(
                    "a dead letter was not stored; it is stored again",
                    extra={"sequence": record.sequence, "fault": str(fault)},
                )
                await asyncio.sleep(PAUSE_SECONDS)

    async def _add(self, record: Record, reason: str) -> None:
        await self._dead.add_undecodable(
            record.shard.stream,
            record.sequence,
            record.shard.stored(record.subject),
            record.payload,
            fault=record.fault,
            source="edge",
            reason=reason,
        )
        log.warning(
            "a record of EVENTS is not an event; it is stored as a dead letter",
            extra={"sequence": record.sequence, "fault": record.fault},
        )

    async def _is_stored(self, record: Record) -> bool:
        """Whether a record has a dead letter already, perhaps from long before the dedup window. Raises BrokerError."""
        more = True
        while more:
            page = await self._dead.read(after=self._read_upto, pattern=ingest_subject(EVENTS))
            for letter in page.deadletters:
                self._read_upto = letter.sequence
                _note(self._stored, (letter.origin.stream, letter.origin.sequence, hash(letter.payload)))
            more = page.more and bool(page.deadletters)
        return _key(record) in self._stored

    async def _read_again(self, shard: Shard, between: tuple[int, int]) -> None:
        """Reads the range of a shard in which records were found that had no room. Raises nothing but cancellation."""
        first, last = between
        after = first - 1
        while after < last:
            try:
                page = await self._broker.shard(shard).read(">", after)
            except BrokerError:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            for record in page.records:
                after = record.sequence
                if record.event is None and _key(record) not in self._known:
                    _note(self._known, _key(record))
                    await self._store(record, record.reason)
            if not page.records:
                return


def _note(known: OrderedDict[_Key, None], key: _Key) -> None:
    known[key] = None
    if len(known) > MAX_KNOWN:
        known.popitem(last=False)


def _key(record: Record) -> _Key:
    # With the bytes: a stream that was deleted and created again counts from one.
    return record.shard.stream, record.sequence, hash(record.payload)
