"""Remembers the events that this process is about to publish until their live copies come, which then need not be decoded.

An edge that is published to receives most of what it stores within milliseconds, and has decoded it once already: nothing is
encoded that a reader could not decode (`router.codec`).
"""

from __future__ import annotations

from router.codec import encode_checked
from router.event import Event

# 1,024 events of up to 1 kB: some 4 MB with what they are decoded to. Forgotten all at once: of an event that nobody here
# reads no copy comes.
MAX_EVENTS = 1024
MAX_BYTES = 1024

_events: dict[bytes, Event] = {}


def encode_own(event: Event) -> bytes:
    """Packs an event that this process publishes next. Raises BadEvent as `encode` does."""
    packed, decoded = encode_checked(event)
    if len(packed) <= MAX_BYTES:
        if len(_events) >= MAX_EVENTS:
            _events.clear()
        _events[packed] = decoded
    return packed


def take_own(payload: bytes) -> Event | None:
    """The event of these bytes, once, where this process packed them a moment ago."""
    return _events.pop(payload, None)
