"""Hands the events that one process hears to all its readers: matched once per view, encoded once per wire.

Per event and view: one look-up and one append. Per tick and reader: one `offer` of a batch that is shared with every other
reader of the same records. Nothing else happens per connection.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import NamedTuple, TypeVar

from edge import metrics
from edge.disconnect import ROTATED, Disconnect
from edge.filters.evaluation import Filtering
from edge.filters.idle import IdleStretches
from edge.filters.matching import Matching
from edge.hub.followers import Followers
from edge.hub.group import Row
from edge.hub.meter import Meter
from edge.hub.recent import Recent
from edge.settings import SessionSettings
from edge.stats import Stats
from edge.types import Batch, State, Subscriber, Wire
from edge.view import View
from router import tracing
from router.broker import Broker, StreamState
from router.cursor import FOREIGN, UNKNOWN, Cursor, Start, token
from router.errors import BrokerError, NoResponders, Timeout
from router.filter import Activation
from router.live import UNTOLD, Live, Loss
from router.record import Record
from router.replay import Gap, Place, Replay, Stretch, place_of
from router.subject import overlap

log = logging.getLogger(__name__)

# 16 pages of a feed in the form they are written: a crowd that comes back reads, matches and encodes once.
SHARED_PAGES = 16
SWEEP_SECONDS = 2.0
# So many times that all began anew, and what was heard before is not compared with the store yet.
REMEMBERED = 4
# So many heartbeats at a time: about a millisecond, and then events may pass.
SWEEP_READERS = 200
# A flush that took a millisecond keeps the next one away for three: so writing leaves most of a process to what is heard.
REST = 3.0
MOST_REST = 0.005
# Who waits on a plain request is told sooner than who holds a stream.
REQUEST_PATIENCE = 5.0
# The readers of a feed are told that it is slowed at most this often.
SLOWED_EVERY = 10.0
# Readers that begin to read again in one turn of the loop: each takes up to half a millisecond of it.
SLOWED_AT_ONCE = 2

T = TypeVar("T")


class _Heard(NamedTuple):
    """The sequences that were heard between two places."""

    since: int
    upto: int
    sequences: set[int]


class Unsettled(Enum):
    """What stands for a page of which is not known yet what a view shows of it."""

    UNSETTLED = "unsettled"


UNSETTLED = Unsettled.UNSETTLED


class Feed:
    """All readers of one view: who is live, what this tick has for them, and since when everything was heard."""

    __slots__ = ("live", "lock", "pages", "pending", "readers", "rows", "since", "slowed", "view")

    def __init__(self, view: View) -> None:
        self.view = view
        # Those who are handed each batch by themselves, in the order they came, and those who are written to together.
        self.live: dict[Subscriber, None] = {}
        self.rows: dict[Wire, Row] = {}
        self.pending: list[Record] = []
        self.readers = 0
        self.since = 0
        # What this view shows of the stream after one sequence and up to another; None where that is nothing.
        self.pages: dict[tuple[int, int], Batch | None] = {}
        # Held while a page is made, so that readers of the same one make it once.
        self.lock = asyncio.Lock()
        # When its readers were told last that its filter is over the budget.
        self.slowed = -math.inf

    @property
    def watched(self) -> int:
        """How many readers are live."""
        return sum(map(len, self.rows.values()), len(self.live))

    def row(self, wire: Wire, meter: Meter) -> Row:
        """Where those stand abreast who write in one form."""
        if wire not in self.rows:
            self.rows[wire] = Row(wire, meter)
        return self.rows[wire]

    def everyone_live(self) -> list[Subscriber]:
        """All who are live, in rows or apart."""
        return [*self.live, *(lane for row in self.rows.values() for lane in row.lanes)]

    def deliver(self, batch: Batch, most: int) -> None:
        """Hands a batch to all who are live; to rows in one go, where it has at most so many bytes."""
        # Before anything is written: who steps out of a row meanwhile has had this batch.
        apart = tuple(self.live)
        for row in self.rows.values():
            if batch.size <= most:
                row.write(batch)
            else:
                row.offer(batch)
        for reader in apart:
            reader.offer(batch)


class Hub:
    """The meeting point of what is heard and who listens, one per process."""

    def __init__(
        self,
        broker: Broker,
        settings: SessionSettings | None = None,
        undecodable: Callable[[Record], None] = lambda _record: None,
        filtering: Filtering | None = None,
    ) -> None:
        """`undecodable` is told what was heard or read again and is no event, from the read loop too."""
        self.settings = settings or SessionSettings()
        self.epoch = ""
        self.first = 0
        self.readers: set[Subscriber] = set()
        self.filtering = filtering or Filtering()
        self._broker = broker
        self._replay = Replay(broker, undecodable)
        self._live = Live(broker, self._hear, self._broken)
        self.followers = Followers(self._live)
        self._feeds: dict[View, Feed] = {}
        self._matching: Matching[Feed] = Matching()
        self._dirty: list[Feed] = []
        # Readers that left the live path and have not begun to read again; and whether to tell their clients.
        self._slowed: deque[tuple[Subscriber, bool]] = deque()
        # What this tick has heard so far, and when the first of it was said.
        self._heard = 0
        self._oldest = 0
        # When the next may go out.
        self._rested = 0.0
        self._recent = Recent()
        self.idle = IdleStretches()
        # What was heard before all began anew, for as long as it is not compared with the store.
        self._remembered: deque[_Heard] = deque(maxlen=REMEMBERED)
        self._settled = 0
        # The newest event ever heard of this life of the stream.
        self._reached = 0
        self._steady = asyncio.Event()
        self._suspect = asyncio.Event()
        self._joining = asyncio.Lock()
        self._losses = 0
        self._undecodable = undecodable
        # Counts the times that all began anew: what was read before may not hold any more.
        self.life = 0
        # Counts the streams that were met: the first, and each that was made anew or restored from an older state.
        self.incarnation = 0
        broker.connection.on_loss(self._lost)
        broker.connection.on_reconnect(self._suspect.set)

    @property
    def position(self) -> int:
        """The sequence of the newest event that was heard."""
        return self._live.position

    async def run(self) -> None:
        """Keeps the hub in step with the store until cancelled: repairs after a loss, heartbeats, position."""
        self._suspect.set()
        last_sweep = time.monotonic()
        while True:
            due = last_sweep + self.settings.heartbeat - time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, min(SWEEP_SECONDS, due))):
                    await self._suspect.wait()
            except TimeoutError:
                pass
            if not self._steady.is_set() and self._broker.connection.connected:
                self._suspect.clear()
                try:
                    await self._renew()
                except BrokerError as fault:
                    log.info("the event store is not back yet", extra={"fault": str(fault)})
                    await asyncio.sleep(0.2)
                    self._suspect.set()
            else:
                self._suspect.clear()
            await self._audit()
            if time.monotonic() - last_sweep >= self.settings.heartbeat:
                last_sweep = time.monotonic()
                await self._check_position()
                for place, reader in enumerate(tuple(self.readers), 1):
                    if place % SWEEP_READERS == 0:
                        await asyncio.sleep(0)
                    if reader.leaves < last_sweep:
                        reader.close(ROTATED)
                    else:
                        reader.beat()

    async def _renew(self) -> None:
        """Finds out where the stream stands, and says that all up to there must be read and not awaited."""
        losses = self._losses
        await self._broker.connection.flush()
        state = await self._broker.state()
        if self._losses != losses:
            # What came after that answer may not have been heard; the next connection asks anew.
            self._suspect.set()
            return
        rolled_back = state.epoch == self.epoch and not await self._is_continued(state)
        check = await self._replay.checks.ask(state.last) if state.last >= max(state.first, 1) else UNKNOWN
        if self._losses != losses:
            self._suspect.set()
            return
        if state.epoch != self.epoch or rolled_back:
            self._replay.forget()
            self.idle.clear()
            self._live.acquit()
            self._remembered.clear()
            self.epoch = state.epoch
            self.incarnation += 1
        if rolled_back:
            # A store that has lost its newest events gives their sequences to others: as good as another life. Where the
            # two part is not known, so all readers are told, and read again what the stream holds.
            log.error("the stream was rolled back, all readers begin anew", extra={"last": state.last})
            metrics.rollbacks.inc()
            for reader in self.readers:
                reader.epoch = FOREIGN
        self._replay.checks.doubt()
        self._replay.checks.note(state.last, check)
        self._reached = state.last
        self.first = state.first
        self._settled = 0
        # What was heard since the loss and lies behind `last` stays: nobody will read it from the store.
        self._recent.since = state.last
        self._live.restart(state.last)
        for feed in self._feeds.values():
            feed.since = state.last
        self._steady.set()
        self.followers.doubt()

    async def _is_continued(self, state: StreamState) -> bool:
        """Says whether the stream holds what it held: all that was reached, and at the newest known place the same event.

        Raises BrokerError.
        """
        if state.last < self._reached:
            return False
        newest = self._replay.checks.newest
        if newest is None or not state.first <= newest[0]:
            return True
        if newest[0] > state.last:
            return False
        return await self._replay.checks.ask(newest[0]) in (newest[1], UNKNOWN)

    def check(self, sequence: int) -> int:
        """The check of a place, where it is at hand, else UNKNOWN."""
        checks = self._replay.checks
        check = checks.known(sequence)
        if check == UNKNOWN and self._steady.is_set() and (record := self._recent.at(sequence)) is not None:
            check = record.check
            checks.note(sequence, check)
        return check

    def cursor(self, sequence: int, epoch: str | None = None) -> str:
        """The cursor of a place in this life of the stream, or in the one of a reader."""
        epoch = self.epoch if epoch is None else epoch
        return token(epoch, sequence, self.check(sequence) if epoch == self.epoch else UNKNOWN)

    async def find_cursor(self, sequence: int) -> str:
        """The same; where the check is not at hand, the store is asked. Without an answer the cursor has none."""
        if self._steady.is_set() and self.check(sequence) == UNKNOWN and self.first <= sequence:
            try:
                await self._replay.checks.find(sequence)
            except BrokerError as fault:
                log.debug("the check of a place was not found", extra={"fault": str(fault)})
        return self.cursor(sequence)

    async def _audit(self) -> None:
        """Compares with the store what was heard before all began anew: it could not be told then whether that was all."""
        if not (self._steady.is_set() and self._live.indebted):
            return
        try:
            loss = await self._live.audit(self.first, self._locate)
        except BrokerError:
            return
        if not self._live.indebted:
            self._remembered.clear()
        if loss is not None:
            self._broken("the store has events that were not heard in time", loss)

    async def _check_position(self) -> None:
        """Compares what was heard with the store, and moves the position past events that nobody here asked for.

        Both only as far as the stream had come at the last check: what was stored a heartbeat ago has long been heard.
        """
        await self._audit()
        if not self._steady.is_set():
            return
        try:
            state = await self._broker.state()
        except BrokerError:
            return
        self.first = state.first
        if state.epoch != self.epoch:
            self._broken("the stream was made anew")
            return
        life = self.life
        if (record := self._recent.newest()) is not None and record.sequence <= self.position:
            self._replay.checks.note(record.sequence, record.check)
        try:
            if not await self._is_continued(state):
                # Sequences that were heard after the store answered are beyond its answer, so it is asked once more.
                state = await self._broker.state()
                continued = await self._is_continued(state)
            else:
                continued = True
            if state.last >= max(state.first, 1):
                await self._replay.checks.find(state.last)
        except BrokerError:
            return
        if self.life != life:
            return
        if not continued:
            self._broken("the stream was rolled back")
            return
        try:
            loss = await self._live.verify(state.first, state.last, self._locate)
        except BrokerError:
            return
        if loss is not None:
            self._broken("the store has events that were not heard", loss)
        elif self._steady.is_set():
            self._live.position = max(self._live.position, self._settled)
            self._settled = state.last

    async def _locate(self, pattern: str, after: int, upto: int) -> int | None:
        """Finds the first event that was missed, so that nobody is sent back further than need be. Raises BrokerError.

        See `Live.verify`. Of what lies further back than what is remembered nothing can be told.
        """
        newest = _Heard(self._recent.since, upto, self._recent.sequences())
        known = next((one for one in (*self._remembered, newest) if one.since < upto <= one.upto), None)
        if known is None:
            return UNTOLD
        whole, heard = known.since <= after, known.sequences
        after = max(after, known.since)
        more = True
        while more and after < upto:
            page = await self._broker.read(pattern, after)
            for record in page.records:
                if record.sequence > upto:
                    break
                if record.sequence not in heard:
                    return record.sequence - 1
            more = page.more and bool(page.records)
            after = page.records[-1].sequence if page.records else upto
        return None if whole else UNTOLD

    # What is heard

    def _hear(self, record: Record) -> None:
        try:
            self._take(record)
        except Exception as fault:  # noqa: BLE001 - logged by `_failed`
            self._failed(record, fault, "receive")
        self.followers.hear(record)

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
        self._recent.add(record)
        if event.trace is not None and tracing.recorder is not None:
            tracing.tell("hear", "consumer", event.trace, tracing.begin(event.trace), event.time, event=event.id)
        match = self._matching.find(record.subject, event.type)
        seen: Activation | None = None
        for feed in match.keys:
            if feed.view.dynamic:
                if not feed.watched:
                    # Who is not live yet, or no longer, reads this event again and asks then.
                    continue
                if seen is None:
                    seen = self.filtering.prepare(record, event, match.wanted)
                verdict = self.filtering.look(feed.view, seen)
                if verdict is None:
                    self._slow(feed)
                if not verdict:
                    continue
            if not feed.pending:
                self._dirty.append(feed)
            feed.pending.append(record)
        if not self._heard:
            self._flush_soon()
            self._oldest = event.time
        self._heard += 1

    def _slow(self, feed: Feed) -> None:
        """Takes the readers of a feed off the live path: they read again what they lack, at the pace of their budget."""
        self.filtering.warn(feed.view)
        now = time.monotonic()
        tell = now - feed.slowed >= SLOWED_EVERY
        if tell:
            feed.slowed = now
        if not self._slowed:
            asyncio.get_running_loop().call_soon(self._resume_slowed)
        for reader in feed.everyone_live():
            reader.slow()
            self._slowed.append((reader, tell))

    def _resume_slowed(self) -> None:
        """Lets some of the readers that were slowed go on, a few in each turn of the loop: one event may slow thousands."""
        for _ in range(min(SLOWED_AT_ONCE, len(self._slowed))):
            reader, tell = self._slowed.popleft()
            reader.resume_slowed(tell)
        if self._slowed:
            asyncio.get_running_loop().call_soon(self._resume_slowed)

    def _flush_soon(self) -> None:
        """Flushes at the end of this tick, or where readers are many and events frequent, some ticks later.

        A write costs the same for one event and for ten: who writes all the time has no time to collect.
        """
        rest = self._rested - time.monotonic()
        if rest <= 0:
            asyncio.get_running_loop().call_soon(self.flush)
        else:
            asyncio.get_running_loop().call_later(rest, self.flush)

    def flush(self) -> None:
        """Hands what was collected to every live reader; feeds with the same records share one batch."""
        if self._heard:
            heard, self._heard = self._heard, 0
            metrics.received.add(heard)
            # The first of a tick has waited longest; the others are no older than it was.
            metrics.receive_seconds.observe_many(max(0.0, time.time() - self._oldest / 1e9), heard)
        if not self._dirty:
            return
        # Not the loop's time, which may stand still for as long as a tick takes.
        started = time.monotonic()
        dirty, self._dirty = self._dirty, []
        failed = False
        shared: dict[tuple[int, ...], Batch] = {}
        for feed in dirty:
            records, feed.pending = feed.pending, []
            if not feed.watched:
                continue
            key = tuple(record.sequence for record in records)
            batch = shared.get(key)
            if batch is None:
                batch = shared[key] = Batch(records, self.epoch, unencodable=self.unencodable)
                self._replay.checks.note(batch.last, batch.check)
            begun = time.time_ns()
            try:
                feed.deliver(batch, self.settings.mailbox_bytes)
            except Exception:
                # A fault of ours; whoever was not reached reads again, and the other feeds have theirs.
                log.exception("a batch could not be handed out")
                failed = True
            if tracing.recorder is not None:
                _trace(batch, begun, feed.watched)
        ended = time.monotonic()
        self._rested = ended + min((ended - started) * REST, MOST_REST)
        if failed:
            self._broken("a batch could not be handed out")

    def renew(self, reason: str) -> None:
        """Has all that is known of the stream found out again."""
        self._broken(reason)

    def _lost(self) -> None:
        self._losses += 1
        self._broken("the connection to NATS was lost")

    def _broken(self, reason: str, loss: Loss | None = None) -> None:
        """Something may not have been heard: live readers go back to reading until it is known where the stream stands.

        Who has been led past the loss comes back before it; whoever stands before it only reads on from there.
        """
        if not self._steady.is_set():
            return
        log.warning("events may have been missed, reading again", extra={"reason": reason})
        metrics.possible_losses.inc()
        self.life += 1
        self.flush()
        self._steady.clear()
        self._suspect.set()
        for reader in tuple(self.readers):
            if loss is not None and any(overlap(loss.pattern, pattern) for pattern in reader.view.patterns):
                reader.rewind(loss.after)
            else:
                reader.lag()
        self._reached = max(self._reached, self.position)
        if (newest := self._recent.newest()) is not None:
            self._replay.checks.note(newest.sequence, newest.check)
        self._replay.checks.doubt()
        self._remembered.append(_Heard(self._recent.since, self.position, self._recent.sequences()))
        self._recent.forget()
        for feed in self._feeds.values():
            feed.pages.clear()
        self._live.forget(loss)

    # What readers ask

    async def join(self, view: View) -> Feed:
        """Enters a reader into the feed of a view; its events are heard from here on. Raises BrokerError."""
        feed = self._feeds.get(view)
        if feed is not None:
            feed.readers += 1
            return feed
        # Whoever leaves needs the same lock: nobody may wait for an absent store while holding it.
        return await self._patiently(lambda: self._enter(view))

    async def _enter(self, view: View) -> Feed:
        async with self._joining:
            feed = self._feeds.get(view)
            if feed is None:
                since = await self._live.want(view.patterns)
                feed = self._feeds[view] = Feed(view)
                feed.since = since
                self._matching.put(feed, view)
            feed.readers += 1
            return feed

    async def leave(self, feed: Feed) -> None:
        """Takes a reader that has ended, or goes on under another view, out of its feed."""
        feed.readers -= 1
        if feed.readers == 0:
            async with self._joining:
                if feed.readers == 0 and self._feeds.get(feed.view) is feed:
                    del self._feeds[feed.view]
                    self._matching.discard(feed)
                    try:
                        await self._live.unwant(feed.view.patterns)
                    except BrokerError:
                        log.info("a subscription could not be taken back", extra={"patterns": feed.view.patterns})

    @property
    def is_steady(self) -> bool:
        """Whether it is known where the stream stands, so that readers can be served."""
        return self._steady.is_set()

    async def steady(self, patience: float) -> None:
        """Waits until it is known where the stream stands. Raises Timeout."""
        if self._steady.is_set():
            return
        try:
            async with asyncio.timeout(patience):
                await self._steady.wait()
        except TimeoutError:
            raise Timeout("the event store is away") from None

    async def _patiently(self, ask: Callable[[], Awaitable[T]], patience: float | None = None) -> T:
        """Asks the store, again after each time that it was away, for so many seconds. Raises BrokerError."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self.settings.store_patience if patience is None else patience)
        while True:
            await self.steady(max(0.0, deadline - loop.time()))
            try:
                return await ask()
            except (Timeout, NoResponders):
                if loop.time() >= deadline:
                    raise
            await asyncio.sleep(0.05)

    async def place(self, start: Start, feed: Feed) -> Place:
        """Finds where a reader begins, in this life of the stream. Raises BrokerError."""
        place = await self._place(start, feed)
        if start.foreign and place.gap is None:
            # What its client has read is not known, so all before it may be missing.
            return Place(place.after, Gap(0, place.after, reset=True))
        return place

    async def _place(self, start: Start, feed: Feed) -> Place:
        while True:
            await self.steady(self.settings.store_patience)
            cursor, incarnation = start.cursor, self.incarnation
            if (
                cursor is not None
                and cursor.epoch == self.epoch
                and self.first <= cursor.sequence <= self.position
                and cursor.check in (UNKNOWN, self.check(cursor.sequence))
            ):
                return Place(cursor.sequence, None)
            place = await self._patiently(lambda: self._find(start, feed.view))
            if incarnation == self.incarnation:
                return place

    async def begin(self, start: Start, view: View) -> Place:
        """Finds where a session that is made now begins. Raises BrokerError."""
        return await self._patiently(lambda: self._find(start, view), patience=REQUEST_PATIENCE)

    async def last(self, patterns: tuple[str, ...], count: int) -> list[Record]:
        """Reads the newest events under some patterns, oldest first. Raises BrokerError."""
        place = await self._patiently(lambda: self._replay.place(Start(last=count), patterns), REQUEST_PATIENCE)
        found: list[Record] = []
        after, more = place.after, True
        while more and len(found) < count:
            at = after
            stretch = await self._patiently(lambda: self._replay.stretch(patterns, at, self.position), REQUEST_PATIENCE)  # noqa: B023
            found += stretch.records
            after, more = stretch.upto, stretch.more
        return found[-count:]

    async def _find(self, start: Start, view: View) -> Place:
        state = await self._broker.state()
        self.first = state.first
        place = await self._replay.place(start, view.patterns, state)
        if state.first <= place.after <= state.last and self.check(place.after) == UNKNOWN:
            # The client is given a cursor of this place.
            await self._replay.checks.find(place.after)
        return place

    def moved(self, position: int, epoch: str) -> Place | None:
        """Where a reader that lags goes on in this life of the stream, and what it has lost for ever; None where it stands."""
        if epoch == self.epoch and (position + 1 >= self.first or self.first <= 1):
            return None
        state = StreamState(self.epoch, self.first, max(self.position, position), 0, 0)
        return place_of(Cursor(epoch, position), state)

    def recent(self, feed: Feed, position: int) -> Stretch | None:
        """What comes next for a reader of the events heard last; None where it must read from the store first.

        Where the stretch says that there is no more, the reader has heard all, and may go live at once.
        """
        if not self._steady.is_set() or position < max(self._recent.since, feed.since):
            return None
        # A feed's pending records come with the next flush and must not come twice: hand them out first.
        self.flush()
        return self._recent.after(position, self.settings.mailbox_events, self.settings.mailbox_bytes)

    async def stretch(self, feed: Feed, after: int) -> Stretch:
        """Reads the next matching records from the store. Raises BrokerError."""
        metrics.replays.inc()
        # The stream is known to have come so far; without the feed's own mark a reader of a new pattern could stay
        # for ever below the place from which the pattern is heard.
        known = max(self.position, self._recent.since, feed.since)
        life = self.life
        stretch = await self._patiently(lambda: self._replay.stretch(feed.view.patterns, after, known))
        if stretch.records and life == self.life and self._steady.is_set():
            last = stretch.records[-1]
            self._replay.checks.note(last.sequence, last.check)
        return stretch

    def batch(self, records: list[Record]) -> Batch:
        return Batch(records, self.epoch, unencodable=self.unencodable)

    def behind(self, reader: Subscriber) -> int:
        """How many sequences lie between a reader and what was heard; 0 for one that is owed nothing."""
        if reader.state in (State.REPLAYING, State.LAGGING) or reader.owed[0]:
            return max(0, self.position - reader.position)
        return 0

    def measure(self, sessions: Mapping[str, Stats]) -> None:
        """Notes how far the readers of sessions are behind just now."""
        furthest: dict[str, Subscriber] = {}
        for reader in self.readers:
            if reader.session_id in sessions and self.behind(reader):
                known = furthest.setdefault(reader.session_id, reader)
                if reader.position < known.position:
                    furthest[reader.session_id] = reader
        for session_id, stats in sessions.items():
            last = furthest.get(session_id)
            stats.lag = self.behind(last) if last else 0
            stats.oldest = self.age_behind(last.position) if last else 0.0

    def age_behind(self, sequence: int) -> float:
        """Age in seconds of the oldest event remembered that comes after a sequence; 0 where there is none."""
        record = self._recent.next(sequence)
        event = record.event if record else None
        return max(0.0, time.time() - event.time / 1e9) if event else 0.0

    async def page(self, feed: Feed, after: int, stretch: Stretch) -> Batch | None:
        """What a view shows of a stretch, as one batch that all its readers share; None where that is nothing.

        Raises BrokerError where the filter cannot be evaluated.
        """
        async with feed.lock:
            key = (after, stretch.upto)
            if key not in feed.pages:
                life = self.life
                records = await self.filtering.select(feed.view, stretch.records)
                if life != self.life:
                    # All began anew meanwhile: this page is not for others.
                    return Batch(records, self.epoch, True, self.unencodable) if records else None
                self._keep(feed, key, records)
            return feed.pages[key]

    def page_now(self, feed: Feed, after: int, stretch: Stretch) -> Batch | Unsettled | None:
        """The same without waiting; UNSETTLED where the filter is over its budget."""
        key = (after, stretch.upto)
        if key not in feed.pages:
            records = self.filtering.select_now(feed.view, stretch.records)
            if records is None:
                return UNSETTLED
            self._keep(feed, key, records)
        return feed.pages[key]

    def _keep(self, feed: Feed, key: tuple[int, int], records: list[Record]) -> None:
        if len(feed.pages) >= SHARED_PAGES:
            del feed.pages[next(iter(feed.pages))]
        feed.pages[key] = Batch(records, self.epoch, True, self.unencodable) if records else None

    def close_all(self, reason: Disconnect) -> None:
        """Ends every reader."""
        for reader in tuple(self.readers):
            reader.close(reason)

    def change_session(self, session_id: str, view: View) -> None:
        """Gives every reader of one session another view; those with an authorization are told by that."""
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
