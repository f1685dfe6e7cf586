"""What every dialect has that says nothing else."""

from __future__ import annotations

import json

from edge.dialects.dialect import COMPLETED, SharedDialect, control_message, named_notice
from edge.disconnect import COMPLETED as DISCONNECT
from edge.transports.encoders import SseEncoder, sse_part
from edge.types import Batch
from tests.edge.dialects.folds import EPOCH, records_of


def test_a_notice_is_a_named_event_or_an_object_with_control() -> None:
    body = {"cursor": "c", "reason": "r"}

    (ready,) = named_notice(None, "ready", body)
    (message,) = control_message(None, "ready", body)

    assert sse_part(ready) == b'retry: 1000\nevent: ready\ndata: {"cursor":"c","reason":"r"}\nid: c\n\n'
    assert json.loads(message) == {"control": "ready", **body}


def test_the_end_has_one_name() -> None:
    assert DISCONNECT.reason == COMPLETED
    assert not DISCONNECT.reconnect


def test_a_shared_dialect_may_name_its_events() -> None:
    named = SharedDialect(name="n", encode=lambda _record, _epoch: b"1", event_name=lambda record: record.subject[-1])
    cursor = f"1-{EPOCH}-000000000001-00000001".encode()

    assert (
        SseEncoder(named).encode(Batch(records_of(("x", {})), EPOCH)) == b"event: x\ndata: 1\nid: " + cursor + b"\n\n"
    )
