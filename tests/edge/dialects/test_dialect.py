"""What every dialect has that says nothing else."""

from __future__ import annotations

import json

from edge.dialects.callback import CALLBACK
from edge.dialects.cloudevents import CLOUDEVENTS
from edge.dialects.dialect import COMPLETED, SharedDialect, control_message, named_notice, with_controls
from edge.disconnect import COMPLETED as DISCONNECT
from edge.transports.encoders import FrameEncoder, SseEncoder, TextEncoder
from edge.transports.event_stream import sse_part
from edge.types import Batch, Notice
from tests.edge.dialects.folds import EPOCH, records_of


def test_a_notice_is_a_named_event_or_an_object_with_control() -> None:
    body = {"cursor": "c", "reason": "r"}

    (ready,) = named_notice(None, "ready", body)
    (message,) = control_message(None, "ready", body)

    assert sse_part(ready) == b'retry: 1000\nevent: ready\ndata: {"cursor":"c","reason":"r"}\nid: c\n\n'
    assert json.loads(message) == {
        "control": "ready", "event_type": "ready", **body, "data": {"message": "connected"}
    }  # fmt: skip


def test_a_socket_is_told_only_what_nobody_can_do_without_unless_it_asks_for_all() -> None:
    said = {"cursor": "c", "reason": "r", "timestamp": "now"}
    every = [
        Notice(control, said) for control in ("ready", "heartbeat", "position", "gap", "slowed", "expiring", "bye")
    ]

    for dialect in (CALLBACK, CLOUDEVENTS):
        unasked, asked = TextEncoder(dialect), TextEncoder(with_controls(dialect))
        told = [json.loads(text) for notice in every for text in unasked.notice(notice)]
        assert [each["control"] for each in told] == ["ready", "gap", "bye"]
        # What the guide's clients show of a message.
        assert all(each["event_type"] and each["timestamp"] and each["data"] for each in told)
        assert [len(asked.notice(notice)) for notice in every] == [1] * len(every)


def test_those_who_ask_for_all_controls_share_what_is_made_of_events_with_the_others() -> None:
    batch = Batch(records_of(("x", {})), EPOCH)

    assert FrameEncoder(with_controls(CALLBACK)).encode(batch) is FrameEncoder(CALLBACK).encode(batch)
    assert with_controls(CALLBACK) is with_controls(CALLBACK)


def test_the_end_has_one_name() -> None:
    assert DISCONNECT.reason == COMPLETED
    assert not DISCONNECT.reconnect


def test_a_shared_dialect_may_name_its_events() -> None:
    named = SharedDialect(name="n", encode=lambda _record, _epoch: b"1", event_name=lambda record: record.subject[-1])
    cursor = f"1-{EPOCH}-000000000001-00000001".encode()

    assert (
        SseEncoder(named).encode(Batch(records_of(("x", {})), EPOCH)) == b"event: x\ndata: 1\nid: " + cursor + b"\n\n"
    )
