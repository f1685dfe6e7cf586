"""Remembers which events a process has received, to find the first one that it has not."""

from __future__ import annotations

from collections import deque
from functools import reduce
from typing import NamedTuple

from edge.hub.recent import Recent
from router.broker import Broker
from router.layout import Shard
from router.live import UNLOCATED
from router.position import Position, lacking
from router.replay import Replay

# Renewals whose earlier received events are still to be compared with the store.
MAX_REMEMBERED = 4


class _Received(NamedTuple):
    """The places of what was received between two positions: the index of the shard, and the sequence."""

    since: Position
    upto: Position
    places: set[tuple[int, int]]


class ReceivedPlaces:
    """What was received before the last renewals, for as long as it is not compared with the store, and what is since then."""

    def __init__(self, broker: Broker, replay: Replay, recent: Recent) -> None:
        self._broker = broker
        self._replay = replay
        self._recent = recent
        self._remembered: deque[_Received] = deque(maxlen=MAX_REMEMBERED)

    def remember(self, upto: Position) -> None:
        """Keeps what was received up to a position, before that is forgotten."""
        self._remembered.append(self._now(upto))

    def forget(self) -> None:
        """Drops all of it."""
        self._remembered.clear()

    def _now(self, upto: Position) -> _Received:
        return _Received(self._recent.since, upto, self._recent.places())

    async def locate(self, pattern: str, after: Position, upto: Position) -> Position | None:
        """Finds the first events that were missed, so that no reader goes back further than need be. Raises BrokerError.

        See `Live.verify`. Of what lies further back than what is remembered nothing is known.
        """
        known = next((one for one in (*self._remembered, self._now(upto)) if _reaches(one, upto)), None)
        generation = self._replay.layout.generation(upto.generation)
        if known is None or generation is None:
            return UNLOCATED
        missed = [
            await self._first_missed(shard, pattern, after.joined(known.since).of(shard), upto.of(shard), known.places)
            for shard in generation.shards_of((pattern,))
        ]
        if found := [place for place in missed if place is not None]:
            return reduce(Position.met, found)
        return None if after.reaches(known.since) else UNLOCATED

    async def _first_missed(
        self, shard: Shard, pattern: str, after: int, upto: int, received: set[tuple[int, int]]
    ) -> Position | None:
        more = True
        while more and after < upto:
            page = await self._broker.shard(shard).read(pattern, after)
            for record in page.records:
                if record.sequence > upto:
                    return None
                if (shard.index, record.sequence) not in received:
                    return lacking(shard, record.sequence - 1)
            more = page.more and bool(page.records)
            after = page.records[-1].sequence if page.records else upto
        return None


def _reaches(received: _Received, upto: Position) -> bool:
    """Whether it is of the same streams, and goes on up to a position from somewhere before it."""
    same = received.upto.generation == upto.generation
    return same and received.since.behind(upto) and received.upto.reaches(upto)
