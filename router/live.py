"""This file is where new events are heard: one core subscription per pattern and process, reference-counted.

A copy of each stored event arrives on `live.ev.…` with its sequence, and the sequence of the event before it on the same
subject. Overlapping patterns bring an event more than once; it is passed on once. These copies travel at most once, so
whatever may be missing is found out and told, with the place up to which all was heard: a break in the chain of a subject,
an event out of order, and (for what nothing follows) a count of what a pattern brought that is not the store's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from router.broker import Broker
from router.nats.connection import Listening
from router.patterns import Patterns, Widest
from router.record import Record
from router.subject import overlap

log = logging.getLogger(__name__)

# 50,000 subjects whose newest sequence is remembered, about 6 MB; past it the chains are forgotten and begin anew.
MAX_CHAINS = 50_000
# While it is not known where the stream stands, so many sequences are remembered to be counted afterwards.
MAX_EARLY = 10_000
# So many patterns are compared with the store in one look, two requests each; the others have their turn in the next.
LOOKS = 100
# Debts that are remembered one by one; of more, those of one pattern are taken together.
MAX_DEBTS = 10_000
# A copy of the stream that is behind its leader counts less than there is, or a late event is on its way: asked again.
LOOK_AGAIN = (0.1, 0.5)


class Loss(NamedTuple):
    """Events under a pattern, all of them after a sequence, of which some may not have been heard."""

    pattern: str
    after: int


class _Debt(NamedTuple):
    """What was heard under a pattern between two sequences, and not yet compared with the store when all began anew."""

    pattern: str
    after: int
    upto: int
    heard: int | None


UNTOLD = -1
# (pattern, after, upto) -> the place before the first event in between that was not heard
Locate = Callable[[str, int, int], Awaitable[int | None]]


class _Ear:
    """One subscription, and how many events it has brought since the last comparison with the store."""

    __slots__ = ("_take", "bound", "early", "high", "listening", "low", "pattern", "since", "verified")

    def __init__(self, pattern: str, take: Callable[[Record], None]) -> None:
        self.pattern = pattern
        self.listening: Listening | None = None
        # The sequence after which all events are heard; None until the stream was asked.
        self.since: int | None = None
        # Up to `verified` nothing is missing; `low` events were heard from there to `bound`, `high` behind it.
        self.verified = self.bound = self.low = self.high = 0
        self.early: deque[int] | None = deque(maxlen=MAX_EARLY)
        self._take = take

    def hear(self, record: Record) -> None:
        """Counts an event and passes it on."""
        sequence = record.sequence
        if self.early is not None:
            self.early.append(sequence)
        elif sequence > self.bound:
            self.high += 1
        elif sequence > self.verified:
            self.low += 1
        self._take(record)

    def heard(self) -> int | None:
        """How many events between `verified` and `bound` have come; None where all began anew."""
        return self.low if self.early is None else None

    def debt(self, position: int, loss: Loss | None) -> _Debt | None:
        """What is not yet compared of all that was heard up to a position, and before a loss that is told already."""
        if self.early is not None:
            return None
        count: int | None = self.low + self.high
        if loss is not None and overlap(loss.pattern, self.pattern):
            # Whoever is past it goes back there. How many of those before it were heard was not counted.
            position, count = min(position, loss.after), None
        return _Debt(self.pattern, self.verified, position, count) if position > self.verified else None

    def forget(self) -> None:
        """Begins anew: what was heard may be of another life."""
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
        """Calls all up to the old bound verified, and sets the new one, which nothing heard so far lies behind."""
        self.verified, self.bound = self.bound, bound
        self.low, self.high = self.high, 0


class Live:
    """What one process hears of EVENTS, in stream order, each event once."""

    def __init__(
        self, broker: Broker, heard: Callable[[Record], None], broken: Callable[[str, Loss | None], None]
    ) -> None:
        """`heard(record)` and `broken(reason, loss)` are called from the read loop and must not block."""
        self._broker = broker
        self._heard = heard
        self._broken = broken
        self._wanted = Widest()
        self._active: dict[str, _Ear] = {}
        # The same, to be found by subject or pattern: there may be thousands.
        self._ears: Patterns[_Ear] = Patterns()
        # What is to be subscribed, what need not be any more, and the subscriptions of which it is not known since when
        # they hear all.
        self._missing: dict[str, None] = {}
        self._leftover: dict[str, None] = {}
        self._unbegun: set[_Ear] = set()
        self._turn = 0
        self._changing = asyncio.Lock()
        self._chains: dict[str, int] = {}
        self._chains_since = 0
        self._debts: deque[_Debt] = deque()
        self.position = 0

    @property
    def patterns(self) -> list[str]:
        """The patterns that are subscribed just now."""
        return sorted(self._active)

    async def want(self, patterns: tuple[str, ...]) -> int:
        """Hears these patterns too; returns the sequence after which all their events are heard. Raises BrokerError."""
        for pattern in patterns:
            self._change(*self._wanted.add(pattern))
        try:
            async with self._changing:
                await self._settle()
        except BaseException:
            self._take_back(patterns)
            raise
        return max(self._since(pattern) for pattern in patterns)

    async def unwant(self, patterns: tuple[str, ...]) -> None:
        """Takes back one `want`."""
        self._take_back(patterns)
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
        """Takes whatever is heard next as the first: after a lost connection, or when the stream may be another.

        What was heard before, and before a loss that is told already, is still compared with the store: see `audit`.
        """
        debts = [ear.debt(self.position, loss) for ear in self._active.values()]
        self._debts.extend(debt for debt in debts if debt is not None)
        if len(self._debts) > MAX_DEBTS:
            self._merge_debts()
        self._chains.clear()
        self.position = 0
        for ear in self._active.values():
            ear.forget()
        self._unbegun.update(self._active.values())

    def _merge_debts(self) -> None:
        merged: dict[str, _Debt] = {}
        for debt in self._debts:
            known = merged.get(debt.pattern, debt)
            merged[debt.pattern] = known._replace(upto=max(known.upto, debt.upto), heard=None)
        self._debts = deque(merged.values())

    def acquit(self) -> None:
        """Drops what was to be compared: the stream of that time is no more."""
        self._debts.clear()

    @property
    def indebted(self) -> bool:
        """Whether something heard before all began anew is not compared with the store yet."""
        return bool(self._debts)

    def restart(self, since: int) -> None:
        """Says that what was stored up to `since` need not have been heard; what was heard after it counts."""
        self._chains_since = max(since, self.position)
        for ear in self._active.values():
            ear.begin(since)
        self._unbegun.clear()
        self.position = max(self.position, since)

    async def verify(self, first: int, last: int, locate: Locate) -> Loss | None:
        """Compares with the store what was heard between the last two calls; the stream reaches from `first` to `last`.

        So whatever is missing is found by the second call after it was stored. `locate(pattern, after, upto)` says the
        place before the first event that was not heard, None where all were, or UNTOLD. Raises BrokerError.
        """
        ears = list(self._active.values())
        turn, self._turn = self._turn, self._turn + LOOKS if self._turn + LOOKS < len(ears) else 0
        for ear in ears[turn : turn + LOOKS]:
            if ear.early is not None:
                continue
            place: int | None = None
            if ear.bound > ear.verified:
                place = await self._missed(first, ear.pattern, ear.verified, ear.bound, ear.heard, locate)
            if ear.early is not None or self._active.get(ear.pattern) is not ear:
                continue  # while the store was asked, everything began anew
            pattern = ear.pattern
            ear.bind(max(last, self.position))
            if place is not None:
                # Whoever is past it goes back there, so this much is settled.
                return Loss(pattern, place)
        if self._leftover:
            async with self._changing:
                await self._settle()
        return None

    async def audit(self, first: int, locate: Locate) -> Loss | None:
        """Compares with the store what was heard before all began anew; see `verify`. Raises BrokerError."""
        for _ in range(min(len(self._debts), LOOKS)):
            debt = self._debts[0]
            place = await self._missed(first, debt.pattern, debt.after, debt.upto, lambda: debt.heard, locate)  # noqa: B023
            if self._debts and self._debts[0] is debt:
                self._debts.popleft()
            if place is not None:
                return Loss(debt.pattern, place)
        return None

    async def _missed(
        self, first: int, pattern: str, after: int, upto: int, heard: Callable[[], int | None], locate: Locate
    ) -> int | None:
        """The place before the first event that should have been heard between two sequences and was not.

        Where it is not known how many were heard, it must be told one by one.
        """
        # Of what was heard, retention may have taken some: then numbers tell nothing.
        unsure = first > after + 1 or heard() is None
        if not unsure and not await self._lacks(pattern, after, upto, heard):
            return None
        place = await locate(pattern, after, upto)
        if place == UNTOLD:
            return None if unsure else after
        return place

    async def _lacks(self, pattern: str, after: int, upto: int, heard: Callable[[], int | None]) -> bool:
        """Says whether the store has more events of a subscription than it brought. Fewer is retention's work."""
        for pause in (*LOOK_AGAIN, 0.0):
            stored = await self._broker.count(pattern, after) - await self._broker.count(pattern, upto)
            count = heard()
            if count is None or stored <= count:
                return False
            await asyncio.sleep(pause)
        return True

    async def _settle(self) -> None:
        """Subscribes what is wanted and not covered by a wider pattern; the wider first, so that nothing is missed."""
        while self._missing:
            pattern = next(iter(self._missing))
            ear = _Ear(pattern, self._take)
            ear.listening = await self._broker.listen(pattern, ear.hear)
            self._active[pattern] = ear
            self._ears.set(pattern, ear)
            self._unbegun.add(ear)
            self._missing.pop(pattern, None)
            if pattern not in self._wanted.found:
                # Taken back while it was subscribed.
                self._leftover[pattern] = None
        # Asked by what is missing and not by what was added: whoever was cancelled in between left its pattern here.
        if unknown := list(self._unbegun):
            last = (await self._broker.state()).last
            for ear in unknown:
                if ear.since is None:
                    ear.begin(last)
            self._unbegun.difference_update(unknown)
        for pattern in self._spent():
            if pattern not in self._leftover:
                continue  # wanted again while another one was taken back
            ear = self._active.pop(pattern)
            self._ears.remove(pattern)
            self._leftover.pop(pattern, None)
            self._unbegun.discard(ear)
            if ear.listening is not None:
                await ear.listening.stop()

    def _spent(self) -> list[str]:
        """The subscriptions that nobody needs any more.

        Where others took over what one heard, it stays until all up to where they began is compared with the store.
        """
        if self._missing:
            return []  # what takes over may be among these; whoever wants them settles next
        found = self._wanted.found
        return [
            pattern
            for pattern in self._leftover
            if all(
                self._active[pattern].verified >= (heir.since or 0)
                for heir in self._ears.overlapping(pattern)
                if heir.pattern in found
            )
        ]

    def _since(self, pattern: str) -> int:
        """The sequence after which all events under a wanted pattern are heard; 0 where all begins anew."""
        return min(ear.since or 0 for ear in self._ears.covering(pattern))

    def _take(self, record: Record) -> None:
        sequence = record.sequence
        if sequence <= self.position:
            if sequence < self.position and self._chains.get(record.subject, 0) < sequence:
                self._broken("out of order", Loss(record.subject, sequence - 1))
            return
        heard = self._chains.get(record.subject)
        if heard is None or record.previous not in (heard, 0):
            # 0 says that the event before this one is no longer kept; that proves nothing either way. A chain may be of a
            # time after which nobody listened.
            heard = max(heard or 0, self._begun(record))
        whole = record.previous <= heard
        if len(self._chains) >= MAX_CHAINS and record.subject not in self._chains:
            self._chains.clear()
            self._chains_since = self.position
        self._chains[record.subject] = sequence
        if not whole:
            self._broken("an event was not heard", Loss(record.subject, heard))
        self.position = sequence
        self._heard(record)

    def _begun(self, record: Record) -> int:
        """The sequence up to which nothing of a record's subject needs to have been heard."""
        since = [ear.since for ear in self._ears.matching(record.subject) if ear.since is not None]
        # Of a subscription that has ended, or whose beginning is not known yet, nothing was promised.
        return max(min(since), self._chains_since) if since else record.previous
