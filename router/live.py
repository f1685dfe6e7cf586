"""Receives new events: one core NATS subscription per pattern and process, reference-counted.

A copy of each stored event arrives on `live.ev.…` with its sequence, and the sequence of the event before it on the same
subject. Overlapping patterns bring an event more than once; it is passed on once. These copies travel at most once, so
whatever may be missing is detected and reported, with the sequence up to which everything was received: by a break in the
chain of a subject, by an event out of order, and (where nothing follows) by counting: a subscription brought fewer events than
the store has.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from router.broker import Broker
from router.cursor import UNKNOWN
from router.nats.connection import Connection
from router.nats.subscription import Subscription
from router.patterns import Patterns, Widest
from router.record import Record
from router.subject import LIVE, overlap

log = logging.getLogger(__name__)

_SEQUENCE, _PREVIOUS = b"\r\nNats-Sequence: ", b"\r\nNats-Last-Sequence: "
_STRIP = len(LIVE)

# 50,000 subjects whose newest sequence is remembered, about 6 MB; past it the chains are forgotten and begin anew.
MAX_CHAINS = 50_000
# While it is not known where the stream stands, so many sequences are remembered to be counted afterwards.
MAX_EARLY = 10_000
# So many patterns are compared with the store in one call, two requests each; the others have their turn in the next.
MAX_COMPARED = 100
# Unverified ranges that are remembered one by one; of more, those of one pattern are taken together.
MAX_UNVERIFIED = 10_000
# A copy of the stream that is behind its leader counts less than there is, or a late event is on its way: asked again.
COUNT_PAUSES = (0.1, 0.5)


class Loss(NamedTuple):
    """Events under a pattern, all of them after a sequence, of which some may not have been received."""

    pattern: str
    after: int


class _UnverifiedRange(NamedTuple):
    """What a pattern brought between two sequences, and was not yet compared with the store when all began anew."""

    pattern: str
    after: int
    upto: int
    received: int | None


# (pattern, after, upto) -> the place before the first event in between that was not received; UNKNOWN where that cannot be told
Locate = Callable[[str, int, int], Awaitable[int | None]]


def record_of(subject: str, payload: bytes, headers: bytes) -> Record | None:
    """Makes the record of a live copy; None for a message that was not stored."""
    # Two looks at bytes that hold eight headers: this is done for every event.
    at = headers.find(_SEQUENCE)
    if at < 0:
        return None
    start = at + len(_SEQUENCE)
    sequence = int(headers[start : headers.index(b"\r", start)])
    start = headers.find(_PREVIOUS) + len(_PREVIOUS)
    previous = int(headers[start : headers.index(b"\r", start)]) if start >= len(_PREVIOUS) else 0
    return Record(sequence, subject[_STRIP:], payload, previous)


async def listen(connection: Connection, pattern: str, receive: Callable[[Record], None]) -> Subscription:
    """Receives every event under a pattern as it is stored, in the server's order, from the read loop; some may be lost."""

    def received(subject: str, _reply: str, payload: bytes, headers: bytes) -> None:
        if (record := record_of(subject, payload, headers)) is not None:
            receive(record)

    return await connection.listen(LIVE + pattern, received)


class _Subscription:
    """One subscription, and how many events it has brought since the last comparison with the store."""

    __slots__ = ("_take", "bound", "early", "high", "listening", "low", "pattern", "since", "verified")

    def __init__(self, pattern: str, take: Callable[[Record], None]) -> None:
        self.pattern = pattern
        self.listening: Subscription | None = None
        # The sequence after which all events are received; None until the stream was asked.
        self.since: int | None = None
        # Up to `verified` nothing is missing; `low` events were received from there to `bound`, `high` behind it.
        self.verified = self.bound = self.low = self.high = 0
        self.early: deque[int] | None = deque(maxlen=MAX_EARLY)
        self._take = take

    def receive(self, subject: str, _reply: str, payload: bytes, headers: bytes) -> None:
        """Counts an event and passes it on."""
        record = record_of(subject, payload, headers)
        if record is None:
            return
        sequence = record.sequence
        if self.early is not None:
            self.early.append(sequence)
        elif sequence > self.bound:
            self.high += 1
        elif sequence > self.verified:
            self.low += 1
        self._take(record)

    def received(self) -> int | None:
        """How many events between `verified` and `bound` have come; None where all began anew."""
        return self.low if self.early is None else None

    def unverified(self, position: int, loss: Loss | None) -> _UnverifiedRange | None:
        """What is not yet compared of all that was received up to a position, and before a loss that is reported already."""
        if self.early is not None:
            return None
        count: int | None = self.low + self.high
        if loss is not None and overlap(loss.pattern, self.pattern):
            # A reader that is past it goes back there. How many of those before it were received was not counted.
            position, count = min(position, loss.after), None
        return _UnverifiedRange(self.pattern, self.verified, position, count) if position > self.verified else None

    def forget(self) -> None:
        """Begins anew: what was received may be of another life."""
        self.since = None
        self.early = deque(maxlen=MAX_EARLY)

    def begin(self, since: int) -> None:
        """Counts what comes after a sequence."""
        early = self.early or deque()
        self.since = since
        # What is not remembered any more cannot be counted either.
        self.verified = self.bound = max(since, early[0]) if len(early) == MAX_EARLY else since
        self.low, self.high = 0, sum(sequence > self.bound for sequence in early)
        self.early = None

    def bind(self, bound: int) -> None:
        """Calls all up to the old bound verified, and sets the new one, which nothing received so far comes after."""
        self.verified, self.bound = self.bound, bound
        self.low, self.high = self.high, 0


class Live:
    """What one process receives of EVENTS, in stream order, each event once."""

    def __init__(
        self, broker: Broker, receive: Callable[[Record], None], suspect: Callable[[str, Loss | None], None]
    ) -> None:
        """`receive(record)` and `suspect(reason, loss)` are called from the read loop and must not block."""
        self._broker = broker
        self._receive = receive
        self._suspect = suspect
        self._wanted = Widest()
        self._active: dict[str, _Subscription] = {}
        # The same, to be found by subject or pattern: there may be thousands.
        self._subscriptions: Patterns[_Subscription] = Patterns()
        # What is to be subscribed, what need not be any more, and the subscriptions of which it is not known since when
        # they bring all.
        self._missing: dict[str, None] = {}
        self._leftover: dict[str, None] = {}
        self._unbegun: set[_Subscription] = set()
        self._turn = 0
        self._changing = asyncio.Lock()
        self._chains: dict[str, int] = {}
        self._chains_since = 0
        self._unverified: deque[_UnverifiedRange] = deque()
        self.position = 0

    @property
    def patterns(self) -> list[str]:
        """The patterns that are subscribed just now."""
        return sorted(self._active)

    async def want(self, patterns: tuple[str, ...]) -> int:
        """Subscribes these patterns too; returns the sequence after which all their events are received. Raises BrokerError."""
        for pattern in patterns:
            self._change(*self._wanted.add(pattern))
        try:
            async with self._changing:
                await self._settle()
        except BaseException:
            self._take_back(patterns)
            raise
        return max(self._since(pattern) for pattern in patterns)

    def want_now(self, patterns: tuple[str, ...]) -> int | None:
        """The same without waiting, where all their events are received already; else None, and they are not wanted."""
        if self._changing.locked():
            return None
        for pattern in patterns:
            self._change(*self._wanted.add(pattern))
        if self._missing or self._unbegun:
            self._take_back(patterns)
            return None
        return max(self._since(pattern) for pattern in patterns)

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
        self.position = 0
        for subscription in self._active.values():
            subscription.forget()
        self._unbegun.update(self._active.values())

    def _merge_unverified(self) -> None:
        merged: dict[str, _UnverifiedRange] = {}
        for unverified in self._unverified:
            known = merged.get(unverified.pattern, unverified)
            merged[unverified.pattern] = known._replace(upto=max(known.upto, unverified.upto), received=None)
        self._unverified = deque(merged.values())

    def drop_unverified(self) -> None:
        """Drops what was to be compared: the stream of that time is no more."""
        self._unverified.clear()

    @property
    def has_unverified(self) -> bool:
        """Whether something received before all began anew is not compared with the store yet."""
        return bool(self._unverified)

    def restart(self, since: int) -> None:
        """Says that what was stored up to `since` need not have been received; what was received after it counts."""
        self._chains_since = max(since, self.position)
        for subscription in self._active.values():
            subscription.begin(since)
        self._unbegun.clear()
        self.position = max(self.position, since)

    async def verify(self, first: int, last: int, locate: Locate) -> Loss | None:
        """Compares with the store what was received between the last two calls; the stream reaches from `first` to `last`.

        So whatever is missing is found by the second call after it was stored. `locate(pattern, after, upto)` says the
        place before the first event that was not received, None where all were, or UNKNOWN. Raises BrokerError.
        """
        subscriptions = list(self._active.values())
        turn, self._turn = (
            self._turn,
            self._turn + MAX_COMPARED if self._turn + MAX_COMPARED < len(subscriptions) else 0,
        )
        for subscription in subscriptions[turn : turn + MAX_COMPARED]:
            if subscription.early is not None:
                continue
            place: int | None = None
            if subscription.bound > subscription.verified:
                place = await self._missed(
                    first,
                    subscription.pattern,
                    subscription.verified,
                    subscription.bound,
                    subscription.received,
                    locate,
                )
            if subscription.early is not None or self._active.get(subscription.pattern) is not subscription:
                continue  # while the store was asked, everything began anew
            pattern = subscription.pattern
            subscription.bind(max(last, self.position))
            if place is not None:
                # A reader that is past it goes back there, so this much is settled.
                return Loss(pattern, place)
        if self._leftover:
            async with self._changing:
                await self._settle()
        return None

    async def audit(self, first: int, locate: Locate) -> Loss | None:
        """Compares with the store what was received before all began anew; see `verify`. Raises BrokerError."""
        for _ in range(min(len(self._unverified), MAX_COMPARED)):
            unverified = self._unverified[0]
            pattern, after, upto, count = unverified
            place = await self._missed(first, pattern, after, upto, lambda: count, locate)  # noqa: B023
            if self._unverified and self._unverified[0] is unverified:
                self._unverified.popleft()
            if place is not None:
                return Loss(unverified.pattern, place)
        return None

    async def _missed(
        self, first: int, pattern: str, after: int, upto: int, received: Callable[[], int | None], locate: Locate
    ) -> int | None:
        """The place before the first event that should have been received between two sequences and was not.

        Where it is not known how many were received, they are compared one by one.
        """
        # Of what was received, retention may have taken some: then numbers prove nothing.
        unsure = first > after + 1 or received() is None
        if not unsure and not await self._lacks(pattern, after, upto, received):
            return None
        place = await locate(pattern, after, upto)
        if place == UNKNOWN:
            return None if unsure else after
        return place

    async def _lacks(self, pattern: str, after: int, upto: int, received: Callable[[], int | None]) -> bool:
        """Says whether the store has more events of a subscription than it brought. Fewer is retention's work."""
        for pause in (*COUNT_PAUSES, 0.0):
            stored = await self._broker.count(pattern, after) - await self._broker.count(pattern, upto)
            count = received()
            if count is None or stored <= count:
                return False
            await asyncio.sleep(pause)
        return True

    async def _settle(self) -> None:
        """Subscribes what is wanted and not covered by a wider pattern; the wider first, so that nothing is missed."""
        while self._missing:
            pattern = next(iter(self._missing))
            subscription = _Subscription(pattern, self._take)
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
            last = (await self._broker.state()).last
            for subscription in unknown:
                if subscription.since is None:
                    subscription.begin(last)
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
                self._active[pattern].verified >= (heir.since or 0)
                for heir in self._subscriptions.overlapping(pattern)
                if heir.pattern in found
            )
        ]

    def _since(self, pattern: str) -> int:
        """The sequence after which all events under a wanted pattern are received; 0 where all begins anew."""
        return min(subscription.since or 0 for subscription in self._subscriptions.covering(pattern))

    def _take(self, record: Record) -> None:
        sequence = record.sequence
        if sequence <= self.position:
            if sequence < self.position and self._chains.get(record.subject, 0) < sequence:
                self._suspect("out of order", Loss(record.subject, sequence - 1))
            return
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
            self._suspect("an event was not received", Loss(record.subject, last))
        self.position = sequence
        self._receive(record)

    def _begun(self, record: Record) -> int:
        """The sequence up to which nothing of a record's subject needs to have been received."""
        since = [
            subscription.since
            for subscription in self._subscriptions.matching(record.subject)
            if subscription.since is not None
        ]
        # Of a subscription that has ended, or whose beginning is not known yet, nothing was promised.
        return max(min(since), self._chains_since) if since else record.previous
