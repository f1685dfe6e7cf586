"""Takes what the hub has for one reader: batches into its mailbox, and changes, notices and ends to be written when it comes to it.

Nothing here waits. What is queued is read by `edge.hub.reader`, in the connection's own task, or at once where a socket was taken over.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from typing import Any, ClassVar

from edge import metrics
from edge.disconnect import MISSED, ROTATED, Disconnect
from edge.hub import notices
from edge.hub.batch_mailbox import BatchMailbox
from edge.hub.feed import Feed
from edge.hub.group import WriteGroup
from edge.hub.hub import Hub
from edge.hub.snapshot import SnapshotPages
from edge.settings import SessionSettings
from edge.stats import Stats
from edge.types import Authorization, Batch, Notice, State
from edge.view import FULL, Pace, View
from router.cursor import rest_of_snapshot
from router.live_subscription import NOWHERE
from router.position import Position

_conflated = metrics.dropped.labels("conflated")


class QueuedReader:
    """What waits for one connection, and where that stands."""

    __slots__ = (
        "_ahead", "_beat_due", "_bye", "_hub", "_limits", "_mailbox", "_not_before", "_notices", "_pace", "_resume_from", "_snapshot",
        "_view", "_waiter", "_writing", "authorization", "beats", "epoch", "feed", "group", "position", "reported", "rotates", "says_live",
        "session_id", "share_place", "started", "state", "stats",
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
        # The write group that it is in; None while it is handed batches by itself.
        self.group: WriteGroup | None = None
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
        # And where in the share of its slice whose heartbeats are written together; -1: it sends them by itself.
        self.share_place = -1
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

    def _superseded(self, count: int) -> None:
        self.stats.superseded(count)
        _conflated.inc(count)

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
        """Makes a heartbeat due; one that has been here long enough is asked to come back elsewhere instead."""
        if self.rotates < time.monotonic():
            self.close(ROTATED)
            return
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

    # Where it stands.

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
