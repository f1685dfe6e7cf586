"""Encodes a reader's batches as the Durable Streams protocol has them: arrays, each followed by a `control` event.

A `control` says whether its client is up to date. Of a page of the past that is known only when the reader has looked for more,
so it waits for what the reader does next. Both are one write: a client that is cut between them would read the page twice.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

from edge.dialects.durable_streams import DURABLE_STREAMS, array, control, data
from edge.disconnect import COMPLETED, MISSED, Disconnect
from edge.hub.reader import LIVE, Reader
from edge.transports.event_stream import chunk, one_line
from edge.types import Batch, Encoder, Notice, State
from router.position import Position
from router.record import Record

# Says of an event, in order, whether it belongs to the stream, and whether the stream is over behind it. One with state can be
# copied, and is equal to those that say the same of all that comes.
Belongs = Callable[[Record], tuple[bool, bool]]

_DATA = f"{DURABLE_STREAMS.name}/data"


def always(_record: Record) -> tuple[bool, bool]:
    """A stream without an end."""
    return True, False


class DurableEncoder:
    """The conversation with one client, or with a write group of live ones that agree."""

    __slots__ = ("_belongs", "_cursor", "_end", "_held", "_owed", "_reader", "chunked", "over")

    dialect = DURABLE_STREAMS
    opening = b""

    def __init__(
        self, cursor: str, belongs: Belongs = always, end: Position | None = None, *, chunked: bool = False
    ) -> None:
        """`cursor` is the protocol's, not a place. At the position `end` the stream is over; None where that is not known."""
        self.chunked = chunked
        # Whether nothing is said any more.
        self.over = False
        self._cursor = cursor
        self._belongs = belongs
        self._end = end
        # A page that waits for its `control`, and the cursor behind it.
        self._held = b""
        self._owed: str | None = None
        self._reader: Reader | None = None

    @property
    def name(self) -> str:
        """Its dialect and framing."""
        return f"{self.dialect.name}/{'sse-chunked' if self.chunked else 'sse'}"

    def bind(self, reader: Reader) -> None:
        """Encodes for this reader, which says when it has read all there is."""
        self._reader = reader
        reader.says_live = True

    # In a write group

    def shares(self, _position: Position) -> bool:
        """Whether nothing waits that the others do not wait for."""
        return not self.over and self._owed is None

    def agrees(self, other: Encoder) -> bool:
        """Whether both make the same of all that comes."""
        return (
            isinstance(other, DurableEncoder)
            and (self.chunked, self.over, self._cursor, self._end)
            == (other.chunked, other.over, other._cursor, other._end)
            and self._belongs == other._belongs
        )

    def fork(self) -> DurableEncoder:
        """One for a write group, all of whose readers are up to date."""
        return DurableEncoder(self._cursor, copy.copy(self._belongs), self._end, chunked=self.chunked)

    def read_along(self, other: Encoder, leave: Callable[[], None]) -> None:
        """Asks nothing of its own meanwhile."""

    def follow(self, other: Encoder) -> None:
        """Goes to where that of a write group is."""
        assert isinstance(other, DurableEncoder)
        self.over, self._belongs = other.over, copy.copy(other._belongs)

    # What is written

    def encode(self, batch: Batch) -> bytes:
        """A batch, and its `control` where that can be said already."""
        if self.over:
            return b""
        taken, self.over = self._taken(batch.records)
        body = self._settle()
        self._held = self._data(batch, taken) if taken else b""
        # Also behind events that are not shown: a client of these gets on.
        self._owed = ((taken or batch.records) if self.over else batch.records)[-1].cursor(batch.epoch)
        if self.over or self._is_caught_up:
            body += self._settle(up_to_date=True, closed=self.over)
        return self._framed(body)

    def notice(self, notice: Notice) -> bytes:
        """A notice. The protocol knows no gap in a stream: it ends, and its client comes back and is answered 410."""
        if self.over:
            return b""
        body = b""
        if notice.control in (LIVE, "position"):
            self._owed = notice.body["cursor"]
            end, reader = self._end, self._reader
            over = end is not None and reader is not None and reader.position.reaches(end)
            body = self._settle(up_to_date=True, closed=over)
            if over:
                self._leave(COMPLETED)
        elif notice.control in ("gap", "bye"):
            body = self._settle()
            if notice.control == "gap":
                self._leave(MISSED)
        elif notice.control == "heartbeat":
            body = self._settle() + self.dialect.keep_alive
        return self._framed(body)

    def _leave(self, reason: Disconnect) -> None:
        self.over = True
        if self._reader is not None:
            # Behind what is being written.
            asyncio.get_running_loop().call_soon(self._reader.close, reason)

    @property
    def _is_caught_up(self) -> bool:
        reader = self._reader
        return reader is None or (reader.state is State.LIVE and not reader.queued[0])

    def _settle(self, up_to_date: bool = False, closed: bool = False) -> bytes:
        """What is held, and its `control`."""
        owed, held, self._owed, self._held = self._owed, self._held, None, b""
        return b"" if owed is None else held + control(owed, self._cursor, up_to_date=up_to_date, closed=closed)

    def _framed(self, body: bytes) -> bytes:
        return chunk(body) if self.chunked else body

    def _taken(self, records: list[Record]) -> tuple[list[Record], bool]:
        taken: list[Record] = []
        for record in records:
            belongs, over = self._belongs(record)
            if belongs:
                taken.append(record)
            if over:
                return taken, True
        return taken, False

    def _data(self, batch: Batch, taken: list[Record]) -> bytes:
        whole = len(taken) == len(batch.records)
        made: bytes | None = batch.encoded.get(_DATA) if whole else None
        if made is None:
            made = data(one_line(array(_texts(batch, taken))))
            if whole:
                batch.encoded[_DATA] = made
        return made


def _texts(batch: Batch, taken: list[Record]) -> list[bytes]:
    texts: list[Any] = []
    for record in taken:
        try:
            texts.append(DURABLE_STREAMS.encode(record, batch.epoch))
        except Exception as fault:  # noqa: BLE001 - logged by the hub
            batch.unencodable(record, fault)
    return texts
