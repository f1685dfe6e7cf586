"""Encodes batches and notices as server-sent events, WebSocket messages or frames: once for all readers of a batch, or folded for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Self

from edge.dialects.dialect import Dialect, DialectPart, FoldedDialect, SharedDialect
from edge.dialects.folding import Folding, Taken, part_id
from edge.transports.frames import TEXT, deflated, frame
from edge.types import Batch, Encoder, Notice, ReadRequest
from router.record import Record

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


class BatchEncoder:
    """Encodes a batch at the first call, and then gives what it made: the readers of a batch share it."""

    name: str
    opening = b""
    # Whether the conversation is over behind what was encoded last.
    over = False

    def __init__(self, dialect: SharedDialect) -> None:
        self.dialect = dialect

    def shares(self, _position: int) -> bool:
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


def _text_taken(taken: Taken, _cursor: str) -> bytes:
    return b"\n".join([part.data for part in taken.parts])


def _frames_taken(taken: Taken, _cursor: str) -> bytes:
    return b"".join([frame(TEXT, part.data) for part in taken.parts])


def _deflated_taken(taken: Taken, _cursor: str) -> bytes:
    return b"".join([deflated(TEXT, part.data) for part in taken.parts])


class FoldingEncoder:
    """Encodes by a fold what one reader is written, or several that agree. It is handed their batches in order, once."""

    __slots__ = ("_folding",)

    def __init__(self, folding: Folding) -> None:
        self._folding = folding

    @property
    def dialect(self) -> Dialect:
        """What its fold speaks."""
        return self._folding.dialect

    @property
    def name(self) -> str:
        """Its dialect; nobody else's batches are in this form."""
        return f"{self.dialect.name}/folded"

    @property
    def opening(self) -> bytes:
        """What is written before everything."""
        return b""

    @property
    def over(self) -> bool:
        """Whether the conversation is over behind what was encoded last."""
        return self._folding.over

    def shares(self, position: int) -> bool:
        """Whether others can read along with its reader, which is at this position."""
        return self._folding.shares(position)

    def agrees(self, other: Encoder) -> bool:
        """Whether both are of one form, and their folds agree."""
        return type(self) is type(other) and self._folding.agrees(other._folding)

    def fork(self) -> Self:
        """One with a fold of its own."""
        return type(self)(self._folding.fork())

    def read_along(self, other: Encoder, leave: Callable[[], None]) -> None:
        """Has the fold of another one moved in place of its own."""
        assert isinstance(other, FoldingEncoder)
        self._folding.read_along(other._folding, leave)

    def follow(self, other: Encoder) -> None:
        """Takes its fold to where that of another one is."""
        assert isinstance(other, FoldingEncoder)
        self._folding.follow(other._folding)

    def encode(self, batch: Batch) -> Any:
        """The batch in this form."""
        raise NotImplementedError

    def notice(self, notice: Notice) -> Any:
        """A notice in this form."""
        raise NotImplementedError

    def _forms(self, batch: Batch, form: str, make: Callable[[Taken, str], bytes]) -> list[bytes]:
        """The forms of what the records became; those of which nothing did are left out."""
        made: list[bytes] = []
        take, epoch = self._folding.take, batch.epoch
        for record in batch.records:
            try:
                taken = take(record, epoch)
                if taken is None:
                    continue
                if (found := taken.forms.get(form)) is None:
                    found = taken.forms[form] = make(taken, record.cursor(epoch))
            except Exception as fault:  # noqa: BLE001 - logged by the hub; the fold is as it was
                batch.unencodable(record, fault)
                continue
            made.append(found)
        return made


class FoldingSseEncoder(FoldingEncoder):
    """Server-sent events of one reader."""

    __slots__ = ()

    @property
    def opening(self) -> bytes:
        """What is written before everything."""
        return self.dialect.opening

    def _event(self, taken: Taken, cursor: str) -> bytes:
        return sse_event(taken, cursor, self._folding.dialect)

    def encode(self, batch: Batch) -> bytes:
        """The events of a batch; empty where the client is sent nothing of them."""
        return b"".join(self._forms(batch, "sse", self._event))

    def notice(self, notice: Notice) -> bytes:
        """What the dialect says; may be empty."""
        return sse_notice(self.dialect, self._folding.notices(notice.control, notice.body), notice.control)


class ChunkedFoldingSseEncoder(FoldingSseEncoder):
    """The same in chunked coding."""

    __slots__ = ()

    chunked = True

    @property
    def opening(self) -> bytes:
        """What is written before everything."""
        return chunk(super().opening)

    def encode(self, batch: Batch) -> bytes:
        return chunk(super().encode(batch))

    def notice(self, notice: Notice) -> bytes:
        return chunk(super().notice(notice))


class FoldingTextEncoder(FoldingEncoder):
    """The WebSocket messages of one reader."""

    __slots__ = ()

    def encode(self, batch: Batch) -> list[str]:
        """The messages of a batch."""
        # No line break is in the text of a part.
        return [text.decode() for form in self._forms(batch, "text", _text_taken) for text in form.split(b"\n")]

    def notice(self, notice: Notice) -> list[str]:
        """The messages of a notice."""
        return [text.decode() for text in self._folding.messages(notice.control, notice.body)]


class FoldingFrameEncoder(FoldingEncoder):
    """The same as whole frames."""

    __slots__ = ()
    deflates = False

    def encode(self, batch: Batch) -> bytes:
        """The frames of a batch."""
        if self.deflates:
            return b"".join(self._forms(batch, "deflated", _deflated_taken))
        return b"".join(self._forms(batch, "frames", _frames_taken))

    def notice(self, notice: Notice) -> bytes:
        """The frames of a notice."""
        return b"".join([frame(TEXT, text) for text in self._folding.messages(notice.control, notice.body)])


class DeflatedFoldingFrameEncoder(FoldingFrameEncoder):
    """The same for clients that take compressed messages."""

    __slots__ = ()
    deflates = True


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
