"""Encodes batches as server-sent events, WebSocket messages or frames, once for all readers of a batch; chooses a reader's encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from edge.dialects.dialect import DialectPart, SharedDialect
from edge.transports.event_stream import chunk, one_line, sse_notice, sse_part
from edge.transports.folding_encoders import (
    ChunkedFoldingSseEncoder,
    DeflatedFoldingFrameEncoder,
    FoldingFrameEncoder,
    FoldingSseEncoder,
    FoldingTextEncoder,
)
from edge.transports.frames import TEXT, deflated, frame
from edge.types import Batch, Encoder, Notice, ReadRequest
from router.position import Position
from router.record import Record


class BatchEncoder:
    """Encodes a batch at the first call, and then gives what it made: the readers of a batch share it."""

    name: str
    opening = b""
    # Whether the conversation is over behind what was encoded last.
    over = False

    def __init__(self, dialect: SharedDialect) -> None:
        self.dialect = dialect

    def shares(self, _position: Position) -> bool:
        """It belongs to nobody."""
        return True

    def agrees(self, other: Encoder) -> bool:
        """There is one for all readers of its form."""
        return self is other

    def fork(self) -> Encoder:
        """Itself."""
        return self

    def read_along(self, other: Encoder, leave: Callable[[], None]) -> None:
        """Is the same."""

    def follow(self, other: Encoder) -> None:
        """Is where all of its readers are."""

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

    def notice(self, notice: Notice) -> Any:
        """A notice in this form."""
        raise NotImplementedError

    def _messages(self, notice: Notice) -> Sequence[bytes]:
        return self.dialect.messages(None, notice.control, notice.body)


class SseEncoder(BatchEncoder):
    """Server-sent events: `id:` is the cursor. Without names of its own a dialect's events are seen by `onmessage`."""

    def __init__(self, dialect: SharedDialect) -> None:
        super().__init__(dialect)
        self.name = f"{dialect.name}/sse"
        self.opening = dialect.opening

    def events(self, batch: Batch) -> bytes:
        epoch, encode, named = batch.epoch, self.dialect.encode, self.dialect.event_name
        if named is not None:
            parts = [
                DialectPart(encode(record, epoch), named(record), record.cursor(epoch)) for record in batch.records
            ]
            return b"".join(map(sse_part, parts))
        return one_line(
            b"".join(
                [
                    b"data: %b\nid: %b\n\n" % (encode(record, epoch), record.cursor(epoch).encode())
                    for record in batch.records
                ]
            )
        )

    def notice(self, notice: Notice) -> bytes:
        """What the dialect says, or its comment for a heartbeat."""
        return sse_notice(self.dialect, self.dialect.notices(None, notice.control, notice.body), notice.control)


class ChunkedSseEncoder(SseEncoder):
    """The same in HTTP/1.1's chunked coding, for sockets that were taken over: one chunk for a batch, shared as its events are.

    A client then knows a connection that was cut from a stream that ended, and one that reads chunk by chunk (urllib3) has
    each batch as soon as it is there.
    """

    chunked = True

    def __init__(self, dialect: SharedDialect) -> None:
        super().__init__(dialect)
        self.name = f"{dialect.name}/sse-chunked"
        self.opening = chunk(dialect.opening)

    def events(self, batch: Batch) -> bytes:
        return chunk(super().events(batch))

    def notice(self, notice: Notice) -> bytes:
        return chunk(super().notice(notice))


class TextEncoder(BatchEncoder):
    """One JSON text per event, for WebSocket messages."""

    def __init__(self, dialect: SharedDialect) -> None:
        super().__init__(dialect)
        self.name = f"{dialect.name}/text"

    def events(self, batch: Batch) -> list[str]:
        return [self.dialect.encode(record, batch.epoch).decode() for record in batch.records]

    def notice(self, notice: Notice) -> list[str]:
        """The texts of a notice."""
        return [text.decode() for text in self._messages(notice)]


class FrameEncoder(BatchEncoder):
    """One whole WebSocket frame per event, one behind the other: a batch is one write to a socket that was taken over."""

    def __init__(self, dialect: SharedDialect) -> None:
        super().__init__(dialect)
        self.name = f"{dialect.name}/frames"

    def events(self, batch: Batch) -> bytes:
        epoch, encode = batch.epoch, self.dialect.encode
        return b"".join([frame(TEXT, encode(record, epoch)) for record in batch.records])

    def notice(self, notice: Notice) -> bytes:
        """The frames of a notice."""
        return b"".join([frame(TEXT, text) for text in self._messages(notice)])


class DeflatedFrameEncoder(FrameEncoder):
    """The same for clients that take compressed messages: each is compressed once, for all of them."""

    def __init__(self, dialect: SharedDialect) -> None:
        super().__init__(dialect)
        self.name = f"{dialect.name}/deflated"

    def events(self, batch: Batch) -> bytes:
        epoch, encode = batch.epoch, self.dialect.encode
        return b"".join([deflated(TEXT, encode(record, epoch)) for record in batch.records])


# Of each shared dialect one encoder a form: readers with the same encoder share writes.
_sse, _chunked, _text = cache(SseEncoder), cache(ChunkedSseEncoder), cache(TextEncoder)
_frames, _deflated = cache(FrameEncoder), cache(DeflatedFrameEncoder)


def sse_encoder(asked: ReadRequest, chunked: bool = False) -> Encoder:
    """The encoder of a stream of server-sent events."""
    if asked.encoder is not None:
        return asked.encoder(chunked)
    if asked.folding is not None:
        return ChunkedFoldingSseEncoder(asked.folding) if chunked else FoldingSseEncoder(asked.folding)
    return (_chunked if chunked else _sse)(_shared(asked))


def bind(encoder: Encoder, reader: Any) -> None:
    """Tells an encoder its reader, where its conversation is about that."""
    if (binding := getattr(encoder, "bind", None)) is not None:
        binding(reader)


def text_encoder(asked: ReadRequest) -> TextEncoder | FoldingTextEncoder:
    """The encoder of a WebSocket that plain ASGI serves."""
    return FoldingTextEncoder(asked.folding) if asked.folding is not None else _text(_shared(asked))


def frame_encoder(asked: ReadRequest, compresses: bool) -> FrameEncoder | FoldingFrameEncoder:
    """The encoder of a WebSocket that was taken over."""
    if asked.folding is not None:
        return (DeflatedFoldingFrameEncoder if compresses else FoldingFrameEncoder)(asked.folding)
    return (_deflated if compresses else _frames)(_shared(asked))


def _shared(asked: ReadRequest) -> SharedDialect:
    assert isinstance(asked.dialect, SharedDialect), "a dialect with state needs a fold"
    return asked.dialect
