"""Keeps records of EVENTS that are no events as dead letters: one letter for each, whoever meets it and however often.

The hub, the replay and the fan-out pass such records over and tell of them here. What is taken is buried in the background
with the reason; the record itself stays in EVENTS until its time is over.
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
from router.record import Record
from router.subject import STORED
from router.topology import EVENTS

log = logging.getLogger(__name__)

# So many records, or bytes of them, wait to be buried; what comes beyond is read again from EVENTS when there is room.
MOST_WAITING = 1000
MOST_BYTES = 16 * 1024 * 1024
# Records that are known to have a letter; the oldest are forgotten.
MOST_KNOWN = 10_000
PAUSE_SECONDS = 1.0

_Key = tuple[int, int]


class Undecodable:
    """The records that this process met and could not decode."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._dead = DeadLetters(broker)
        self._waiting: deque[tuple[Record, str]] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        # Records met here, and records that have a letter.
        self._known: OrderedDict[_Key, None] = OrderedDict()
        self._buried: OrderedDict[_Key, None] = OrderedDict()
        # Up to this dead letter it is known what has been buried, by whomever.
        self._letters = 0
        # From the first to the last record for which there was no room.
        self._missed: tuple[int, int] | None = None

    def found(self, record: Record) -> None:
        """Takes a record whose `fault` says what is wrong with it. Never waits and never raises; repeats are dropped.

        One that is an event all the same is a record that a loop failed at.
        """
        reason = "decode_error" if record.event is None else "fault"
        key = _key(record)
        if key in self._known:
            return
        _note(self._known, key)
        metrics.undecodable.labels(reason).inc()
        if len(self._waiting) < MOST_WAITING and self._bytes + len(record.payload) <= MOST_BYTES:
            self._waiting.append((record, reason))
            self._bytes += len(record.payload)
        else:
            first, last = self._missed or (record.sequence, record.sequence)
            self._missed = min(first, record.sequence), max(last, record.sequence)
            del self._known[key]
        self._news.set()

    async def run(self) -> None:
        """Buries until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                record, reason = self._waiting[0]
                await self._insist(record, reason)
                self._waiting.popleft()
                self._bytes -= len(record.payload)
            if self._missed is not None:
                await self._read_again()

    async def _insist(self, record: Record, reason: str) -> None:
        """Buries one record, again and again while the store does not answer."""
        while True:
            try:
                if not await self._has_letter(record):
                    await self._bury(record, reason)
                return
            except Refused as refusal:
                log.error("a dead letter was refused", extra={"sequence": record.sequence, "fault": str(refusal)})
                return
            except BrokerError as fault:
                log.debug("a dead letter waits for NATS", extra={"sequence": record.sequence, "fault": str(fault)})
                await asyncio.sleep(PAUSE_SECONDS)

    async def _bury(self, record: Record, reason: str) -> None:
        await self._dead.add_undecodable(
            EVENTS,
            record.sequence,
            STORED + record.subject,
            record.payload,
            fault=record.fault,
            source="edge",
            reason=reason,
        )
        log.warning(
            "a record that is no event is a dead letter", extra={"sequence": record.sequence, "fault": record.fault}
        )

    async def _has_letter(self, record: Record) -> bool:
        """Whether somebody has buried a record already, perhaps long before the dedup window. Raises BrokerError."""
        more = True
        while more:
            page = await self._dead.read(after=self._letters, pattern=ingest_subject(EVENTS))
            for letter in page.deadletters:
                self._letters = letter.sequence
                _note(self._buried, (letter.origin.sequence, hash(letter.payload)))
            more = page.more and bool(page.deadletters)
        return _key(record) in self._buried

    async def _read_again(self) -> None:
        """Reads the stretch of EVENTS in which records were met that had no room. Raises nothing but cancellation."""
        assert self._missed is not None
        (first, last), self._missed = self._missed, None
        after = first - 1
        while after < last:
            try:
                page = await self._broker.read(">", after)
            except BrokerError:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            for record in page.records:
                after = record.sequence
                if record.event is None and _key(record) not in self._known:
                    _note(self._known, _key(record))
                    await self._insist(record, "decode_error")
            if not page.records:
                return


def _note(known: OrderedDict[_Key, None], key: _Key) -> None:
    known[key] = None
    if len(known) > MOST_KNOWN:
        known.popitem(last=False)


def _key(record: Record) -> _Key:
    # With the bytes: a stream that was made anew counts from one again.
    return record.sequence, hash(record.payload)
