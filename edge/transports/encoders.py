"""Encodes batches and notices as server-sent events, WebSocket messages or frames, once for all readers of a batch."""

from __future__ import annotations

from typing import Any

from edge.dialects import Dialect
from edge.transports.frames import TEXT, deflated, frame
from edge.types import Batch, Notice
from router.codec import to_json
from router.record import Record

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


class BatchEncoder:
    """Encodes a batch at the first call, and then gives what it made: the readers of a batch share it."""

    name: str

    def encode(self, batch: Batch) -> Any:
        """The batch in this form."""
        form = batch.encoded.get(self.name)
        if form is None:
            try:
                form = self.events(batch)
            except Exception:  # noqa: BLE001 - one of the records fails again below
                # A record that cannot be encoded must not take the others with it.
                form = self.events(Batch(self._encodable(batch), batch.epoch))
            batch.encoded[self.name] = form
        return form

    def _encodable(self, batch: Batch) -> list[Record]:
        """The records that can be encoded; the batch's `unencodable` is called with the others."""
        kept: list[Record] = []
        for record in batch.records:
            try:
                self.events(Batch([record], batch.epoch))
            except Exception as fault:  # noqa: BLE001 - logged by the hub
                batch.unencodable(record, fault)
            else:
                kept.append(record)
        return kept

    def events(self, batch: Batch) -> Any:
        """Makes the form of a batch."""
        raise NotImplementedError


class SseEncoder(BatchEncoder):
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


class ChunkedSseEncoder(SseEncoder):
    """The same in HTTP/1.1's chunked coding, for sockets that were taken over: one chunk for a batch, shared as its events are.

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
        return chunk(SseEncoder.notice(notice))


# What ends a body in chunked coding. One that lacks it was cut off.
LAST_CHUNK = b"0\r\n\r\n"


def chunk(body: bytes) -> bytes:
    """Makes one chunk (RFC 9112, 7.1) of bytes that are not empty."""
    return b"%x\r\n%b\r\n" % (len(body), body)


class TextEncoder(BatchEncoder):
    """One JSON text per event, for WebSocket messages."""

    def __init__(self, dialect_name: str, dialect: Dialect) -> None:
        self.name = f"{dialect_name}/text"
        self._dialect = dialect

    def events(self, batch: Batch) -> list[str]:
        return [self._dialect(record, batch.epoch).decode() for record in batch.records]

    @staticmethod
    def notice(notice: Notice) -> str:
        return to_json({"control": notice.control, **notice.body}).decode()


class FrameEncoder(BatchEncoder):
    """One whole WebSocket frame per event, one behind the other: a batch is one write to a socket that was taken over."""

    def __init__(self, dialect_name: str, dialect: Dialect) -> None:
        self.name = f"{dialect_name}/frames"
        self._dialect = dialect

    def events(self, batch: Batch) -> bytes:
        epoch, dialect = batch.epoch, self._dialect
        return b"".join([frame(TEXT, dialect(record, epoch)) for record in batch.records])

    @staticmethod
    def notice(notice: Notice) -> bytes:
        return frame(TEXT, to_json({"control": notice.control, **notice.body}))


class DeflatedFrameEncoder(FrameEncoder):
    """The same for clients that take compressed messages: each is compressed once, for all of them."""

    def __init__(self, dialect_name: str, dialect: Dialect) -> None:
        super().__init__(dialect_name, dialect)
        self.name = f"{dialect_name}/deflated"

    def events(self, batch: Batch) -> bytes:
        epoch, dialect = batch.epoch, self._dialect
        return b"".join([deflated(TEXT, dialect(record, epoch)) for record in batch.records])
