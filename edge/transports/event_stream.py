"""Writes the parts of dialects and notices as server-sent events, and bodies in chunked coding."""

from __future__ import annotations

from collections.abc import Sequence

from edge.dialects.dialect import Dialect, DialectPart, FoldedDialect
from edge.dialects.folding import Taken, part_id

# U+0085, U+2028 and U+2029: line ends to many programs (Python's `str.splitlines` among them), and none to the standard.
_LINE_ENDS = ((b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


def one_line(json: bytes) -> bytes:
    """Escapes in JSON what some readers of lines split at. JSON itself escapes those below U+0020."""
    if not json.isascii():
        for raw, escaped in _LINE_ENDS:
            json = json.replace(raw, escaped)
    return json


# Server-sent events. `id:` comes behind `data:`. Some clients (fetch-event-source) store an id as soon as they have read its
# line: before the data, a connection cut in between would resume behind an event that was never seen.


def sse_part(part: DialectPart) -> bytes:
    """One part as a server-sent event."""
    # `retry:` only beside data: some clients take a lone field for an event without data.
    return b"".join(
        (
            b"retry: %d\n" % part.retry if part.retry is not None else b"",
            b"event: %b\n" % part.name.encode() if part.name is not None else b"",
            b"data: %b\n" % one_line(part.data),
            b"id: %b\n" % part.cursor.encode() if part.cursor else b"",
            b"\n",
        )
    )


def sse_event(taken: Taken, cursor: str, dialect: FoldedDialect) -> bytes:
    """What an event became. Its cursor is on the last part only: a cut in between repeats the event as a whole, but in a dialect
    that has ids of parts."""
    first = taken.had + 1
    ids = [part_id(cursor, count) if dialect.part_ids else None for count in range(first, first + len(taken.parts) - 1)]
    return b"".join(
        _sse_bare(part, id, dialect.leading_id) for part, id in zip(taken.parts, (*ids, cursor), strict=True)
    )


def _sse_bare(part: DialectPart, id: str | None, leading: bool) -> bytes:
    named = b"" if part.name is None else b"event: %b\n" % part.name.encode()
    told = named + b"data: %b\n" % one_line(part.data)
    if id is None:
        return told + b"\n"
    return b"id: %b\n%b\n" % (id.encode(), told) if leading else b"%bid: %b\n\n" % (told, id.encode())


def sse_notice(dialect: Dialect, parts: Sequence[DialectPart], control: str) -> bytes:
    """A notice; silence and a position about which nothing is said are the dialect's comment."""
    if control == "heartbeat" or (control == "position" and not parts):
        return dialect.keep_alive
    return b"".join(map(sse_part, parts))


# What ends a body in chunked coding. One that lacks it was cut off.
LAST_CHUNK = b"0\r\n\r\n"


def chunk(body: bytes) -> bytes:
    """Makes one chunk (RFC 9112, 7.1); nothing of nothing, as an empty chunk ends a body."""
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b""
