"""Detects missed events: compares what a process has received with the store, and begins anew after a loss.

Live copies of events travel at most once. Whatever may be missing is found by the chain of a subject or by counting
(`router.live`), by the position and the check of the newest event (a stream that was rolled back or recreated), or because
the connection was lost. Then every reader goes back to reading from the store until it is known where the stream stands.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from edge import metrics
from edge.hub.recent import Recent
from router.broker import Broker, StreamState
from router.cursor import UNKNOWN
from router.errors import BrokerError, NoResponders, Timeout
from router.live import Live, Loss
from router.record import Record
from router.replay import Replay

log = logging.getLogger(__name__)

# Renewals whose earlier received events are still to be compared with the store.
MAX_REMEMBERED = 4

T = TypeVar("T")


class Renewal(NamedTuple):
    """Where the stream stands after a loss: all up to `last` must be read, and is not received any more.

    `anew` says that it is another stream than before, or an older state of it; `rolled_back` that it is the latter.
    """

    last: int
    anew: bool
    rolled_back: bool


class _Received(NamedTuple):
    """The sequences that were received between two positions."""

    since: int
    upto: int
    sequences: set[int]


class Integrity:
    """What one process knows of the stream: where it stands, and whether everything was received."""

    def __init__(
        self,
        broker: Broker,
        replay: Replay,
        recent: Recent,
        receive: Callable[[Record], None],
        *,
        flush: Callable[[], None],
        interrupt: Callable[[Loss | None], None],
        resume: Callable[[Renewal], None],
    ) -> None:
        """`receive` is called with each event, from the read loop. None of these may block.

        Where events may have been missed, `flush` hands out what was received before, and `interrupt(loss)` sends the readers
        back to the store; `resume` follows once it is known where the stream stands.
        """
        self.epoch = ""
        self.first = 0
        # Counts the renewals: what was read before the last one may not hold any more.
        self.renewals = 0
        # Counts the streams that were met: the first, and each that was recreated or restored from an older state.
        self.incarnation = 0
        self.live = Live(broker, receive, self.suspect)
        self._broker = broker
        self._replay = replay
        self._recent = recent
        self._flush = flush
        self._interrupt = interrupt
        self._resume = resume
        # What was received before the last renewals, for as long as it is not compared with the store.
        self._remembered: deque[_Received] = deque(maxlen=MAX_REMEMBERED)
        self._settled = 0
        # The newest event ever received of this life of the stream.
        self._reached = 0
        self._steady = asyncio.Event()
        # At the first call of `watch` nothing is known.
        self._suspected = asyncio.Event()
        self._suspected.set()
        self._losses = 0
        broker.connection.on_loss(self._lost)
        broker.connection.on_reconnect(self._suspected.set)

    @property
    def position(self) -> int:
        """The sequence of the newest event that was received."""
        return self.live.position

    @property
    def is_steady(self) -> bool:
        """Whether it is known where the stream stands, so that readers can be served."""
        return self._steady.is_set()

    async def steady(self, timeout: float) -> None:
        """Waits until it is known where the stream stands. Raises Timeout."""
        if self._steady.is_set():
            return
        try:
            async with asyncio.timeout(timeout):
                await self._steady.wait()
        except TimeoutError:
            raise Timeout("the event store is away") from None

    async def ask(self, question: Callable[[], Awaitable[T]], timeout: float) -> T:
        """Asks the store, again after each time that it was away, for so many seconds. Raises BrokerError."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            await self.steady(max(0.0, deadline - loop.time()))
            try:
                return await question()
            except (Timeout, NoResponders):
                if loop.time() >= deadline:
                    raise
            await asyncio.sleep(0.05)

    async def watch(self, seconds: float) -> None:
        """Waits for a suspected loss, at most so long; renews where one was, and verifies what was received before it."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._suspected.wait()
        except TimeoutError:
            pass
        if not self._steady.is_set() and self._broker.connection.connected:
            self._suspected.clear()
            try:
                await self._renew()
            except BrokerError as fault:
                log.info("the event store is not back yet; asked again in 0.2 s", extra={"fault": str(fault)})
                await asyncio.sleep(0.2)
                self._suspected.set()
        else:
            self._suspected.clear()
        await self._audit()

    async def _renew(self) -> None:
        """Finds out where the stream stands, and says that all up to there must be read and not awaited."""
        losses = self._losses
        await self._broker.connection.flush()
        state = await self._broker.state()
        if self._losses != losses:
            # What came after that answer may not have been received; the next connection asks anew.
            self._suspected.set()
            return
        rolled_back = state.epoch == self.epoch and not await self._is_continued(state)
        if rolled_back and not state.is_led:
            raise Timeout("the event store has no leader yet that most of its servers follow")
        check = await self._replay.checks.ask(state.last) if state.last >= max(state.first, 1) else UNKNOWN
        if self._losses != losses:
            self._suspected.set()
            return
        anew = state.epoch != self.epoch or rolled_back
        if anew:
            self._replay.forget()
            self.live.drop_unverified()
            self._remembered.clear()
            self.epoch = state.epoch
            self.incarnation += 1
        if rolled_back:
            # A store that has lost its newest events gives their sequences to others: as good as another life. Where the
            # two part is not known, so all readers get a `gap`, and read again what the stream holds.
            log.error(
                "the event stream was rolled back to an older state; every reader gets a gap notice and reads it from its "
                "beginning",
                extra={"last": state.last},
            )
            metrics.rollbacks.inc()
        self._replay.checks.doubt()
        self._replay.checks.note(state.last, check)
        self._reached = state.last
        self.first = state.first
        self._settled = 0
        # What was received since the loss and comes after `last` stays: no reader reads it from the store.
        self._recent.since = state.last
        self.live.restart(state.last)
        self._steady.set()
        self._resume(Renewal(state.last, anew, rolled_back))

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

    async def _audit(self) -> None:
        """Compares with the store what was received before the last renewal: whether that was all was not known then."""
        if not (self._steady.is_set() and self.live.has_unverified):
            return
        try:
            loss = await self.live.audit(self.first, self._locate)
        except BrokerError:
            return
        if not self.live.has_unverified:
            self._remembered.clear()
        if loss is not None:
            self.suspect("the store has events that were not received in time", loss)

    async def check_position(self) -> None:
        """Compares what was received with the store, and moves the position past events that no reader here asked for.

        Both only as far as the stream had come at the last check: what was stored a heartbeat ago has long been received.
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
            self.suspect("the stream was recreated")
            return
        renewals = self.renewals
        if (record := self._recent.newest()) is not None and record.sequence <= self.position:
            self._replay.checks.note(record.sequence, record.check)
        try:
            if not await self._is_continued(state):
                # Sequences that were received after the store answered are beyond its answer, so it is asked once more.
                state = await self._broker.state()
                continued = await self._is_continued(state)
            else:
                continued = True
            if state.last >= max(state.first, 1):
                await self._replay.checks.find(state.last)
        except BrokerError:
            return
        if self.renewals != renewals:
            return
        if not continued:
            if state.is_led:
                self.suspect("the stream was rolled back")
            return
        try:
            loss = await self.live.verify(state.first, state.last, self._locate)
        except BrokerError:
            return
        if loss is not None:
            self.suspect("the store has events that were not received", loss)
        elif self._steady.is_set():
            self.live.position = max(self.live.position, self._settled)
            self._settled = state.last

    async def _locate(self, pattern: str, after: int, upto: int) -> int | None:
        """Finds the first event that was missed, so that no reader goes back further than need be. Raises BrokerError.

        See `Live.verify`. Of what lies further back than what is remembered nothing is known.
        """
        newest = _Received(self._recent.since, upto, self._recent.sequences())
        known = next((one for one in (*self._remembered, newest) if one.since < upto <= one.upto), None)
        if known is None:
            return UNKNOWN
        whole, received = known.since <= after, known.sequences
        after = max(after, known.since)
        more = True
        while more and after < upto:
            page = await self._broker.read(pattern, after)
            for record in page.records:
                if record.sequence > upto:
                    break
                if record.sequence not in received:
                    return record.sequence - 1
            more = page.more and bool(page.records)
            after = page.records[-1].sequence if page.records else upto
        return None if whole else UNKNOWN

    def _lost(self) -> None:
        self._losses += 1
        self.suspect("the connection to NATS was lost")

    def suspect(self, reason: str, loss: Loss | None = None) -> None:
        """Takes note that events may have been missed: readers go back to the store until it is known where the stream stands.

        `loss` names the events where they are known. While a renewal is under way already, this changes nothing.
        """
        if not self._steady.is_set():
            return
        log.warning(
            "events may have been missed; every reader reads from the event store until it has caught up",
            extra={"reason": reason},
        )
        metrics.possible_losses.inc()
        self.renewals += 1
        self._flush()
        self._steady.clear()
        self._suspected.set()
        self._interrupt(loss)
        self._reached = max(self._reached, self.position)
        if (newest := self._recent.newest()) is not None:
            self._replay.checks.note(newest.sequence, newest.check)
        self._replay.checks.doubt()
        self._remembered.append(_Received(self._recent.since, self.position, self._recent.sequences()))
        self._recent.forget()
        self.live.forget(loss)
