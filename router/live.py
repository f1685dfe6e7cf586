"""Receives new events: one core NATS subscription per pattern and process, reference-counted.

A copy of each stored event arrives on `live.ev.…` with its stream and sequence, and the sequence of the event before it on the
same subject; whichever shard stores it. Overlapping patterns bring an event more than once; it is passed on once. These copies
travel at most once, so whatever may be missing is detected and reported, with the position up to which everything was received:
by a break in the chain of a subject, by an event out of order, and (where nothing follows) by counting: a subscription brought
fewer events than the store has.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import reduce

from router.broker import Broker
from router.checks import Checks
from router.layout import FIRST, Layout, Shard
from router.live_copy import ELSEWHERE, find_shard, record_of, stream_of_copy
from router.live_subscription import NOWHERE, LiveSubscription, Loss, UnverifiedRange
from router.patterns import Patterns, Widest
from router.position import Position, beginning, lacking, within
from router.record import Record
from router.subject import LIVE
from router.trail import Trail

log = logging.getLogger(__name__)

# 50,000 subjects whose newest sequence is remembered, about 6 MB; past it the chains are forgotten and begin anew.
MAX_CHAINS = 50_000
# So many patterns are compared with the store in one call, two requests each; the others have their turn in the next.
MAX_COMPARED = 100
# Unverified ranges that are remembered one by one; of more, those of one pattern are taken together.
MAX_UNVERIFIED = 10_000
# A copy of the stream that is behind its leader counts less than there is, or a late event is on its way: asked again.
COUNT_PAUSES = (0.1, 0.5)


# Stands for a position before the first event that was not received, where that cannot be told.
UNLOCATED = Position(-1, ())
# (pattern, after, upto) -> the position before the first events in between that were not received, None where all were, or UNLOCATED
Locate = Callable[[str, Position, Position], Awaitable[Position | None]]


class Live:
    """What one process receives of EVENTS, in stream order, each event once."""

    def __init__(
        self,
        broker: Broker,
        receive: Callable[[Record], None],
        suspect: Callable[[str, Loss | None], None],
        checks: Checks | None = None,
        elsewhere: Callable[[], None] = lambda: None,
    ) -> None:
        """`receive(record)`, `suspect(reason, loss)` and `elsewhere()` are called from the read loop and must not block.

        `elsewhere` is called where an event comes from a stream that is not of the layout that was given last.
        """
        self._broker = broker
        self._receive = receive
        self._suspect = suspect
        self._elsewhere = elsewhere
        self._checks = checks or Checks(broker.connection)
        # Which streams what was received is compared with.
        self.layout = FIRST
        self._find = find_shard(FIRST)
        self._wanted = Widest()
        self._active: dict[str, LiveSubscription] = {}
        # The same, to be found by subject or pattern: there may be thousands.
        self._subscriptions: Patterns[LiveSubscription] = Patterns()
        # What is to be subscribed, what need not be any more, and the subscriptions of which it is not known since when
        # they bring all.
        self._missing: dict[str, None] = {}
        self._leftover: dict[str, None] = {}
        self._unbegun: set[LiveSubscription] = set()
        self._turn = 0
        self._changing = asyncio.Lock()
        # The newest sequence of each subject, in the shard that holds it.
        self._chains: dict[str, int] = {}
        self._chains_since = beginning(FIRST.current)
        self._unverified: deque[UnverifiedRange] = deque()
        self._trail = Trail(self._chains_since, FIRST)

    @property
    def patterns(self) -> list[str]:
        """The patterns that are subscribed just now."""
        return sorted(self._active)

    @property
    def position(self) -> Position:
        """Up to where everything was received, as far as is known: the order of receipt is the one that all live readers share."""
        return self._trail.position

    def trail(self, position: Position) -> Trail:
        """Places events for those who read them from another position than this process."""
        return Trail(position, self.layout)

    def advance(self, position: Position) -> None:
        """Moves the position on past events that nobody here asked for."""
        if self.position.behind(position):
            self._trail = Trail(self.position.joined(position), self.layout)

    async def want(self, patterns: tuple[str, ...]) -> Position:
        """Subscribes these patterns too; returns the position after which all their events are received. Raises BrokerError."""
        for pattern in patterns:
            self._change(*self._wanted.add(pattern))
        try:
            async with self._changing:
                await self._settle()
        except BaseException:
            self._take_back(patterns)
            raise
        return self._since_all(patterns)

    def want_now(self, patterns: tuple[str, ...]) -> Position | None:
        """The same without waiting, where all their events are received already; else None, and they are not wanted."""
        if self._changing.locked():
            return None
        for pattern in patterns:
            self._change(*self._wanted.add(pattern))
        if self._missing or self._unbegun:
            self._take_back(patterns)
            return None
        return self._since_all(patterns)

    async def unwant(self, patterns: tuple[str, ...]) -> None:
        """Takes back one `want`. Raises BrokerError."""
        if self.unwant_now(patterns):
            await self.settle()

    def unwant_now(self, patterns: tuple[str, ...]) -> bool:
        """The same without waiting; says whether `settle` must follow, as subscriptions are to be changed."""
        self._take_back(patterns)
        return bool(self._missing or self._leftover)

    async def settle(self) -> None:
        """Subscribes what is missing, and ends what is not needed any more. Raises BrokerError."""
        async with self._changing:
            await self._settle()

    def _take_back(self, patterns: Iterable[str]) -> None:
        for pattern in patterns:
            self._change(*self._wanted.remove(pattern))

    def _change(self, came: Iterable[str], gone: Iterable[str]) -> None:
        for pattern in gone:
            self._missing.pop(pattern, None)
            if pattern in self._active:
                self._leftover[pattern] = None
        for pattern in came:
            self._leftover.pop(pattern, None)
            if pattern not in self._active:
                self._missing[pattern] = None

    def forget(self, loss: Loss | None = None) -> None:
        """Takes the next event as the first: after a lost connection, or when the stream may be another.

        What was received before, and before a loss that is reported already, is still compared with the store: see `audit`.
        """
        ranges = [subscription.unverified(self.position, loss) for subscription in self._active.values()]
        self._unverified.extend(found for found in ranges if found is not None)
        if len(self._unverified) > MAX_UNVERIFIED:
            self._merge_unverified()
        self._chains.clear()
        self._trail = Trail(beginning(self.layout.current), self.layout)
        for subscription in self._active.values():
            subscription.forget()
        self._unbegun.update(self._active.values())

    def _merge_unverified(self) -> None:
        merged: dict[str, UnverifiedRange] = {}
        for unverified in self._unverified:
            known = merged.get(unverified.pattern, unverified)
            merged[unverified.pattern] = known._replace(upto=known.upto.joined(unverified.upto), received=None)
        self._unverified = deque(merged.values())

    def drop_unverified(self) -> None:
        """Drops what was to be compared: the stream of that time is no more."""
        self._unverified.clear()

    @property
    def has_unverified(self) -> bool:
        """Whether something received before all began anew is not compared with the store yet."""
        return bool(self._unverified)

    def expect(self, layout: Layout) -> None:
        """Takes what comes from the streams of a new layout; where these stand is said by `restart`, which must follow."""
        self.layout, self._find = layout, find_shard(layout)
        self._chains.clear()
        self._trail = Trail(beginning(layout.current), layout)

    def restart(self, since: Position, layout: Layout = FIRST) -> None:
        """Says that what was stored up to `since` need not have been received; what was received after it counts."""
        position = self.position.joined(since)
        self.layout, self._find = layout, find_shard(layout)
        self._chains_since = position
        for subscription in self._active.values():
            subscription.begin(since)
        self._unbegun.clear()
        self._trail = Trail(position, layout)

    async def verify(self, begin: Position, last: Position, locate: Locate) -> Loss | None:
        """Compares with the store what was received between the last two calls; it reaches from behind `begin` up to `last`.

        So whatever is missing is found by the second call after it was stored. `locate(pattern, after, upto)` says the
        position before the first events that were not received, None where all were, or UNLOCATED. Raises BrokerError.
        """
        subscriptions = list(self._active.values())
        turn, self._turn = (
            self._turn,
            self._turn + MAX_COMPARED if self._turn + MAX_COMPARED < len(subscriptions) else 0,
        )
        for subscription in subscriptions[turn : turn + MAX_COMPARED]:
            if subscription.early is not None:
                continue
            place: Position | None = None
            if subscription.verified.behind(subscription.bound):
                place = await self._missed(
                    begin,
                    subscription.pattern,
                    subscription.verified,
                    subscription.bound,
                    subscription.received,
                    locate,
                )
            if subscription.early is not None or self._active.get(subscription.pattern) is not subscription:
                continue  # while the store was asked, everything began anew
            pattern = subscription.pattern
            subscription.bind(last.joined(self.position))
            if place is not None:
                # A reader that is past it goes back there, so this much is settled.
                return Loss(pattern, place)
        if self._leftover:
            async with self._changing:
                await self._settle()
        return None

    async def audit(self, begin: Position, locate: Locate) -> Loss | None:
        """Compares with the store what was received before all began anew; see `verify`. Raises BrokerError."""
        for _ in range(min(len(self._unverified), MAX_COMPARED)):
            unverified = self._unverified[0]
            pattern, after, upto, count = unverified
            place = await self._missed(begin, pattern, after, upto, lambda: count, locate)  # noqa: B023
            if self._unverified and self._unverified[0] is unverified:
                self._unverified.popleft()
            if place is not None:
                return Loss(unverified.pattern, place)
        return None

    async def _missed(
        self,
        begin: Position,
        pattern: str,
        after: Position,
        upto: Position,
        received: Callable[[], int | None],
        locate: Locate,
    ) -> Position | None:
        """The position before the first events that should have been received between two positions and were not.

        Where it is not known how many were received, they are compared one by one.
        """
        # Of what was received, retention may have taken some: then numbers prove nothing.
        unsure = after.behind(begin) or received() is None
        if not unsure and not await self._lacks(pattern, after, upto, received):
            return None
        place = await locate(pattern, after, upto)
        if place is UNLOCATED:
            return None if unsure else within(after, self._shards_of(pattern, after))
        return place

    async def _lacks(self, pattern: str, after: Position, upto: Position, received: Callable[[], int | None]) -> bool:
        """Says whether the store has more events of a subscription than it brought. Fewer is retention's work."""
        shards = self._shards_of(pattern, upto)
        for pause in (*COUNT_PAUSES, 0.0):
            stored = 0
            for shard in shards:
                store = self._broker.shard(shard)
                stored += await store.count(pattern, after.of(shard)) - await store.count(pattern, upto.of(shard))
            count = received()
            if count is None or stored <= count:
                return False
            await asyncio.sleep(pause)
        return True

    def _shards_of(self, pattern: str, position: Position) -> tuple[Shard, ...]:
        """The shards of a position's generation that may hold events under a pattern."""
        generation = self.layout.generation(position.generation)
        return generation.shards_of((pattern,)) if generation is not None else ()

    async def _settle(self) -> None:
        """Subscribes what is wanted and not covered by a wider pattern; the wider first, so that nothing is missed."""
        while self._missing:
            pattern = next(iter(self._missing))
            subscription = LiveSubscription(pattern, self._made, self._take)
            subscription.listening = await self._broker.connection.listen(LIVE + pattern, subscription.receive)
            self._active[pattern] = subscription
            self._subscriptions.set(pattern, subscription)
            self._unbegun.add(subscription)
            self._missing.pop(pattern, None)
            if pattern not in self._wanted.found:
                # Taken back while it was subscribed.
                self._leftover[pattern] = None
        # Asked by what is missing and not by what was added: a caller that was cancelled in between left its pattern here.
        if unknown := list(self._unbegun):
            state = await self._broker.events_state()
            if state.layout.current.number != self.layout.current.number:
                # Where these stand is said by `restart`, under the new layout.
                self._elsewhere()
                return
            for subscription in unknown:
                if subscription.since is None:
                    subscription.begin(state.last)
            self._unbegun.difference_update(unknown)
        for pattern in self._spent():
            if pattern not in self._leftover:
                continue  # wanted again while another one was taken back
            subscription = self._active.pop(pattern)
            self._subscriptions.remove(pattern)
            self._leftover.pop(pattern, None)
            self._unbegun.discard(subscription)
            if subscription.listening is not None:
                await subscription.listening.stop()

    def _spent(self) -> list[str]:
        """The subscriptions that are not needed any more.

        Where others took over what one received, it stays until all up to where they began is compared with the store.
        """
        if self._missing:
            return []  # what takes over may be among these; the caller that wants them settles next
        found = self._wanted.found
        return [
            pattern
            for pattern in self._leftover
            if all(
                heir.since is None or self._active[pattern].verified.reaches(heir.since)
                for heir in self._subscriptions.overlapping(pattern)
                if heir.pattern in found
            )
        ]

    def _since_all(self, patterns: Iterable[str]) -> Position:
        """The position after which all events under some wanted patterns are received."""
        return reduce(Position.joined, map(self._since, patterns))

    def _since(self, pattern: str) -> Position:
        """The same of one pattern; before everything where all begins anew."""
        # Any subscription that covers it will do: the one that has brought them for longest.
        since = [subscription.since or NOWHERE for subscription in self._subscriptions.covering(pattern)]
        return min(since, key=lambda position: (position.generation, sum(position.sequences)))

    def _made(self, subject: str, payload: bytes, headers: bytes) -> Record | None:
        record = record_of(subject, payload, headers, self._find)
        if record is not None and record.shard is ELSEWHERE:
            # What a sealed stream has copied late is read from the store.
            if stream_of_copy(headers) not in self.layout.by_stream:
                self._elsewhere()
            return None
        return record

    def _take(self, record: Record) -> None:
        position, subject = self._trail.position, record.subject
        if not position.covers(record):
            self._take_next(record)
        elif record.sequence < position.of(record.shard) and self._chains.get(subject, 0) < record.sequence:
            self._suspect("out of order", Loss(subject, lacking(record.shard, record.sequence - 1)))

    def _take_next(self, record: Record) -> None:
        sequence = record.sequence
        last = self._chains.get(record.subject)
        if last is None or record.previous not in (last, 0):
            # 0 says that the event before this one is no longer kept; that proves nothing either way. A chain may be of a
            # time after which nothing was subscribed.
            last = max(last or 0, self._begun(record))
        whole = record.previous <= last
        if len(self._chains) >= MAX_CHAINS and record.subject not in self._chains:
            self._chains.clear()
            self._chains_since = self.position
        self._chains[record.subject] = sequence
        if not whole:
            self._suspect("an event was not received", Loss(record.subject, lacking(record.shard, last)))
        self._trail.add(record)
        self._receive(record)

    def _begun(self, record: Record) -> int:
        """The sequence up to which nothing of a record's subject needs to have been received."""
        shard = record.shard
        since = [
            subscription.since.of(shard)
            for subscription in self._subscriptions.matching(record.subject)
            if subscription.since is not None
        ]
        # Of a subscription that has ended, or whose beginning is not known yet, nothing was promised.
        return max(min(since), self._chains_since.of(shard)) if since else record.previous
