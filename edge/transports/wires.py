"""This file is where batches take the form of a wire; what is made here is shared by all readers of the batch."""

from __future__ import annotations

from edge.dialects import Dialect
from edge.lane.frames import TEXT, deflated, frame
from edge.session import Batch, Notice, Wire
from router.codec import to_json
from router.cursor import token

# For the browser's own reconnect; the server's `bye` says more.
RETRY = b"retry: 1000\n"


class SseWire(Wire):
    """Server-sent events: `id:` is the cursor, application events have no `event:`, so that `onmessage` sees them."""

    def __init__(self, dialect_name: str, dialect: Dialect) -> None:
        self.name = f"{dialect_name}/sse"
        self._dialect = dialect

    def events(self, batch: Batch) -> bytes:
        epoch, dialect = batch.epoch, self._dialect
        return b"".join(
            [
                b"id: %b\ndata: %b\n\n" % (token(epoch, record.sequence).encode(), dialect(record, epoch))
                for record in batch.records
            ]
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
        return b"".join((retry, b"event: ", name, b"\n", place, b"data: ", to_json(notice.body), b"\n\n"))


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
