"""The dialect of the Durable Streams protocol in JSON mode: arrays of events, and on SSE `data` and `control` events.

An offset is our cursor. What the protocol calls a cursor says nothing of a place: it is the number of an interval of time, which
makes the addresses of one poll and the next differ, so that a cache does not answer for ever with what it has.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from edge.dialects.callback import callback
from edge.dialects.dialect import Headers, SharedDialect
from router.codec import to_json

# 2024-10-09 in UTC, and 20 s: the protocol's own.
INTERVALS_SINCE = 1_728_432_000
INTERVAL_SECONDS = 20
# 3,600 s: so far a cursor leaps at most that its client is ahead of, or at.
MAX_LEAP = 180
# What a cursor of a client may have; more is none of ours.
_MAX_DIGITS = 15

# No page of another origin embeds an answer. The server itself forbids to guess at its type.
PROTECTION = {"Cross-Origin-Resource-Policy": "same-origin"}

_HEADERS: Headers = (
    # Without a charset, as the protocol's conformance suite has it.
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
    *((name.lower().encode(), value.encode()) for name, value in PROTECTION.items()),
)


def stream_cursor(given: str | None = None, now: float | None = None) -> str:
    """The number of this interval, or one beyond that which a client has sent."""
    current = int(((time.time() if now is None else now) - INTERVALS_SINCE) // INTERVAL_SECONDS)
    if given and given.isascii() and given.isdigit() and len(given) <= _MAX_DIGITS and int(given) >= current:
        return str(int(given) + random.randint(1, MAX_LEAP))
    return str(current)


# On SSE there is no blank behind `data:`, as the protocol's conformance suite has it.


def array(texts: Sequence[bytes]) -> bytes:
    """Events as a JSON array."""
    return b"[%b]" % b",".join(texts)


def control(offset: str, cursor: str, *, up_to_date: bool = False, closed: bool = False) -> bytes:
    """What is said behind data: where its client goes on, and whether there is more. Behind the end there is no cursor."""
    said: dict[str, str | bool] = {"streamNextOffset": offset}
    if not closed:
        said["streamCursor"] = cursor
    if up_to_date or closed:
        said["upToDate"] = True
    if closed:
        said["streamClosed"] = True
    return b"event: control\ndata:%b\n\n" % to_json(said)


def data(texts: bytes) -> bytes:
    """An array, which has no line break, as an event of SSE."""
    return b"event: data\ndata:%b\n\n" % texts


DURABLE_STREAMS = SharedDialect(name="durable-streams", encode=callback, headers=_HEADERS, opening=b"")
