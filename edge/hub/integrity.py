"""Detects missed events: compares what a process has received with the store, and begins anew after a loss.

Live copies of events travel at most once. Whatever may be missing is found by the chain of a subject or by counting
(`router.live`), by the position and the check of the newest event (a stream that was rolled back or recreated), or because
the connection was lost. Then every reader goes back to reading from the store until it is known where the stream stands.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeVar

from edge import metrics
from edge.hub.received import ReceivedPlaces
from edge.hub.recent import Recent
from edge.hub.shared_question import SharedQuestion
from router.broker import Broker
from router.cursor import UNKNOWN
from router.errors import BrokerError, NoResponders, Timeout
from router.events_state import EventsState
from router.layout import FIRST, Generation, Layout, Shard
from router.live import Live
from router.live_subscription import Loss
from router.position import Position, beginning, end
from router.record import Record
from router.replay import Replay

log = logging.getLogger(__name__)

T = TypeVar("T")


class Renewal(NamedTuple):
    """Where the streams stand after a loss: all up to `last` must be read, and is not received any more.

    `anew` says that these are other streams than before, or an older state of one; `rolled_back` that it is the latter.
    """

    last: Position
    anew: bool
    rolled_back: bool
    # The epoch of the streams that took new events before.
    former: str


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
        self.layout = FIRST
        # Generations that were deleted since this process began, for all of them was beyond retention, by their numbers.
        self._ended: dict[int, Generation] = {}
        # How far the streams were kept when they were asked last.
        self.begins: tuple[Position, ...] = ()
        # Counts the renewals: what was read before the last one may not hold any more.
        self.renewals = 0
        # Counts the streams that were met: the first, and each that was recreated or restored from an older state.
        self.incarnation = 0
        self.live = Live(broker, receive, self.suspect, replay.checks, self._elsewhere)
        self._broker = broker
        self._replay = replay
        self._recent = recent
        self._flush = flush
        self._interrupt = interrupt
        self._resume = resume
        # Thousands come back together whose cursors are newer than what was received here.
        self._stored = SharedQuestion(broker.events_state)
        self._received = ReceivedPlaces(broker, replay, recent)
        self._settled = self._reached = beginning(FIRST.current)
        # `_reached`: up to where events were ever received of this life of the streams.
        self._steady = asyncio.Event()
        # At the first call of `watch` nothing is known.
        self._suspected = asyncio.Event()
        self._suspected.set()
        self._losses = 0
        broker.connection.on_loss(self._lost)
        broker.connection.on_reconnect(self._suspected.set)
        broker.on_layout(self._layout_changed)

    @property
    def position(self) -> Position:
        """Up to where everything was received."""
        return self.live.position

    @property
    def begin(self) -> Position:
        """The position before the oldest event that is kept."""
        return self.begins[0] if self.begins else beginning(self.layout.generations[0])

    async def events_state(self) -> EventsState:
        """Reads how far the streams reach, under the layout that readers are served by: once for all who ask together.

        Raises BrokerError.
        """
        state = await self._stored.answer()
        if state.layout.current.number != self.layout.current.number:
            self._elsewhere()
            raise Timeout("events are stored in other streams by now")
        self.begins = state.begins
        return state

    async def shard_named(self, stream: str, timeout: float) -> Shard | None:
        """The shard of a stream, under a new layout where there is one by now; None where it is not known in time."""
        if stream not in self.layout.by_stream:
            self._elsewhere()
            try:
                await self.steady(timeout)
            except Timeout:
                return None
        return self.layout.by_stream.get(stream)

    def state(self, position: Position) -> EventsState:
        """How far the streams reach as far as is known here, given that a reader stands at a position."""
        generations = self.layout.generations
        begins = {begin.generation: begin for begin in self.begins}
        lasts = [end(generation) or self.position for generation in generations]
        return EventsState(
            self.layout,
            tuple(begins.get(each.number, beginning(each)) for each in generations),
            tuple(last.joined(position) if last.generation == position.generation else last for last in lasts),
        )

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
        """Finds out where the streams stand, and says that all up to there must be read and not awaited."""
        losses, layout = self._losses, self._broker.layout
        if layout.current.number != self.layout.current.number:
            # Else each event from there would begin this anew.
            self.live.expect(layout)
        await self._broker.connection.flush()
        newest = self._replay.checks.newest()
        state = await self._broker.events_state()
        if self._losses != losses or state.layout.current.number != layout.current.number:
            # What came after that answer may not have been received; the next connection asks anew.
            self._suspected.set()
            return
        generation = state.layout.generation(self.layout.current.number)
        same = generation is not None and generation.epoch == self.epoch
        rolled_back = same and not await self._is_continued(state, newest)
        if rolled_back and not state.is_led:
            raise Timeout("the event store has no leader yet that most of its servers follow")
        checks = [await self._check_of_last(state, shard) for shard in state.layout.current.shards]
        if self._losses != losses:
            self._suspected.set()
            return
        anew = not same or rolled_back
        if anew:
            self._replay.forget()
            self.live.drop_unverified()
            self._received.forget()
            self.incarnation += 1
        if rolled_back:
            # A store that has lost its newest events gives their sequences to others: as good as another life. Where the
            # two part is not known, so all readers get a `gap`, and read again what the stream holds.
            log.error(
                "the event stream was rolled back to an older state; every reader gets a gap notice and reads it from its "
                "beginning",
                extra={"last": list(state.last.sequences)},
            )
            metrics.rollbacks.inc()
        self._replay.checks.doubt()
        for shard, check in zip(state.layout.current.shards, checks, strict=True):
            self._replay.checks.note(state.last.of(shard), check, shard)
        former = self.epoch
        self._take_over(state)
        self._resume(Renewal(state.last, anew, rolled_back, former))

    async def _check_of_last(self, state: EventsState, shard: Shard) -> int:
        last = state.last.of(shard)
        return (
            await self._replay.checks.ask(last, shard) if last > state.begin_of(shard.generation).of(shard) else UNKNOWN
        )

    def _take_over(self, state: EventsState) -> None:
        """Goes on from where the streams stand, and under the layout that they have."""
        renumbered = state.layout.current.number != self.layout.current.number
        self.epoch = state.epoch
        self._take_layout(state.layout)
        self.begins = state.begins
        self._reached = state.last
        self._settled = beginning(state.layout.current)
        # What was received since the loss and comes after `last` stays: no reader reads it from the store.
        self._recent.since = state.last
        self.live.restart(state.last, state.layout)
        if renumbered:
            # What came before the epochs of the streams were known has no cursors.
            self._recent.forget()
            self._recent.since = self.position
        self._steady.set()

    def _take_layout(self, layout: Layout) -> None:
        gone = [each for each in self.layout.generations if layout.generation(each.number) is None]
        self._ended |= {generation.number: generation for generation in gone}
        self.layout = self._replay.layout = self.live.layout = layout

    def generation(self, number: int) -> Generation | None:
        """A generation that is read, or was deleted since."""
        return self.layout.generation(number) or self._ended.get(number)

    async def _is_continued(self, state: EventsState, newest: Mapping[str, tuple[int, int]]) -> bool:
        """Says whether the streams hold what they held: all that was reached, and at the newest known places the same events.

        `newest` are those places, and the checks there, by stream, as they were known before the streams were asked for
        their state. Raises BrokerError.
        """
        generation = state.layout.generation(self._reached.generation)
        if generation is None:
            return True
        last = state.last_of(generation.number)
        if last.behind(self._reached):
            return False
        for shard in generation.shards:
            sequence, check = newest.get(shard.stream, (0, UNKNOWN))
            if sequence <= state.begin_of(generation.number).of(shard):
                continue
            if sequence > last.of(shard) or await self._replay.checks.ask(sequence, shard) not in (check, UNKNOWN):
                return False
        return True

    async def _audit(self) -> None:
        """Compares with the store what was received before the last renewal: whether that was all was not known then."""
        if not (self._steady.is_set() and self.live.has_unverified):
            return
        try:
            loss = await self.live.audit(self.begin, self._received.locate)
        except BrokerError:
            return
        if not self.live.has_unverified:
            self._received.forget()
        if loss is not None:
            self.suspect("the store has events that were not received in time", loss)

    async def check_position(self) -> None:
        """Compares what was received with the store, and moves the position past events that no reader here asked for.

        Both only as far as the stream had come at the last check: what was stored a heartbeat ago has long been received.
        """
        await self._audit()
        if not self._steady.is_set():
            return
        if (record := self._recent.newest()) is not None and self.position.covers(record):
            self._replay.checks.note_event(record)
        # What becomes known while the store is asked may be beyond its answer.
        newest = self._replay.checks.newest()
        try:
            state = await self._broker.events_state()
        except BrokerError:
            return
        self.begins = state.begins
        if state.epoch != self.epoch:
            self.suspect("a stream was recreated")
            return
        if len(state.layout.generations) < len(self.layout.generations):
            self._take_layout(state.layout)
        renewals = self.renewals
        try:
            continued = await self._is_continued(state, newest)
            for shard in state.layout.current.shards:
                if state.last.of(shard) > state.begin_of(shard.generation).of(shard):
                    await self._replay.checks.find(state.last.of(shard), shard)
        except BrokerError:
            return
        if self.renewals != renewals:
            return
        if not continued:
            if state.is_led:
                self.suspect("the stream was rolled back")
            return
        try:
            loss = await self.live.verify(state.begin, state.last, self._received.locate)
        except BrokerError:
            return
        if loss is not None:
            self.suspect("the store has events that were not received", loss)
        elif self._steady.is_set():
            self.live.advance(self._settled)
            self._settled = state.last

    def _lost(self) -> None:
        self._losses += 1
        self.suspect("the connection to NATS was lost")

    def _layout_changed(self) -> None:
        layout = self._broker.layout
        if layout.current.number != self.layout.current.number:
            self._elsewhere()
            return
        # One of those that are sealed was deleted, for all of it is beyond retention. Nothing else changes for readers.
        self._take_layout(Layout(tuple(each for each in self.layout.generations if layout.generation(each.number))))
        self.begins = tuple(begin for begin in self.begins if layout.generation(begin.generation))

    def _elsewhere(self) -> None:
        """An event came from a stream that is not known: there are new ones."""
        self._losses += 1
        self.suspect("events are stored in other streams")

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
        self._reached = self._reached.joined(self.position)
        if (newest := self._recent.newest()) is not None:
            self._replay.checks.note_event(newest)
        self._replay.checks.doubt()
        self._received.remember(self.position)
        self._recent.forget()
        self.live.forget(loss)
