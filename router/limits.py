"""Limits the size of an event, by the maximum of the NATS server and by what is added to the event on the way.

The server counts a message's headers and payload together (`max_payload`), and closes the connection of a client that
sends more. An event is stored with few headers, and copied later with more: as a webhook job, as a retry with its schedule, in a
batch of one, as a dead letter, and into the envelope that a client gets. `HEADROOM` is room for the longest of these, so
that what was accepted can always be delivered, retried and stored as a dead letter. ADR 0016 lists what each adds.
"""

from __future__ import annotations

from collections.abc import Mapping

# 8 KiB. A dead letter adds 7.5 KiB at most, a batch of one with its schedule 3 KiB, the envelope of a WebSocket message 1 KiB
# beside `source`, `key` and `cause`, which are parts of the event already.
HEADROOM = 8192
# A server that takes less than this has hardly room for events beside that.
SMALL_SERVER = 65_536


def headers_size(headers: Mapping[str, str] | None) -> int:
    """The bytes of a header block on the wire; 0 where there is none."""
    if not headers:
        return 0
    size = 12
    for name, value in headers.items():
        text = str(value)
        size += len(name) + 4 + (len(text) if text.isascii() else len(text.encode(errors="replace")))
    return size


def message_size(payload: bytes, headers: Mapping[str, str] | None) -> int:
    """The bytes of a message as the server counts them."""
    return headers_size(headers) + len(payload)


def largest_event(max_payload: int, max_body: int | None = None) -> int:
    """The most bytes an event may have as msgpack, where the server takes `max_payload` a message.

    With `max_body`, the most that the edge takes as the body of a request.
    """
    most = max_payload if max_body is None else min(max_payload, max_body)
    return max(0, most - HEADROOM)
