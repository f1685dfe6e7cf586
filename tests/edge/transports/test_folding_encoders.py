"""The forms of what folds make of batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from edge.dialects.dialect import DialectPart, FoldedDialect
from edge.dialects.folding import Folding
from edge.transports.event_stream import chunk
from edge.transports.folding_encoders import (
    ChunkedFoldingSseEncoder,
    DeflatedFoldingFrameEncoder,
    FoldingEncoder,
    FoldingFrameEncoder,
    FoldingSseEncoder,
    FoldingTextEncoder,
)
from edge.transports.frames import TEXT, deflated, frame
from edge.types import Batch
from router.codec import encode
from router.event import Event
from router.record import Record


def _step(count: int, record: Record, _epoch: str) -> tuple[int, Sequence[DialectPart]]:
    """Counts the events, says each as many times as there were so far, and nothing of the first; fails on a thirteenth."""
    assert record.event is not None
    if record.event.data["n"] == 13:
        raise ValueError
    return count + 1, [DialectPart(b"%d" % record.event.data["n"])] * count


COUNTING = FoldedDialect(
    name="counting",
    notices=lambda _state, _control, _body: (),
    begin=lambda _parameters: 0,
    step=_step,
)


def batch(*numbers: int, unencodable: Any = None) -> Batch:
    records = [Record(n, "job.a.x", encode(Event.new("job.a.x", {"n": n}))) for n in numbers]
    return Batch(records, "0badcafe", unencodable=unencodable)


def of(kind: type[FoldingEncoder]) -> Any:
    return kind(Folding(COUNTING, {}))


def test_what_the_events_became_is_in_every_form_and_an_event_that_said_nothing_in_none() -> None:
    texts = [b"2", b"3", b"3"]

    assert of(FoldingTextEncoder).encode(batch(1, 2, 3)) == [text.decode() for text in texts]
    assert of(FoldingFrameEncoder).encode(batch(1, 2, 3)) == b"".join(frame(TEXT, text) for text in texts)
    assert of(DeflatedFoldingFrameEncoder).encode(batch(1, 2, 3)) == b"".join(deflated(TEXT, text) for text in texts)
    assert of(FoldingSseEncoder).encode(batch(1)) == of(ChunkedFoldingSseEncoder).encode(batch(1)) == b""
    given = batch(1, 2)
    assert of(ChunkedFoldingSseEncoder).encode(given) == chunk(of(FoldingSseEncoder).encode(given)) != b""


def test_an_event_on_which_the_fold_fails_takes_no_other_with_it() -> None:
    failed: list[int] = []
    encoder = of(FoldingTextEncoder)

    said = encoder.encode(batch(1, 13, 14, unencodable=lambda record, _fault: failed.append(record.sequence)))

    assert (said, failed) == (["14"], [13])


@pytest.mark.parametrize("kind", [FoldingSseEncoder, FoldingFrameEncoder])
def test_encoders_agree_whose_folds_do(kind: type[FoldingEncoder]) -> None:
    one, other = of(kind), of(kind)

    assert one.agrees(other) and not one.agrees(of(FoldingTextEncoder))
    one.encode(batch(1))
    assert not one.agrees(other)
    assert other.agrees(one.fork()) is False and one.fork().agrees(one)
