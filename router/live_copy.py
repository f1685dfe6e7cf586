"""Reads the live copies of stored events, and from which shard of EVENTS each of them is."""

from __future__ import annotations

from collections.abc import Callable

from router.layout import FIRST, Layout, Shard
from router.nats.connection import Connection
from router.nats.subscription import Subscription
from router.record import Record
from router.subject import LIVE

_STREAM, _SEQUENCE, _PREVIOUS = b"\r\nNats-Stream: ", b"\r\nNats-Sequence: ", b"\r\nNats-Last-Sequence: "
_STRIP = len(LIVE)

# The shards of a layout by the names of their streams, as headers have them.
ShardNames = dict[bytes, Shard]


# Where an event is stored that is of no shard known here.
ELSEWHERE = Shard(-1, 0, 1, "", "")


def shard_names(layout: Layout) -> ShardNames:
    """The shards by their streams' names."""
    return {name.encode(): shard for name, shard in layout.by_stream.items()}


_FIRST = shard_names(FIRST)


def record_of(subject: str, payload: bytes, headers: bytes, shards: ShardNames = _FIRST) -> Record | None:
    """Makes the record of a live copy; None for a message that was not stored."""
    # Few looks at bytes that hold eight headers: this is done for every event.
    at = headers.find(_SEQUENCE)
    if at < 0:
        return None
    start = headers.find(_STREAM) + len(_STREAM)
    shard = shards.get(headers[start : headers.index(b"\r", start)], ELSEWHERE)
    start = at + len(_SEQUENCE)
    sequence = int(headers[start : headers.index(b"\r", start)])
    start = headers.find(_PREVIOUS) + len(_PREVIOUS)
    previous = int(headers[start : headers.index(b"\r", start)]) if start >= len(_PREVIOUS) else 0
    return Record(sequence, subject[_STRIP:], payload, previous, shard=shard)


async def listen(
    connection: Connection, pattern: str, receive: Callable[[Record], None], layout: Layout = FIRST
) -> Subscription:
    """Receives every event under a pattern as it is stored, in the server's order, from the read loop; some may be lost.

    Those that are stored in streams of no shard of the layout are passed over.
    """
    names = shard_names(layout)

    def received(subject: str, _reply: str, payload: bytes, headers: bytes) -> None:
        if (record := record_of(subject, payload, headers, names)) is not None and record.shard is not ELSEWHERE:
            receive(record)

    return await connection.listen(LIVE + pattern, received)
