"""This file is where one reader of a session is served: replay from its cursor, hand-over to live, spill when it is slow.

A reader is one connection. It holds no queue of its own beyond a small mailbox of batches that are shared with all who
see the same. When the mailbox is full it is emptied and forgotten: the reader is LAGGING, and reads again from the last
event that was written. So a slow client costs constant memory, loses nothing, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any, ClassVar, TypeVar

from edge import metrics
from edge.disconnect import LOST_STORE, MISSED, Disconnect
from edge.hub.conflation import conflate
from edge.hub.hub import Feed, Hub
from edge.settings import SessionSettings
from edge.stats import Stats
from edge.types import Authorization, Batch, Notice, State
from edge.view import FULL, Pace, View
from router.codec import rfc3339
from router.cursor import Start
from router.errors import BrokerError
from router.record import Record
from router.replay import Gap

log = logging.getLogger(__name__)

SLOWED = "the filters of this principal take too much time: events come later, all of them and in order"

_conflated = metrics.dropped.labels("conflated")


async def unharmed(work: Awaitable[None]) -> bool:
    """Awaits what one reader does; a fault in it is logged and stays this reader's own. Says whether there was none."""
    try:
        await work
    except Exception:
        log.exception("a reader failed")
        return False
    return True


class Reader:
    """One connection that reads a session. Iterate it: it yields batches and notices, in the order they are to be written."""

    __slots__ = (
        "_back",
        "_bye",
        "_due",
        "_hub",
        "_limits",
        "_mailbox",
        "_mailbox_bytes",
        "_mailbox_events",
        "_not_before",
        "_notices",
        "_pace",
        "_view",
        "_wake",
        "_writing",
        "authorization",
        "epoch",
        "feed",
        "leaves",
        "position",
        "session_id",
        "started",
        "state",
        "stats",
        "told",
    )

    # What metrics call it. Polls and what is served by plain ASGI come as readers of this class.
    transport_name: ClassVar[str] = "polling"

    def __init__(
        self, hub: Hub, feed: Feed, session_id: str, stats: Stats, limits: SessionSettings, pace: Pace = FULL
    ) -> None:
        self.feed = feed
        self.session_id = session_id
        self.stats = stats
        self.state = State.CONNECTING
        # Up to where all has been written or was not for this reader, in which life of the stream.
        self.position = 0
        self.epoch = hub.epoch
        self.started = time.monotonic()
        self.leaves = self.started + limits.rotate * random.uniform(0.8, 1.0) if limits.rotate else math.inf
        self._hub = hub
        self._limits = limits
        # A list, for it is empty nearly always, and a deque is ten times the size of an empty list.
        self._mailbox: list[Batch] = []
        self._mailbox_events = 0
        self._mailbox_bytes = 0
        self._wake: asyncio.Future[None] | None = None
        self._bye: Disconnect | None = None
        self._back: int | None = None
        self._due = False
        self.told = 0
        self._pace = pace
        self._not_before = 0.0
        self._view = feed.view
        self._writing: Batch | None = None
        # By whose right it reads, where people are told apart; and what is to be said to it beside events.
        self.authorization: Authorization | None = None
        self._notices: list[Notice] | None = None

    # Called by the hub; these never wait.

    def offer(self, batch: Batch) -> None:
        """Puts a batch into the mailbox; a full mailbox is emptied, and the reader reads from the store instead."""
        if batch.records[0].sequence <= self.position:
            # This process hears later than the one the client came from: it has these already.
            newer = [record for record in batch.records if record.sequence > self.position]
            if not newer:
                return
            batch = Batch(newer, batch.epoch, batch.replayed, batch.unencodable)
        if (
            self._mailbox_events + len(batch) > self._limits.mailbox_events
            or self._mailbox_bytes + batch.size > self._limits.mailbox_bytes
        ):
            if self._pace.conflate and self._squeeze(batch):
                return
            self.lag()
            self.stats.spills += 1
            metrics.spills.inc()
            return
        self._mailbox.append(batch)
        self._mailbox_events += len(batch)
        self._mailbox_bytes += batch.size
        self.stats.offered(len(batch))
        self._rouse()

    def _squeeze(self, batch: Batch) -> bool:
        """Conflates what waits together with what comes; says whether it fits now."""
        records = [record for waiting in self._mailbox for record in waiting.records] + batch.records
        squeezed = Batch(conflate(records), batch.epoch, unencodable=batch.unencodable)
        if len(squeezed) > self._limits.mailbox_events or squeezed.size > self._limits.mailbox_bytes:
            return False
        self.stats.offered(len(batch))
        self._superseded(len(records) - len(squeezed))
        self._mailbox = [squeezed]
        self._mailbox_events, self._mailbox_bytes = len(squeezed), squeezed.size
        self._rouse()
        return True

    def lag(self) -> None:
        """Leaves the live feed and forgets the mailbox: what it held is read again from the last event written."""
        if self._fall_back():
            self._rouse()

    def _fall_back(self) -> bool:
        if self.state is not State.LIVE:
            return False
        self._step_off()
        self.state = State.LAGGING
        self._forget_mailbox()
        return True

    def slow(self) -> None:
        """Leaves the live feed because the session's filter is over its principal's budget; `resume_slowed` must follow."""
        self.stats.slowed += 1
        self._fall_back()

    def resume_slowed(self, tell: bool) -> None:
        """Goes on where it was slowed; the client may be told."""
        if tell:
            self.say(
                "slowed",
                {
                    "reason": "filter_budget",
                    "detail": SLOWED,
                    "cursor": self.cursor,
                    "server_time": rfc3339(time.time_ns()),
                },
            )
        self._rouse()

    def rewind(self, sequence: int) -> None:
        """Sends the client back to a place that it was led past too soon: behind it some events were not heard in time.

        On this connection they could only come out of order, or others twice.
        """
        if self.state in (State.CONNECTING, State.CLOSED) or self.position <= sequence:
            self.lag()
            return
        self.lag()
        self._back = sequence
        self.close(MISSED)

    def change(self, view: View) -> None:
        """Takes another view from here on; what was queued under the old one is still what was asked for then."""
        self._view = view
        if self.state is State.LIVE:
            self._hub.flush()
            # What was just handed out may have been more than the mailbox holds.
            if self.state is State.LIVE and not self._mailbox:
                self.position = max(self.position, self._hub.position)
        self.lag()

    def authorize(self, authorization: Authorization | None) -> None:
        """Is read by the right of somebody whose token ends, and may be renewed."""
        if authorization is not None:
            self.authorization = authorization
            authorization.attach(self)

    def say(self, control: str, body: dict[str, Any]) -> bool:
        """Tells the client something in band; not before `ready`, and then it says no."""
        if self.state in (State.CONNECTING, State.CLOSED):
            return False
        self._notices = [*(self._notices or ()), Notice(control, body)]
        self._rouse()
        return True

    def beat(self) -> None:
        """Makes a heartbeat due."""
        self._due = True
        self._rouse()

    def close(self, reason: Disconnect) -> None:
        """Ends the reader with a `bye` after what is being written."""
        if self._bye is None:
            self._bye = reason
            self._rouse()

    def _step_off(self) -> None:
        """Is handed nothing any more."""
        self.feed.live.pop(self, None)

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _forget_mailbox(self) -> None:
        self.stats.taken_back(self._mailbox_events)
        self._mailbox.clear()
        self._mailbox_events = self._mailbox_bytes = 0

    # Iterated by the transport, in the connection's own task.

    async def read(self, start: Start) -> AsyncGenerator[Batch | Notice, None]:
        """Yields all there is to write, from `ready` to `bye`. The next step says that the last one has been written."""
        try:
            place = await self._hub.place(start, self.feed)
            self.position, self.epoch = place.after, self._hub.epoch
            self.state = State.REPLAYING
            yield self._ready(place.gap, start)
            if place.gap:
                yield self._gap(place.gap)
            while self._bye is None:
                async for step in self._next():
                    yield step
            yield self._farewell(self._bye)
        except BrokerError:
            yield self._farewell(LOST_STORE)
        finally:
            self.end()

    def end(self) -> None:
        """Leaves the hub; what was not written is not counted as sent."""
        self._step_off()
        self._forget_mailbox()
        if self._writing is not None:
            self.stats.taken_back(len(self._writing))
            self._writing = None
        if self.authorization is not None:
            self.authorization.leave()
        self.state = State.CLOSED

    async def _next(self) -> AsyncGenerator[Batch | Notice, None]:
        if self._notices:
            notices, self._notices = self._notices, None
            for notice in notices:
                yield notice
            return
        if self.state is not State.LIVE:
            if self._due:
                # A long replay in which nothing is for this client is no silence: it moves the client's cursor.
                yield self._beat()
            async for step in self._catch_up():
                yield step
            return
        if self._mailbox:
            if self._pace.max_rate and (early := self._not_before - time.monotonic()) > 0:
                await self._wait(early)
                return
            batch = self._fetch()
            self._writing = batch
            yield batch
            self._wrote(batch)
            return
        if self._due:
            self._hub.flush()
            if self._mailbox or self.state is not State.LIVE:
                return
            # The mailbox is empty and the reader live: all that was heard so far has been written or was not for it.
            self.position = max(self.position, self._hub.position)
            yield self._beat()
            return
        await self._wait()

    def _beat(self) -> Notice:
        """A heartbeat; a client whose events are all filtered out gets its cursor moved instead."""
        self._due = False
        control = "heartbeat" if self.position == self.told else "position"
        self.told = self.position
        return self._notice(control)

    def _fetch(self) -> Batch:
        """Takes the next batch out of the mailbox; a paced reader takes all there is, as one."""
        if self._pace == FULL:
            batch = self._mailbox.pop(0)
            self._mailbox_events -= len(batch)
            self._mailbox_bytes -= batch.size
            return batch
        if self._pace.max_rate:
            self._not_before = time.monotonic() + 1 / self._pace.max_rate
        records = [record for waiting in self._mailbox for record in waiting.records]
        self._mailbox.clear()
        self._mailbox_events = self._mailbox_bytes = 0
        return self._hub.batch(self._conflated(records))

    def _conflated(self, records: list[Record]) -> list[Record]:
        if not self._pace.conflate:
            return records
        kept = conflate(records)
        self._superseded(len(records) - len(kept))
        return kept

    def _superseded(self, count: int) -> None:
        self.stats.superseded(count)
        _conflated.inc(count)

    async def _catch_up(self) -> AsyncGenerator[Batch | Notice, None]:
        """One step of replay, or the hand-over to live."""
        await self._hub.steady(self._limits.store_patience)
        if self._view != self.feed.view:
            joined = await self._hub.join(self._view)
            left, self.feed = self.feed, joined
            await self._hub.leave(left)
        if (place := self._hub.moved(self.position, self.epoch)) is not None:
            self.position, self.epoch = place.after, self._hub.epoch
            if place.gap is not None:
                yield self._gap(place.gap)
        # From here to LIVE nothing may wait: what is heard in between would be lost.
        heard = self._hub.recent(self.feed, self.position)
        if heard is not None and not heard.more:
            settled = self._hub.page_now(self.feed, self.position, heard)
            if not isinstance(settled, Enum):
                self.state = State.LIVE
                self.feed.live[self] = None
                if settled is not None:
                    self.offer(settled)
                return
        stretch = heard or await self._hub.stretch(self.feed, self.position)
        page = await self._hub.page(self.feed, self.position, stretch)
        if self._view != self.feed.view or self.epoch != self._hub.epoch or self.state is State.CLOSED:
            # Taken meanwhile: nothing may be shown any more under the old one. Or the stream was made anew.
            return
        if page is not None:
            self.stats.offered(len(page))
            if self._pace.conflate:
                page = Batch(self._conflated(page.records), page.epoch, True, page.unencodable)
            self._writing = page
            yield page
            self._wrote(page)
        self.position = max(self.position, stretch.upto)
        if heard is not None:
            # Nothing was waited for: others have their turn between two pages.
            await asyncio.sleep(0)

    def _wrote(self, batch: Batch) -> None:
        self._writing = None
        self.position = self.told = batch.last
        self.stats.written(len(batch))

    async def _wait(self, seconds: float | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = loop.call_later(seconds, self._rouse) if seconds is not None else None
        try:
            await self._wake
        finally:
            self._wake = None
            if timer:
                timer.cancel()

    # What the server says about the connection.

    @property
    def view(self) -> View:
        """The view under which it is served just now."""
        return self.feed.view

    @property
    def owed(self) -> tuple[int, int]:
        """How many events wait in the mailbox, and their bytes."""
        return self._mailbox_events, self._mailbox_bytes

    @property
    def cursor(self) -> str:
        return self._hub.cursor(self.position, self.epoch)

    def _ready(self, gap: Gap | None, start: Start) -> Notice:
        metrics.recoveries.labels("gap" if gap else "recovered" if start.cursor else "fresh").inc()
        return Notice(
            "ready",
            {
                "session_id": self.session_id,
                "cursor": self.cursor,
                "earliest": self._hub.cursor(max(self._hub.first - 1, 0)),
                "recovered": start.cursor is not None and gap is None,
                "heartbeat_seconds": self._limits.heartbeat,
                "server_time": rfc3339(time.time_ns()),
            },
        )

    def _gap(self, gap: Gap) -> Notice:
        self.stats.gaps += 1
        reason = "foreign_cursor" if gap.reset else "beyond_retention"
        metrics.gaps.labels(reason).inc()
        return Notice(
            "gap",
            {
                "from": self._hub.cursor(gap.first),
                "to": self._hub.cursor(gap.last),
                "reset": gap.reset,
                "reason": reason,
                "cursor": self.cursor,
            },
        )

    def _notice(self, control: str) -> Notice:
        return Notice(control, {"cursor": self.cursor, "server_time": rfc3339(time.time_ns())})

    def _farewell(self, reason: Disconnect) -> Notice:
        body: dict[str, Any] = {
            "reason": reason.reason,
            "code": reason.code,
            "reconnect": reason.reconnect,
            "delay_ms": int(reason.delay * 1000),
        }
        # Before `ready` there is no place of ours to come back to; the client keeps the one it came with.
        if self.state is not State.CONNECTING:
            place = self.position if self._back is None else min(self._back, self.position)
            body["cursor"] = self._hub.cursor(place, self.epoch)
        return Notice("bye", body)


R = TypeVar("R", bound=Reader)


@asynccontextmanager
async def open_reader(
    hub: Hub, view: View, session_id: str, stats: Stats, pace: Pace = FULL, *, kind: type[R]
) -> AsyncIterator[R]:
    """Opens a reader of a view; its events are heard from here on. Raises BrokerError."""
    feed = await hub.join(view)
    reader = kind(hub, feed, session_id, stats, hub.settings, pace)
    hub.readers.add(reader)
    try:
        yield reader
    finally:
        hub.readers.discard(reader)
        reader.end()
        await hub.leave(reader.feed)
