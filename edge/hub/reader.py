"""Serves one reader of a session: replay from its cursor, hand-over to live, and back to replay when it is too slow.

A reader is one connection. It holds no queue of its own beyond a small mailbox of batches that are shared with all who
see the same. When a slow consumer's mailbox is full it is emptied and forgotten: the reader is LAGGING, and reads again from
the last event that was written. So a slow client costs constant memory, loses nothing, and delays no other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

from edge.disconnect import LOST_STORE, Disconnect
from edge.hub import notices
from edge.hub.batch_mailbox import BatchMailbox
from edge.hub.feed import Unsettled
from edge.hub.hub import Hub
from edge.hub.queued_reader import QueuedReader
from edge.hub.snapshot import SnapshotPages
from edge.stats import Stats
from edge.types import Batch, Notice, State
from edge.view import FULL, Pace, View
from router.cursor import Start
from router.errors import BrokerError
from router.place import Gap
from router.replay import Stretch

log = logging.getLogger(__name__)
# The name that the callback guide gives to what manages sessions and deliveries.
_callbacks = logging.getLogger("callback_manager")

# The notice of a reader that has read all there is, where it is asked to say so.
LIVE = "live"


async def run_logged(work: Awaitable[None]) -> bool:
    """Awaits the work of one reader and logs a fault in it, so that no other reader is affected; says whether it was done."""
    try:
        await work
    except Exception:
        log.exception("a reader failed; its connection is closed and its client may come back")
        return False
    return True


class Reader(QueuedReader):
    """One connection that reads a session. Iterate it: it yields batches and notices, in the order they are to be written."""

    __slots__ = ()

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
