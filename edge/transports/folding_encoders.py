"""Encodes what folds make of batches and notices, for one reader, or for several whose folds agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from edge.dialects.dialect import Dialect
from edge.dialects.folding import Folding, Taken
from edge.transports.event_stream import chunk, sse_event, sse_notice
from edge.transports.frames import TEXT, deflated, frame
from edge.types import Batch, Encoder, Notice
from router.position import Position


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

    def shares(self, position: Position) -> bool:
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
