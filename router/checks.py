"""Caches the checks of places in EVENTS, and reads those that are missing from the leader of the shard's stream.

A check is the CRC-32 of the stored payload at a sequence (see `router.cursor`). It tells whether the stream still holds at
that sequence what it held when a cursor was given out, or whether an older state of it was restored since.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from router.cursor import UNKNOWN, check_of
from router.errors import Refused, Timeout
from router.layout import ORIGINAL, Shard
from router.nats.connection import Connection
from router.nats.stream import Stream

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

    def doubt(self) -> None:
        """Has requests that are under way note nothing: their answers may be of another life of the stream."""
        self._doubts += 1
        self._asking.clear()

    def clear(self) -> None:
        """Forgets all, as after the stream became another."""
        self.doubt()
        self._known.clear()
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
        payload = await stored_at(self._connection, sequence, shard)
        return UNKNOWN if payload is None else check_of(payload)


async def stored_at(connection: Connection, sequence: int, shard: Shard = ORIGINAL) -> bytes | None:
    """Reads the payload at a place from the leader of its stream, since copies may be behind; None where it is not kept.

    Raises BrokerError.
    """
    try:
        message = await Stream(connection, shard.stream).get(sequence)
    except Refused as refusal:
        if refusal.code != 404:
            raise Timeout("the stream's leader does not answer") from None
        return None
    return None if message is None else message.payload
