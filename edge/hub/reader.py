"""Serves one reader of a session: replay from its cursor, hand-over to live, and back to replay when it is too slow.

A reader is one connection. It holds no queue of its own beyond a small mailbox of batches that are shared with all who
see the same. When a slow consumer's mailbox is full it is emptied and forgotten: the reader is LAGGING, and reads again from
the last event that was written. So a slow client costs constant memory, loses nothing, and delays no other.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar, TypeVar

from edge import metrics
from edge.disconnect import LOST_STORE, MISSED, Disconnect
from edge.hub import notices
from edge.hub.batch_mailbox import BatchMailbox
from edge.hub.feed import Feed, Unsettled
from edge.hub.hub import Hub
from edge.hub.snapshot import SnapshotPages
from edge.settings import SessionSettings
from edge.stats import Stats
from edge.types import Authorization, Batch, Notice, State
from edge.view import FULL, Pace, View
from router.cursor import Start, rest_of_snapshot
from router.errors import BrokerError
from router.live_subscription import NOWHERE
from router.place import Gap
from router.position import Position
from router.replay import Stretch

log = logging.getLogger(__name__)
# The name that the callback guide gives to what manages sessions and deliveries.
_callbacks = logging.getLogger("callback_manager")

# The notice of a reader that has read all there is, where it is asked to say so.
LIVE = "live"

_conflated = metrics.dropped.labels("conflated")


async def run_logged(work: Awaitable[None]) -> bool:
    """Awaits the work of one reader and logs a fault in it, so that no other reader is affected; says whether it was done."""
    try:
        await work
    except Exception:
        log.exception("a reader failed; its connection is closed and its client may come back")
        return False
    return True


class Reader:
    """One connection that reads a session. Iterate it: it yields batches and notices, in the order they are to be written."""

    __slots__ = (
        "_ahead", "_beat_due", "_bye", "_hub", "_limits", "_mailbox", "_not_before", "_notices", "_pace", "_resume_from", "_snapshot",
        "_view", "_waiter", "_writing", "authorization", "beats", "epoch", "feed", "position", "reported", "rotates", "says_live",
        "session_id", "started", "state", "stats",
    )  # fmt: skip

    # What metrics call it. Polls and what is served by plain ASGI come as readers of this class.
    transport_name: ClassVar[str] = "polling"

    def __init__(
        self, hub: Hub, feed: Feed, session_id: str, stats: Stats, limits: SessionSettings, pace: Pace = FULL
    ) -> None:
        self.feed = feed
        self.session_id = session_id
        self.stats = stats
        self.state = State.CONNECTING
        # Up to where all has been written or was not for this reader, in which life of the streams.
        self.position = NOWHERE
        # Whether it has read what this process has not received yet, and what comes is to be compared with its position.
        self._ahead = False
        self.epoch = hub.epoch
        self.started = time.monotonic()
        # Whether it says, by a notice, that it has read all there is.
        self.says_live = False
        self.rotates = self.started + limits.rotate * random.uniform(0.8, 1.0) if limits.rotate else math.inf
        self._hub = hub
        self._limits = limits
        # Made when the first batch must wait: many a reader never needs it.
        self._mailbox: BatchMailbox | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._bye: Disconnect | None = None
        # Where its client is sent back to, before its own position.
        self._resume_from: Position | None = None
        self._beat_due = False
        # Where it is among the heartbeats; -1: nowhere.
        self.beats = -1
        self.reported = NOWHERE
        self._pace = pace
        self._not_before = 0.0
        self._view = feed.view
        self._writing: Batch | None = None
        # What is to be written of the snapshot that it begins with.
        self._snapshot: SnapshotPages | None = None
        # By whose right it reads, where there is authentication; and what is to be sent beside events.
        self.authorization: Authorization | None = None
        self._notices: list[Notice] | None = None

    # Called by the hub; these never wait.

    def offer(self, batch: Batch) -> None:
        """Puts a batch into the mailbox; a full mailbox is emptied, and the reader reads from the store instead."""
        if self._ahead:
            newer = self._unseen(batch)
            if newer is None:
                return
            batch = newer
        if self._mailbox is None:
            self._mailbox = BatchMailbox(self._limits)
        if not (self._mailbox.put(batch) or (self._pace.conflate and self._squeeze(self._mailbox, batch))):
            self.lag()
            self.stats.spills += 1
            metrics.spills.inc()
            return
        self.stats.offered(len(batch))
        self._wake()

    def _unseen(self, batch: Batch) -> Batch | None:
        """What it has not had of a batch, with positions that go on from its own; None where that is nothing.

        This process receives later than the one that its client came from, or than it has read from the store.
        """
        newer = [record for record in batch.records if not self.position.covers(record)]
        self._ahead = not self._hub.position.reaches(self.position)
        if len(self.position.sequences) > 1 and newer:
            trail = self._hub.integrity.live.trail(self._queued_position)
            newer = [record.copied() for record in newer]
            for record in newer:
                trail.add(record)
        if not newer:
            return None
        return batch if len(newer) == len(batch) and newer[0] is batch.records[0] else batch.of(newer)

    @property
    def _queued_position(self) -> Position:
        """Where it stands once it has had what is being written to it, and what waits in its mailbox."""
        waiting = self._mailbox.last if self._mailbox else None
        if waiting is None and self._writing is not None:
            waiting = self._writing.last
        return self.position if waiting is None else self.position.joined(waiting)

    def _squeeze(self, mailbox: BatchMailbox, batch: Batch) -> bool:
        """Conflates what waits together with what comes; says whether it fits now."""
        superseded = mailbox.squeeze(batch, self.feed.conflated)
        if superseded is not None:
            self._superseded(superseded)
        return superseded is not None

    def lag(self) -> None:
        """Leaves the live feed and forgets the mailbox: what it held is read again from the last event written."""
        if self._start_lagging():
            self._wake()

    def _start_lagging(self) -> bool:
        if self.state is not State.LIVE:
            return False
        self._leave_live()
        self.state = State.LAGGING
        self._forget_mailbox()
        return True

    def slow(self) -> None:
        """Leaves the live feed because the session's filter is over its principal's budget; `resume_slowed` must follow."""
        self.stats.slowed += 1
        self._start_lagging()

    def resume_slowed(self, tell: bool) -> None:
        """Goes on where it was slowed; the client may get a notice."""
        if tell:
            self.notify("slowed", notices.slowed(self.cursor))
        self._wake()

    def rewind(self, position: Position) -> None:
        """Sends the client back to a place that it was led past too soon: behind it some events were not received in time.

        On this connection they could only come out of order, or others twice.
        """
        if self.state in (State.CONNECTING, State.CLOSED) or position.reaches(self.position):
            self.lag()
            return
        self.lag()
        self._resume_from = position
        self.close(MISSED)

    def change(self, view: View) -> None:
        """Takes another view from here on; what was queued under the old one is still what was asked for then."""
        self._view = view
        if self.state is State.LIVE:
            self._hub.flush()
            # What was just handed out may have been more than the mailbox holds.
            if self.state is State.LIVE and not self._mailbox:
                self.position = self.position.joined(self._hub.position)
        self.lag()

    def authorize(self, authorization: Authorization | None) -> None:
        """Attaches the authorization under which it reads, whose token ends and may be renewed."""
        if authorization is not None:
            self.authorization = authorization
            authorization.attach(self)

    def notify(self, control: str, body: dict[str, Any]) -> bool:
        """Sends the client a notice; not before `ready`, and then it says no."""
        if self.state in (State.CONNECTING, State.CLOSED):
            return False
        self._notices = [*(self._notices or ()), Notice(control, body)]
        self._wake()
        return True

    def beat(self) -> None:
        """Makes a heartbeat due."""
        self._beat_due = True
        self._wake()

    def close(self, reason: Disconnect) -> None:
        """Ends the reader with a `bye` after what is being written."""
        if self._bye is None:
            self._bye = reason
            self._wake()

    def _leave_live(self) -> None:
        """Is handed nothing any more."""
        self.feed.live.discard(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _forget_mailbox(self) -> None:
        if self._mailbox is not None:
            self.stats.taken_back(self._mailbox.events)
            self._mailbox.clear()

    # Iterated by the transport, in the connection's own task.

    async def read(self, start: Start) -> AsyncGenerator[Batch | Notice, None]:
        """Yields all there is to write, from `ready` to `bye`. The next step says that the last one has been written."""
        try:
            for notice in await self._begin(start):
                yield notice
            while self._bye is None:
                async for step in self._next():
                    yield step
            yield self._farewell(self._bye)
        except BrokerError:
            yield self._farewell(LOST_STORE)
        finally:
            self.end()

    async def _begin(self, start: Start) -> list[Notice]:
        """Finds where it begins; returns what is to be said first. Raises BrokerError."""
        if start.snapshot:
            found = await self._hub.recovery.snapshot(start, self.feed.view)
            self._snapshot = SnapshotPages(found, self.feed.view, self._limits)
            self.position = self.reported = self._snapshot.before
            self.epoch, gap = self._hub.epoch, found.gap
        else:
            place = await self._hub.recovery.place(start, self.feed)
            self.position, self.epoch, gap = place.after, self._hub.epoch, place.gap
        self._connected(gap, start)
        ready = self._ready(gap, start)
        return [ready, self._gap(gap)] if gap else [ready]

    def _connected(self, gap: Gap | None, start: Start) -> None:
        """Notes that it was found where it begins; `ready` is next."""
        self.state = State.REPLAYING
        notices.count_recovery(gap, start)
        self._say("reader connected")

    def end(self) -> None:
        """Leaves the hub; what was not written is not counted as sent."""
        self._leave_live()
        self._forget_mailbox()
        if self._writing is not None:
            self.stats.taken_back(len(self._writing))
            self._writing = None
        if self.authorization is not None:
            self.authorization.leave()
        if self.state not in (State.CONNECTING, State.CLOSED):
            self._say("reader gone")
        self.state = State.CLOSED

    async def _next(self) -> AsyncGenerator[Batch | Notice, None]:
        if self._notices:
            queued, self._notices = self._notices, None
            for notice in queued:
                yield notice
            return
        if self.state is not State.LIVE:
            if self._beat_due:
                # A long replay in which nothing is for this client is no silence: it moves the client's cursor.
                yield self._beat()
            async for step in self._catch_up():
                yield step
            return
        if self._mailbox:
            if self._pace.max_rate and (early := self._not_before - time.monotonic()) > 0:
                await self._wait(early)
                return
            batch = self._fetch(self._mailbox)
            self._writing = batch
            yield batch
            self._wrote(batch)
            return
        if self._beat_due:
            self._hub.flush()
            if self._mailbox or self.state is not State.LIVE:
                return
            # The mailbox is empty and the reader live: all that was received so far has been written or was not for it.
            self.position = self.position.joined(self._hub.position)
            yield self._beat()
            return
        await self._wait()

    def _beat(self) -> Notice:
        """A heartbeat; a client whose events are all filtered out gets its cursor moved instead."""
        self._beat_due = False
        control = "heartbeat" if self.position == self.reported else "position"
        self.reported = self.position
        return self._notice(control)

    def _fetch(self, mailbox: BatchMailbox) -> Batch:
        """Takes the next batch out of the mailbox; a paced reader takes all there is, as one."""
        if self._pace == FULL:
            return mailbox.pop()
        if self._pace.max_rate:
            self._not_before = self._next_write(1 / self._pace.max_rate)
        return self._conflated(Batch(mailbox.clear(), self._hub.epoch, unencodable=self._hub.unencodable))

    @staticmethod
    def _next_write(period: float) -> float:
        """When a paced reader writes again: all of one rate at the same times, so that they write the same windows."""
        return (round(time.monotonic() / period) + 1) * period

    def _conflated(self, batch: Batch) -> Batch:
        if not self._pace.conflate:
            return batch
        window = self.feed.conflated(batch)
        self._superseded(len(batch) - len(window))
        return window

    def _superseded(self, count: int) -> None:
        self.stats.superseded(count)
        _conflated.inc(count)

    async def _catch_up(self) -> AsyncGenerator[Batch | Notice, None]:
        """One step of replay, or the hand-over to live."""
        await self._hub.integrity.steady(self._limits.store_patience)
        if self._snapshot is not None:
            for step in self._of_snapshot(self._snapshot):
                yield step
            return
        # It may change again while this is waited for.
        while self._view != self.feed.view:
            joined = await self._hub.join(self._view)
            left, self.feed = self.feed, joined
            await self._hub.leave(left)
        if (place := self._hub.recovery.moved(self.position, self.epoch)) is not None:
            self.position, self.epoch = place.after, self._hub.epoch
            if place.gap is not None:
                yield self._gap(place.gap)
        # From here to LIVE nothing may wait: what is received in between would be lost.
        remembered = self._hub.recovery.remembered(self.feed, self.position)
        if remembered is not None and (said := self._join_live(remembered)) is not None:
            for notice in said:
                yield notice
            return
        stretch = remembered or await self._hub.recovery.stretch(self.feed, self.position)
        page = await self._hub.recovery.page(self.feed, self.position, stretch)
        if self._view != self.feed.view or self.epoch != self._hub.epoch or self.state is State.CLOSED:
            # Taken meanwhile: nothing may be shown any more under the old one. Or the stream was recreated.
            return
        if page is not None:
            self.stats.offered(len(page))
            page = self._conflated(page)
            self._writing = page
            yield page
            self._wrote(page)
        self.position = self.position.joined(stretch.upto)
        if remembered is not None:
            # Nothing was waited for: others have their turn between two pages.
            await asyncio.sleep(0)

    def _join_live(self, remembered: Stretch) -> list[Notice] | None:
        """Goes live, where all that comes next was received last; returns what is to be said. None where it must read on first."""
        if remembered.more:
            return None
        settled = self._hub.recovery.page_now(self.feed, self.position, remembered)
        if isinstance(settled, Unsettled):
            return None
        self.state = State.LIVE
        self._ahead = not self._hub.position.reaches(self.position)
        self.feed.live.add(self)
        if settled is not None:
            self.offer(settled)
            return []
        return [self._notice(LIVE)] if self.says_live else []

    def _of_snapshot(self, snapshot: SnapshotPages) -> Iterator[Batch | Notice]:
        """One page of the snapshot, and at its end the cursor behind which all else comes."""
        if self._view != snapshot.view or self.epoch != self._hub.epoch:
            # What it has must not be shown any more, or is of another life: what comes after the last of it is read instead.
            self._snapshot = None
            return
        if records := snapshot.next_page():
            page = Batch(records, self.epoch, True, self._hub.unencodable)
            self.stats.offered(len(page))
            self._writing = page
            yield page
            self._wrote(page)
        if snapshot.done:
            self._snapshot = None
            self.position = self.reported = self.position.joined(snapshot.upto)
            yield self._notice("position")

    def _wrote(self, batch: Batch) -> None:
        self._writing = None
        self.position = self.reported = batch.last
        self.stats.written(len(batch))

    async def _wait(self, seconds: float | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self._wake) if seconds is not None else None
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer:
                timer.cancel()

    # The notices of this reader.

    @property
    def view(self) -> View:
        """The view under which it is served just now."""
        return self.feed.view

    @property
    def queued(self) -> tuple[int, int]:
        """How many events wait in the mailbox, and their bytes."""
        return (self._mailbox.events, self._mailbox.size) if self._mailbox is not None else (0, 0)

    @property
    def cursor(self) -> str:
        """Where its client goes on if it is cut off now."""
        if self._snapshot is not None:
            return rest_of_snapshot(self._hub.recovery.cursor(self._snapshot.upto, self.epoch), self._snapshot.shown)
        return self._hub.recovery.cursor(self.position, self.epoch)

    def _say(self, what: str) -> None:
        if _callbacks.isEnabledFor(logging.DEBUG):
            about = {"session": self.session_id, "transport": self.transport_name, "cursor": self.cursor}
            why = {} if self._bye is None else {"reason": self._bye.reason}
            _callbacks.debug(what, extra={**about, **why, "seconds": round(time.monotonic() - self.started, 3)})

    def _ready(self, gap: Gap | None, start: Start) -> Notice:
        said = notices.ready(self._hub.recovery, self.session_id, self.cursor, start, gap, self._period)
        if self._snapshot is not None:
            said.body["snapshot"] = self._snapshot.said
        return said

    @property
    def _period(self) -> float:
        """How often its client gets a heartbeat, in seconds."""
        beats = self._hub.heartbeats
        return beats.shortest if self.beats < 0 else beats.period(self.beats)

    def _gap(self, gap: Gap) -> Notice:
        self.stats.gaps += 1
        return notices.lost(self._hub.recovery, gap, self.cursor)

    def _notice(self, control: str) -> Notice:
        return notices.place(control, self.cursor)

    def _farewell(self, reason: Disconnect) -> Notice:
        # Before `ready` there is no place of ours to come back to; the client keeps the one it came with.
        if self.state is State.CONNECTING:
            return notices.bye(reason, None)
        if self._resume_from is None:
            return notices.bye(reason, self.cursor)
        place = self._resume_from.met(self.position)
        return notices.bye(reason, self._hub.recovery.cursor(place, self.epoch))


R = TypeVar("R", bound=Reader)


@asynccontextmanager
async def open_reader(
    hub: Hub, view: View, session_id: str, stats: Stats, pace: Pace = FULL, *, kind: type[R]
) -> AsyncIterator[R]:
    """Opens a reader of a view; its events are received from here on. Raises BrokerError."""
    feed = await hub.join(view)
    reader = kind(hub, feed, session_id, stats, hub.settings, pace)
    hub.enter(reader)
    try:
        yield reader
    finally:
        reader.end()
        hub.exit(reader)
        await hub.leave(reader.feed)
