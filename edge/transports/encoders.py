"""This file is where batches take the form of a wire; what is made here is shared by all readers of the batch."""

from __future__ import annotations

from edge.dialects import Dialect
from edge.transports.frames import TEXT, deflated, frame
from edge.types import Batch, Notice, Wire
from router.codec import to_json

# For the browser's own reconnect; the server's `bye` says more.
RETRY = b"retry: 1000\n"

# U+0085, U+2028 and U+2029: line ends to many programs (Python's `str.splitlines` among them), and none to the standard.
_LINE_ENDS = ((b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


def one_line(json: bytes) -> bytes:
    """Escapes in JSON what some readers of lines split at. JSON itself escapes those below U+0020."""
    if not json.isascii():
        for raw, escaped in _LINE_ENDS:
            json = json.replace(raw, escaped)
    return json


class SseWire(Wire):
    """Server-sent events: `id:` is the cursor, application events have no `event:`, so that `onmessage` sees them.

    `id:` comes behind `data:`. Some clients (fetch-event-source) store an id as soon as they have read its line: before the
    data, a connection cut in between would resume behind an event that was never seen.
    """

    def __init__(self, dialect_name: str, dialect: Dialect) -> None:
        self.name = f"{dialect_name}/sse"
        self._dialect = dialect

    def events(self, batch: Batch) -> bytes:
        epoch, dialect = batch.epoch, self._dialect
        return one_line(
            b"".join(
                [
                    b"data: %b\nid: %b\n\n" % (dialect(record, epoch), record.cursor(epoch).encode())
                    for record in batch.records
                ]
            )
        )

    @staticmethod
    def notice(notice: Notice) -> bytes:
        """A named event, or a comment for a heartbeat. Its `id:` keeps the client's Last-Event-ID at the cursor."""
        if notice.control == "heartbeat":
            # No blank line behind it: httpx-sse would take that for an event without data.
            return b": heartbeat\n"
        # `retry:` only beside data: some clients take a lone field for an event without data.
        retry = RETRY if notice.control == "ready" else b""
        cursor = notice.body.get("cursor")
        place = f"id: {cursor}\n".encode() if cursor else b""
        name = notice.control.encode()
        return b"".join((retry, b"event: ", name, b"\ndata: ", one_line(to_json(notice.body)), b"\n", place, b"\n"))


class ChunkedSseWire(SseWire):
    """The same in HTTP/1.1's chunked coding, for sockets that were handed over: one chunk for a batch, shared as its events are.

    A client then knows a connection that was cut from a stream that ended, and one that reads chunk by chunk (urllib3) has
    each batch as soon as it is there.
    """

    def __init__(self, dialect_name: str, dialect: Dialect) -> None:
        super().__init__(dialect_name, dialect)
        self.name = f"{dialect_name}/sse-chunked"

    def events(self, batch: Batch) -> bytes:
        return chunk(super().events(batch))

    @staticmethod
    def notice(notice: Notice) -> bytes:
        return chunk(SseWire.notice(notice))


# What ends a body in chunked coding. One that lacks it was cut off.
LAST_CHUNK = b"0\r\n\r\n"


def chunk(body: bytes) -> bytes:
    """Makes one chunk (RFC 9112, 7.1) of bytes that are not empty."""
    return b"%x\r\n%b\r\n" % (len(body), body)


class TextWire(Wire):
    """One JSON text per event, for WebSocket messages."""

    def __init__(self, dialect_name: str, dialect: Dialect) -> None:
        self.name = f"{dialect_name}/text"
        self._dialect = dialect

    def events(self, batch: Batch) -> list[str]:
        return [self._dialect(record, batch.epoch).decode() for record in batch.records]

    @staticmethod
    def notice(notice: Notice) -> str:
        return to_json({"control": notice.control, **notice.body}).decode()


class FrameWire(Wire):
    """One whole WebSocket frame per event, one behind the other: a batch is one write to a socket that was handed over."""

    def __init__(self, dialect_name: str, dialect: Dialect) -> None:
        self.name = f"{dialect_name}/frames"
        self._dialect = dialect

    def events(self, batch: Batch) -> bytes:
        epoch, dialect = batch.epoch, self._dialect
        return b"".join([frame(TEXT, dialect(record, epoch)) for record in batch.records])

    @staticmethod
    def notice(notice: Notice) -> bytes:
        return frame(TEXT, to_json({"control": notice.control, **notice.body}))


class DeflatedWire(FrameWire):
    """The same for clients that take compressed messages: each is compressed once, for all of them."""

    def __init__(self, dialect_name: str, dialect: Dialect) -> None:
        super().__init__(dialect_name, dialect)
        self.name = f"{dialect_name}/deflated"

    def events(self, batch: Batch) -> bytes:
        epoch, dialect = batch.epoch, self._dialect
        return b"".join([deflated(TEXT, dialect(record, epoch)) for record in batch.records])
