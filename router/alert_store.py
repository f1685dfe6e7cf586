"""Keeps alerts in the bucket ALERTS, changed by compare-and-set, and publishes the event of each change exactly once.

A change and its event are stored by one write: the record's outbox holds the event until it is published and taken out by a
second write. Whoever dies between the two leaves it there, and `publish_left` of the alerts actor completes it: under the same
`Nats-Msg-Id`, and where the dedup window may be over only after a look into the stream. So an event is neither lost nor
stored twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec

from router.alerts import MAX_OUTBOX, AlertRecord, PendingEvent, confirm, entry_key, entry_of, events
from router.broker import Broker
from router.bucket_cache import BucketCache
from router.clock import wall
from router.errors import BadInput, Conflict
from router.event import Event
from router.nats.bucket import Bucket, Entry, WriteGuard, read_through
from router.stored import decoder
from router.topology import ALERTS

log = logging.getLogger(__name__)

# A week, as long as its events are kept: after that a resolved alert is forgotten.
KEEP_RESOLVED = 7 * 86_400.0
# Writers of one alert are people and one actor: more conflicts than this in a row are no race.
MAX_CONFLICTS = 20
# So long whoever wrote an event has to publish it before another does, in seconds.
LEFT_AFTER = 5.0
# The clocks of two machines may differ by so much, in seconds.
SKEW = 10.0
NS = 1_000_000_000

Transition = Callable[[AlertRecord | None], AlertRecord | None]
Heard = Callable[[AlertRecord | None, str], None]

_decode = decoder(AlertRecord, ALERTS)
_encode = msgspec.json.Encoder(enc_hook=str).encode


def _record(key: str, value: bytes | None) -> AlertRecord | None:
    """The record of an entry; None for one that does not belong there."""
    record = _decode(key, value)
    if record is None or entry_key(record.rule, record.key) == entry_of(record.id) == key:
        return record
    log.warning("stored alert is invalid and is ignored", extra={"bucket": ALERTS, "key": key})
    return None


class AlertStore:
    """All alerts, which follow the bucket."""

    def __init__(
        self, broker: Broker, guard: WriteGuard | None = None, changed: Heard | None = None, keep: float = KEEP_RESOLVED
    ) -> None:
        """`changed(record or None, entry)` is called at each change, whoever made it. `keep` is in seconds."""
        self.ready = asyncio.Event()
        self._broker = broker
        self._bucket = Bucket(broker.connection, ALERTS, guard)
        self._records: BucketCache[str, AlertRecord] = BucketCache()
        self._unpublished: set[str] = set()
        self._changed = changed
        self._keep = keep

    @property
    def known(self) -> Mapping[str, AlertRecord]:
        """Every alert by the name of its entry. Those that were resolved long ago may still be among them."""
        return self._records.values

    async def run(self) -> None:
        """Follows the bucket until cancelled."""
        await self._bucket.watch(self._heard, "*.*", ready=self.ready.set, renewed=self._renewed)

    async def all(self) -> list[AlertRecord]:
        """Every alert that is kept. Raises Timeout where a process that has just started cannot read them."""
        await read_through(self.ready, ALERTS)
        now = wall.now_ns()
        return [each for each in self.known.values() if each.is_active or now - each.updated < self._keep * NS]

    async def find(self, id: str) -> AlertRecord | None:
        """The alert of an id as the bucket's leader has it; None where there is none, or a newer episode took its place."""
        if not (key := entry_of(id)):
            return None
        record = await self._read(key)
        return record if record is not None and record.id == id else None

    async def change(self, rule: str, key: str, transition: Transition) -> AlertRecord | None:
        """Applies a transition to the alert of a rule and a dedup key, and publishes its event; as `change_entry`."""
        return await self.change_entry(entry_key(rule, key), transition)

    async def change_entry(self, key: str, transition: Transition) -> AlertRecord | None:
        """Applies a transition by compare-and-set and publishes its event; returns the record as it is then.

        `transition` is called again with the newer record where another writer was first; what it raises is passed on.
        Raises BrokerError: what was not written did not happen; an event that was written and not published is later.
        """
        for _ in range(MAX_CONFLICTS):
            record, changed = await self._changed_record(key, transition)
            if changed is None or changed is record:
                return record
            if len(changed.outbox) > MAX_OUTBOX and record is not None:
                await self._publish(key, record)
                continue
            try:
                await self._write(key, changed)
            except Conflict:
                await self._read(key)
                await asyncio.sleep(random.uniform(0, 0.01))
                continue
            return await self._publish(key, changed)
        raise Conflict(409, 0, f"the alert {key} is changed by somebody else all the time")

    async def _changed_record(self, key: str, transition: Transition) -> tuple[AlertRecord | None, AlertRecord | None]:
        """A record, and what a transition makes of it; raises what the transition does.

        What this process knows may be behind: only a change proves that it is not, for it fails to be written then.
        """
        record = self._records.get(key)
        if record is not None or self.ready.is_set():
            with contextlib.suppress(BadInput):
                changed = transition(record)
                if changed is not None and changed is not record:
                    return record, changed
        record = await self._read(key)
        return record, transition(record)

    async def publish_left(self, after: float = LEFT_AFTER) -> int:
        """Publishes events that whoever wrote them has left for `after` seconds; returns how many alerts had some."""
        due = wall.now_ns() - int(after * NS)
        left = [
            (key, record)
            for key in list(self._unpublished)
            if (record := self._records.get(key)) is not None and record.outbox and record.outbox[0].written <= due
        ]
        for key, record in left:
            log.info("event of an alert was written and not published; publishing it", extra={"alert": record.id})
            await self._publish(key, record)
        return len(left)

    async def _read(self, key: str) -> AlertRecord | None:
        before = self._records.revision(key)
        entry = await self._bucket.latest(key)
        value = entry.value if entry is not None else None
        record = _record(key, value)
        if record is not None or value is None:
            self._records.correct(key, record, entry.revision if entry is not None else before, before)
            self._noted(key)
        return self._records.get(key)

    async def _write(self, key: str, record: AlertRecord) -> int:
        """Writes a record over what is known of its entry. Raises Conflict."""
        ttl = None if record.is_active else self._keep
        value = _encode(record)
        if key in self._records:
            revision = await self._bucket.update(key, value, self._records.revision(key), ttl)
        else:
            revision = await self._bucket.create(key, value, ttl)
        self._take(key, record, revision)
        return revision

    async def _publish(self, key: str, record: AlertRecord) -> AlertRecord:
        """Publishes what lies in a record's outbox, and takes it out."""
        if not record.outbox:
            return record
        for pending in record.outbox:
            for event in events(pending):
                if not await self._is_stored(event, pending):
                    await self._broker.publish(event)
        published = record.outbox
        for _ in range(MAX_CONFLICTS):
            known = self._records.get(key)
            if known is None or (cleared := confirm(known, published)) is known:
                return known or record
            try:
                await self._write(key, cleared)
            except Conflict:
                await self._read(key)
            else:
                return cleared
        # It is published once more, and dropped as a repeat.
        return record

    async def _is_stored(self, event: Event, pending: PendingEvent) -> bool:
        """Whether an event is in the stream already, where a repeat might not be dropped any more."""
        age = (wall.now_ns() - pending.written) / NS
        if age < self._broker.topology.dedup_window - SKEW:
            return False
        for generation in reversed(self._broker.layout.generations):
            stored = self._broker.shard(generation.shard_of(event.subject))
            after, more = 0, True
            since: datetime | None = datetime.fromtimestamp(pending.written / NS - SKEW, UTC)
            while more:
                page = await stored.read(event.subject, after, since=since)
                if any(record.event is not None and record.event.id == event.id for record in page.records):
                    return True
                more, since = page.more and bool(page.records), None
                after = page.records[-1].sequence if page.records else after
        return False

    def _heard(self, entry: Entry, _ready: bool) -> None:
        if entry.value is None:
            if self._records.drop(entry.key, entry.revision):
                self._noted(entry.key)
                if self._changed:
                    self._changed(None, entry.key)
            return
        record = _record(entry.key, entry.value)
        if record is not None:
            self._take(entry.key, record, entry.revision)

    def _take(self, key: str, record: AlertRecord, revision: int) -> None:
        if self._records.put(key, record, revision):
            self._noted(key)
            if self._changed:
                self._changed(record, key)

    def _noted(self, key: str) -> None:
        record = self._records.get(key)
        if record is not None and record.outbox:
            self._unpublished.add(key)
        else:
            self._unpublished.discard(key)

    def _renewed(self) -> None:
        log.warning("the bucket of alerts was deleted; all alerts are forgotten", extra={"bucket": ALERTS})
        self._records.clear()
        self._unpublished.clear()
