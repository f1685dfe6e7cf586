"""This file is where new events are heard: one core subscription per pattern and process, reference-counted.

A copy of each stored event arrives on `live.ev.…` with its sequence, and the sequence of the event before it on the same
subject. Overlapping patterns bring an event more than once; it is passed on once. A break in the chain of a subject, an
event out of order, a lost connection: the listener is told that something may be missing, and reads again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from router.broker import Broker
from router.connection import Listening
from router.record import Record
from router.subject import covers, distinct, matches

log = logging.getLogger(__name__)

# 50,000 subjects whose newest sequence is remembered, about 6 MB; past it the chains are forgotten and begin anew.
MAX_CHAINS = 50_000


class Live:
    """What one process hears of EVENTS, in stream order, each event once."""

    def __init__(self, broker: Broker, heard: Callable[[Record], None], broken: Callable[[str], None]) -> None:
        """`heard(record)` and `broken(reason)` are called from the read loop and must not block."""
        self._broker = broker
        self._heard = heard
        self._broken = broken
        self._wanted: Counter[str] = Counter()
        self._active: dict[str, Listening] = {}
        self._since: dict[str, int] = {}
        self._changing = asyncio.Lock()
        self._chains: dict[str, int] = {}
        self._chains_since = 0
        self.position = 0

    @property
    def patterns(self) -> list[str]:
        """The patterns that are subscribed just now."""
        return sorted(self._active)

    async def want(self, patterns: tuple[str, ...]) -> int:
        """Hears these patterns too; returns the sequence after which all their events are heard. Raises BrokerError."""
        self._wanted.update(patterns)
        try:
            async with self._changing:
                await self._settle()
        except BaseException:
            self._wanted.subtract(patterns)
            raise
        return max(self._since[self._cover(pattern)] for pattern in patterns)

    async def unwant(self, patterns: tuple[str, ...]) -> None:
        """Takes back one `want`."""
        self._wanted.subtract(patterns)
        async with self._changing:
            await self._settle()

    def forget(self) -> None:
        """Takes whatever is heard next as the first: after a lost connection, or when the stream may be another."""
        self._chains.clear()
        self.position = 0

    def restart(self, since: int) -> None:
        """Says that what was stored up to `since` need not have been heard; what was heard after it counts."""
        self._chains_since = max(since, self.position)
        self._since = dict.fromkeys(self._active, since)
        self.position = max(self.position, since)

    async def _settle(self) -> None:
        """Subscribes what is wanted and not covered by a wider pattern; the wider first, so that nothing is missed."""
        self._wanted += Counter()  # drops what nobody wants any more
        target = distinct(self._wanted)
        for pattern in target:
            if pattern not in self._active:
                self._active[pattern] = await self._broker.listen(pattern, self._take)
        # Asked by what is missing and not by what was added: whoever was cancelled in between left its pattern here.
        if unknown := [pattern for pattern in self._active if pattern not in self._since]:
            last = (await self._broker.state()).last
            self._since |= dict.fromkeys(unknown, last)
        for pattern in [pattern for pattern in self._active if pattern not in target]:
            self._since.pop(pattern, None)
            await self._active.pop(pattern).stop()

    def _cover(self, pattern: str) -> str:
        return next(active for active in self._active if covers(active, pattern))

    def _take(self, record: Record) -> None:
        sequence = record.sequence
        if sequence <= self.position:
            if sequence < self.position and self._chains.get(record.subject, 0) < sequence:
                self._broken("out of order")
            return
        chain = self._chains.get(record.subject)
        if chain is not None:
            # 0 says that the event before this one is no longer kept; that proves nothing either way.
            whole = record.previous in (chain, 0)
        else:
            whole = record.previous <= self._begun(record.subject)
            if len(self._chains) >= MAX_CHAINS:
                self._chains.clear()
                self._chains_since = self.position
        self._chains[record.subject] = sequence
        if not whole:
            self._broken("an event was not heard")
        self.position = sequence
        self._heard(record)

    def _begun(self, subject: str) -> int:
        """The sequence up to which nothing of a subject needs to have been heard."""
        since = [begun for pattern, begun in self._since.items() if matches(pattern, subject)]
        return max(min(since), self._chains_since) if since else self.position
