"""Reads the live copies of stored events, and from which shard of EVENTS each of them is."""

from __future__ import annotations

from collections.abc import Callable

from router.layout import FIRST, Layout, Shard
from router.nats.connection import Connection
from router.nats.subscription import Subscription
from router.own_events import take_own
from router.record import Record
from router.subject import LIVE

_STREAM, _SEQUENCE, _PREVIOUS = b"\r\nNats-Stream: ", b"\r\nNats-Sequence: ", b"\r\nNats-Last-Sequence: "
_STRIP = len(LIVE)

# Says from its headers which shard stores a live copy.
FindShard = Callable[[bytes], Shard]
# Where an event is stored that is of no shard known here.
ELSEWHERE = Shard(-1, 0, 1, "", "")


def find_shard(layout: Layout) -> FindShard:
    """Finds the shards of a layout that take new events."""
    shards = layout.current.shards
    if len(shards) == 1:
        only, mark = shards[0], _STREAM + shards[0].stream.encode() + b"\r"
        return lambda headers: only if mark in headers else ELSEWHERE
    names = {shard.stream.encode(): shard for shard in shards}
    return lambda headers: names.get(_stream(headers), ELSEWHERE)


def stream_of_copy(headers: bytes) -> str:
    """Names the stream that a live copy is from."""
    return _stream(headers).decode()


def _stream(headers: bytes) -> bytes:
    start = headers.find(_STREAM) + len(_STREAM)
    return headers[start : headers.index(b"\r", start)]


_FIRST = find_shard(FIRST)


def record_of(subject: str, payload: bytes, headers: bytes, find: FindShard = _FIRST) -> Record | None:
    """Makes the record of a live copy; None for a message that was not stored."""
    # Few looks at bytes that hold eight headers: this is done for every event.
    at = headers.find(_SEQUENCE)
    if at < 0:
        return None
    start = at + len(_SEQUENCE)
    sequence = int(headers[start : headers.index(b"\r", start)])
    start = headers.find(_PREVIOUS) + len(_PREVIOUS)
    previous = int(headers[start : headers.index(b"\r", start)]) if start >= len(_PREVIOUS) else 0
    record = Record(sequence, subject[_STRIP:], payload, previous, 0, None, find(headers))
    record.decoded(take_own(payload))
    return record


async def listen(
    connection: Connection, pattern: str, receive: Callable[[Record], None], layout: Layout = FIRST
) -> Subscription:
    """Receives every event under a pattern as it is stored, in the server's order, from the read loop; some may be lost.

    Those that are stored in other streams than the ones that take new events are passed over.
    """
    find = find_shard(layout)

    def received(subject: str, _reply: str, payload: bytes, headers: bytes) -> None:
        if (record := record_of(subject, payload, headers, find)) is not None and record.shard is not ELSEWHERE:
            receive(record)

    return await connection.listen(LIVE + pattern, received)
