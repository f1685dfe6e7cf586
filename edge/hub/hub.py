"""Hands the events that one process receives to all its readers: matched once per view, encoded once per encoder.

Per event and view: one look-up and one append. Per tick and reader: one `offer` of a batch that is shared with every other
reader of the same records. Nothing else happens per connection.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable

from edge import metrics
from edge.disconnect import Disconnect
from edge.filters.evaluation import Filtering
from edge.filters.idle import IdleStretches
from edge.filters.matching import Matching
from edge.hub.feed import Feed
from edge.hub.followers import Followers
from edge.hub.heartbeat_slice import BEATS_AT_ONCE
from edge.hub.heartbeats import Heartbeats
from edge.hub.integrity import Integrity, Renewal
from edge.hub.recent import Recent
from edge.hub.recovery import ReaderRecovery
from edge.hub.slowed import SlowedReaders
from edge.settings import SessionSettings
from edge.types import Batch, Subscriber
from edge.view import View
from router import tracing
from router.broker import Broker
from router.coalescing import coalesced_sleep, until_multiple
from router.cursor import FOREIGN
from router.errors import BrokerError
from router.filter import Activation
from router.layout import Layout
from router.live_subscription import Loss
from router.position import Position
from router.record import Record
from router.replay import Replay
from router.subject import overlap

log = logging.getLogger(__name__)

SWEEP_SECONDS = 2.0
# A flush that took a millisecond keeps the next one away for three: so writing leaves most of a process to receiving.
REST = 3.0
MAX_REST = 0.005


class Hub:
    """Broadcasts what one process receives to its readers; one per process."""

    def __init__(
        self,
        broker: Broker,
        settings: SessionSettings | None = None,
        undecodable: Callable[[Record], None] = lambda _record: None,
        filtering: Filtering | None = None,
    ) -> None:
        """`undecodable` is called with each record that is no event, from the read loop too."""
        self.settings = settings or SessionSettings()
        self.readers: set[Subscriber] = set()
        # How many there are by transport, and those outside write groups: the others are live and have nothing left to write.
        self.counts: Counter[str] = Counter()
        self.apart: set[Subscriber] = set()
        self.heartbeats = Heartbeats(self.settings.heartbeat)
        self.filtering = filtering or Filtering()
        self.idle = IdleStretches()
        self.recent = Recent()
        self._replay = Replay(broker, undecodable)
        self.integrity = Integrity(
            broker,
            self._replay,
            self.recent,
            self._receive,
            flush=self.flush,
            interrupt=self._interrupt,
            resume=self._resume,
        )
        self.recovery = ReaderRecovery(
            broker,
            self._replay,
            self.recent,
            self.integrity,
            self.filtering,
            self.settings,
            flush=self.flush,
            unencodable=self.unencodable,
        )
        self._live = self.integrity.live
        self.followers = Followers(self._live)
        self._feeds: dict[View, Feed] = {}
        self._matching: Matching[Feed] = Matching()
        # The feeds that have something pending.
        self._dirty: list[Feed] = []
        self._slowed = SlowedReaders(self.filtering)
        # How many events this tick has received so far, and when the first of them was published.
        self._received = 0
        self._oldest = 0
        # When the next batches may go out.
        self._rested = 0.0
        self._joining = asyncio.Lock()
        # Whether there may be readers: without any no heartbeat is due.
        self._occupied = asyncio.Event()
        self._undecodable = undecodable

    @property
    def epoch(self) -> str:
        """Which life of the stream this is."""
        return self.integrity.epoch

    @property
    def position(self) -> Position:
        """Up to where everything was received."""
        return self._live.position

    @property
    def layout(self) -> Layout:
        """Which streams the positions here are of."""
        return self._live.layout

    async def run(self) -> None:
        """Keeps the hub in step with the store until cancelled: repairs after a loss, heartbeats, position."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_in_step())
            group.create_task(self._keep_beating())

    async def _keep_in_step(self) -> None:
        last_check = time.monotonic()
        while True:
            period = self.heartbeats.shortest
            await self.integrity.watch(until_multiple(min(SWEEP_SECONDS, period)))
            # A sweep may come a little early.
            if time.monotonic() - last_check >= 0.95 * period:
                last_check = time.monotonic()
                await self.integrity.check_position()

    async def _keep_beating(self) -> None:
        """Sends heartbeats to some of the readers at each tick, so that all have theirs in time and no tick is long."""
        while True:
            if not self.readers:
                self._occupied.clear()
                await self._occupied.wait()
            # A process that was stopped for a while does not make up for it.
            await coalesced_sleep(self.heartbeats.tick)
            await self.beat()

    async def beat(self) -> None:
        """Sends the heartbeats that are due at this tick; other work passes after each hundred."""
        # Before heartbeats, all that was received is handed out: they say up to where a client has everything.
        self.flush()
        sent = 0
        for due in self.heartbeats.due():
            for count in due.beat(lambda: self.position):
                sent += count
                if sent >= BEATS_AT_ONCE:
                    sent = 0
                    await asyncio.sleep(0)
                    self.flush()

    # What is received

    def _receive(self, record: Record) -> None:
        try:
            self._take(record)
        except Exception as fault:  # noqa: BLE001 - logged by `_failed`
            self._failed(record, fault, "receive")
        self.followers.receive(record)

    def unencodable(self, record: Record, fault: Exception) -> None:
        """Counts a record that could not be encoded for its readers, and has it kept as a dead letter. Never raises."""
        self._failed(record, fault, "encode")

    def _failed(self, record: Record, fault: Exception, loop: str) -> None:
        log.error(
            "a record could not be delivered; readers go on behind it, and it becomes a dead letter",
            exc_info=fault,
            extra={"sequence": record.sequence, "loop": loop},
        )
        metrics.record_faults.labels(loop).inc()
        record.fault = repr(fault)
        self._undecodable(record)

    def _take(self, record: Record) -> None:
        event = record.event
        if event is None:
            self._undecodable(record)
            return
        self.recent.add(record)
        if event.trace is not None and tracing.recorder is not None:
            tracing.tell("hear", "consumer", event.trace, tracing.begin(event.trace), event.time, event=event.id)
        match = self._matching.find(record.subject, event.type, event.partial)
        seen: Activation | None = None
        for feed in match.keys:
            if feed.view.dynamic:
                if not feed.live:
                    # A reader that is not live yet, or no longer, reads this event again and evaluates the filter then.
                    continue
                if seen is None:
                    seen = self.filtering.prepare(record, event, match.wanted)
                verdict = self.filtering.look(feed.view, seen)
                if verdict is None:
                    self._slowed.slow(feed)
                if not verdict:
                    continue
            if not feed.pending:
                self._dirty.append(feed)
            feed.pending.append(record)
        if not self._received:
            self._flush_soon()
            self._oldest = event.time
        self._received += 1

    def _flush_soon(self) -> None:
        """Flushes at the end of this tick, or where readers are many and events frequent, some ticks later.

        A write costs the same for one event and for ten: a process that writes all the time has no time to collect.
        """
        rest = self._rested - time.monotonic()
        if rest <= 0:
            asyncio.get_running_loop().call_soon(self.flush)
        else:
            asyncio.get_running_loop().call_later(rest, self.flush)

    def flush(self) -> None:
        """Hands what was collected to every live reader; feeds with the same records share one batch."""
        if self._received:
            received, self._received = self._received, 0
            metrics.received.add(received)
            # The first of a tick has waited longest; the others are no older than it was.
            age = time.time() - self._oldest / 1e9
            metrics.receive_seconds.observe_many(age if age > 0 else 0.0, received)
        if not self._dirty:
            return
        # Not the loop's time, which may stand still for as long as a tick takes.
        started = time.monotonic()
        dirty, self._dirty = self._dirty, []
        failed = False
        epoch = self.integrity.epoch
        # By the records' identities, which hold for as long as this tick.
        shared: dict[tuple[int, ...], Batch] = {}
        for feed in dirty:
            records, feed.pending = feed.pending, []
            if not feed.live:
                continue
            key = tuple(map(id, records))
            batch = shared.get(key)
            if batch is None:
                batch = shared[key] = Batch(records, epoch, unencodable=self.unencodable)
                self._replay.checks.note_event(records[-1])
            begun = time.time_ns() if tracing.recorder is not None else 0
            try:
                feed.live.deliver(batch, self.settings.mailbox_bytes)
            except Exception:
                # A fault of ours; readers that were not reached read again, and the other feeds have theirs.
                log.exception("a batch could not be handed out; every reader reads from the event store again")
                failed = True
            if tracing.recorder is not None:
                _trace(batch, begun, len(feed.live))
        ended = time.monotonic()
        self._rested = ended + min((ended - started) * REST, MAX_REST)
        if failed:
            self.integrity.suspect("a batch could not be handed out")

    # Where events may have been missed

    def _interrupt(self, loss: Loss | None) -> None:
        """Sends live readers back to reading until it is known where the stream stands.

        A reader that was led past the loss comes back before it; one that stands before it only reads on from there.
        """
        for reader in tuple(self.readers):
            if loss is not None and any(overlap(loss.pattern, pattern) for pattern in reader.view.patterns):
                reader.rewind(loss.after)
            else:
                reader.lag()
        for feed in self._feeds.values():
            feed.forget()

    def _resume(self, renewal: Renewal) -> None:
        """Begins anew where the stream stands."""
        if renewal.anew:
            self.idle.clear()
        if renewal.rolled_back:
            for reader in self.readers:
                reader.epoch = FOREIGN
        elif not renewal.anew and renewal.former != self.epoch:
            # There are more streams than before, and the others are as they were: readers go on where they stand.
            for reader in self.readers:
                if reader.epoch == renewal.former:
                    reader.epoch = self.epoch
        for feed in self._feeds.values():
            feed.since = renewal.last
        self.followers.suspect()

    # Readers come and go

    def enter(self, reader: Subscriber, tells_period: bool = False) -> None:
        """Takes in a connection, which gets heartbeats from here on; `tells_period` says whether its client is told how often."""
        if reader not in self.readers:
            self.counts[reader.transport_name] += 1
        self.readers.add(reader)
        self.apart.add(reader)
        self._occupied.set()
        reader.beats = self.heartbeats.enter(reader, tells_period)

    def exit(self, reader: Subscriber) -> None:
        """Forgets a connection that has ended. Harmless the second time."""
        if reader in self.readers:
            self.counts[reader.transport_name] -= 1
            self.readers.discard(reader)
            self.apart.discard(reader)
        if reader.beats >= 0:
            self.heartbeats.leave(reader, reader.beats)
            reader.beats = -1

    async def join(self, view: View) -> Feed:
        """Enters a reader into the feed of a view; its events are received from here on. Raises BrokerError."""
        if (feed := self.join_now(view)) is not None:
            return feed
        # A reader that leaves needs the same lock: it must not be held while an absent store is waited for.
        return await self.integrity.ask(lambda: self._enter(view), self.settings.store_patience)

    def join_now(self, view: View) -> Feed | None:
        """The same without waiting, where its events are received already; else None."""
        feed = self._feeds.get(view)
        if feed is None:
            if self._joining.locked() or not self.integrity.is_steady:
                return None
            since = self._live.want_now(view.patterns)
            if since is None:
                return None
            feed = self._make_feed(view, since)
        feed.readers += 1
        return feed

    def _make_feed(self, view: View, since: Position) -> Feed:
        feed = self._feeds[view] = Feed(view)
        feed.since = since
        self._matching.put(feed, view)
        return feed

    async def _enter(self, view: View) -> Feed:
        async with self._joining:
            feed = self._feeds.get(view)
            if feed is None:
                feed = self._make_feed(view, await self._live.want(view.patterns))
            feed.readers += 1
            return feed

    async def leave(self, feed: Feed) -> None:
        """Takes a reader that has ended, or goes on under another view, out of its feed."""
        if self.leave_now(feed):
            await self.drop(feed)

    def leave_now(self, feed: Feed) -> bool:
        """The same without waiting; says whether `drop` must follow."""
        feed.readers -= 1
        if feed.readers:
            return False
        return self._joining.locked() or self._forget(feed)

    async def drop(self, feed: Feed) -> None:
        """Ends what is received for a feed, if still nobody reads it."""
        async with self._joining:
            if not feed.readers:
                self._forget(feed)
            try:
                await self._live.settle()
            except BrokerError:
                log.info(
                    "NATS is away; the subscription of a view without readers is ended later",
                    extra={"patterns": feed.view.patterns},
                )

    def _forget(self, feed: Feed) -> bool:
        """Matches nothing for a feed any more; says whether subscriptions are to be changed. Harmless the second time."""
        if self._feeds.get(feed.view) is not feed:
            return False
        del self._feeds[feed.view]
        self._matching.discard(feed)
        return self._live.unwant_now(feed.view.patterns)

    def change_session(self, session_id: str, view: View) -> None:
        """Gives every reader of one session another view; those with an authorization get it from that."""
        for reader in tuple(self.readers):
            if reader.session_id == session_id and reader.authorization is None and reader.view != view:
                reader.change(view)

    def close_session(self, session_id: str, reason: Disconnect) -> None:
        """Ends every reader of one session."""
        for reader in tuple(self.readers):
            if reader.session_id == session_id:
                reader.close(reason)


def _trace(batch: Batch, begun: int, readers: int) -> None:
    """Tells of the traced events of a batch that they were written."""
    for record in batch.records:
        event = record.event
        if event is not None and event.trace is not None:
            span = tracing.begin(event.trace)
            tracing.tell("deliver", "producer", event.trace, span, begun, event=event.id, readers=readers)
