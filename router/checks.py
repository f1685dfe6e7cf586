"""Caches the checks of places in EVENTS, and reads those that are missing from the leader of the shard's stream.

A check is the CRC-32 of the stored payload at a sequence (see `router.cursor`). It tells whether the stream still holds at
that sequence what it held when a cursor was given out, or whether an older state of it was restored since.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from router.cursor import UNKNOWN, check_of, parse_time
from router.errors import Refused, Timeout
from router.layout import ORIGINAL, Shard
from router.nats.connection import Connection
from router.nats.stream import LeaderMessage, Stream
from router.position import Position
from router.record import Record

# Some 100 bytes each. Live readers stand at the last batches and heartbeats, so these reach back for many seconds.
MAX_CHECKS = 16_384


class Checks:
    """A bounded cache of checks by shard and sequence, for one life of the streams."""

    def __init__(self, connection: Connection, most: int = MAX_CHECKS) -> None:
        self._connection = connection
        self._most = most
        # By the name of the shard's stream, and the sequence.
        self._known: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._asking: dict[tuple[str, int], asyncio.Future[int]] = {}
        # When the events of later generations were made or stored, in ns: a cursor has the check of the newest one.
        self._times: OrderedDict[tuple[str, int], int] = OrderedDict()
        # The newest place that is known of each stream, and its check.
        self._newest: dict[str, tuple[int, int]] = {}
        # Counts how often it became doubtful which life of the stream answers.
        self._doubts = 0

    def __len__(self) -> int:
        return len(self._known)

    def known(self, sequence: int, shard: Shard = ORIGINAL) -> int:
        """The check of a place, UNKNOWN where it is not at hand."""
        return self._known.get((shard.stream, sequence), UNKNOWN)

    def newest(self) -> dict[str, tuple[int, int]]:
        """The newest place of each stream that is known now, and its check, by the stream's name."""
        return dict(self._newest)

    def note(self, sequence: int, check: int, shard: Shard = ORIGINAL) -> None:
        """Keeps the check of a place; the place that was noted first makes room."""
        if check < 0:
            return
        stream = shard.stream
        self._known[stream, sequence] = check
        newest = self._newest.get(stream)
        if newest is None or sequence >= newest[0]:
            self._newest[stream] = sequence, check
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def note_event(self, record: Record) -> None:
        """Keeps the check of a place, from the event there."""
        shard = record.shard
        self.note(record.sequence, record.check, shard)
        if shard.generation and record.event is not None:
            self._note_time((shard.stream, record.sequence), record.event.time)

    def _note_time(self, place: tuple[str, int], moment: int) -> None:
        self._times[place] = moment
        if len(self._times) > self._most:
            self._times.popitem(last=False)

    def newest_of(self, position: Position, shards: Sequence[Shard]) -> tuple[int, int] | None:
        """Which of some shards has the newest event at a position, by its index, and the check of that; None where none is known."""
        found = [(shard, position.of(shard)) for shard in shards]
        known = [
            (self._times.get((shard.stream, sequence), 0), shard.index, check)
            for shard, sequence in found
            if (check := self.known(sequence, shard)) != UNKNOWN
        ]
        return max(known)[1:] if known else None

    def doubt(self) -> None:
        """Has requests that are under way note nothing: their answers may be of another life of the stream."""
        self._doubts += 1
        self._asking.clear()

    def clear(self) -> None:
        """Forgets all, as after the stream became another."""
        self.doubt()
        self._known.clear()
        self._times.clear()
        self._newest.clear()

    async def find(self, sequence: int, shard: Shard = ORIGINAL) -> int:
        """The check of a place: from the cache, else as `ask`; asked once for all who wait for it. Raises BrokerError."""
        if (check := self.known(sequence, shard)) != UNKNOWN or sequence <= 0:
            return check
        place = shard.stream, sequence
        asking = self._asking.get(place)
        # UNKNOWN, too, where who asked left or failed: then the place is asked for anew below.
        if asking is not None and (check := await asyncio.shield(asking)) != UNKNOWN:
            return check
        future = self._asking[place] = asyncio.get_running_loop().create_future()
        doubts = self._doubts
        check = UNKNOWN
        try:
            check = await self.ask(sequence, shard)
        finally:
            if self._asking.get(place) is future:
                del self._asking[place]
            future.set_result(check)
        if doubts == self._doubts:
            self.note(sequence, check, shard)
        return check

    async def ask(self, sequence: int, shard: Shard = ORIGINAL) -> int:
        """The check of what the stream's leader holds at a place, UNKNOWN where that is no longer kept. Raises BrokerError."""
        message = await _message_at(self._connection, sequence, shard)
        if message is None:
            return UNKNOWN
        if shard.generation:
            moment = parse_time(message.time).timestamp() if message.time else 0.0
            self._note_time((shard.stream, sequence), int(moment * 1e9))
        return check_of(message.payload)


async def stored_at(connection: Connection, sequence: int, shard: Shard = ORIGINAL) -> bytes | None:
    """Reads the payload at a place from the leader of its stream, since copies may be behind; None where it is not kept.

    Raises BrokerError.
    """
    message = await _message_at(connection, sequence, shard)
    return None if message is None else message.payload


async def _message_at(connection: Connection, sequence: int, shard: Shard) -> LeaderMessage | None:
    try:
        return await Stream(connection, shard.stream).get(sequence)
    except Refused as refusal:
        if refusal.code != 404:
            raise Timeout("the stream's leader does not answer") from None
        return None
