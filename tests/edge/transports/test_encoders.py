"""The forms in which batches are written."""

from __future__ import annotations

from typing import Any

import pytest

from edge.dialects.callback import CALLBACK
from edge.dialects.dialect import SharedDialect
from edge.transports.encoders import ChunkedSseEncoder, FrameEncoder, SseEncoder, TextEncoder
from edge.types import Batch
from router.codec import encode
from router.event import Event
from router.record import Record


def batch(count: int, unencodable: Any = None) -> Batch:
    records = [Record(n, "job.a.x", encode(Event.new("job.a.x", {"n": n}))) for n in range(1, count + 1)]
    return Batch(records, "0badcafe", unencodable=unencodable)


@pytest.mark.parametrize("kind", [SseEncoder, ChunkedSseEncoder, TextEncoder, FrameEncoder])
def test_a_batch_is_encoded_once_for_each_form(kind: type[Any]) -> None:
    encoder, given = kind(CALLBACK), batch(2)

    assert encoder.encode(given) is kind(CALLBACK).encode(given)
    assert list(given.encoded) == [encoder.name]


def test_a_record_that_cannot_be_encoded_takes_no_other_with_it() -> None:
    failed: list[int] = []

    def dialect(record: Record, epoch: str) -> bytes:
        if record.sequence == 2:
            raise ValueError
        return b"%d" % record.sequence

    encoder = TextEncoder(SharedDialect(name="broken", encode=dialect))

    assert encoder.encode(batch(3, lambda record, _fault: failed.append(record.sequence))) == ["1", "3"]
    assert failed == [2]
