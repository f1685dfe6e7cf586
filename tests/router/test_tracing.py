"""Tests of router/tracing.py."""

from __future__ import annotations

from typing import Any

import pytest

from router import tracing

PARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


class ListRecorder:
    """Keeps the spans that it is given."""

    def __init__(self) -> None:
        self.spans: list[tuple[Any, ...]] = []

    def record(self, *span: Any) -> None:
        self.spans.append(span)


def test_a_child_keeps_the_trace_and_its_decision() -> None:
    child = tracing.begin(PARENT)

    assert tracing.trace_id(child) == "a" * 32 and child != PARENT
    assert tracing.sampled(child) and not tracing.sampled(tracing.begin(PARENT[:-2] + "00"))


@pytest.mark.parametrize("parent", [None, "", "nonsense", PARENT.upper(), PARENT + "x"])
def test_what_is_not_a_traceparent_begins_a_new_trace(parent: str | None) -> None:
    assert tracing.trace_id(parent) is None and not tracing.sampled(parent)
    assert tracing.trace_id(tracing.begin(parent)) not in (None, "a" * 32)


def test_ids_are_bound_inside_a_block_and_blocks_add_to_one_another() -> None:
    with tracing.bind(event="e1", trace=None):
        with tracing.bind(session="s1", event="e2"):
            assert tracing.bound() == {"event": "e2", "session": "s1"}
        assert tracing.bound() == {"event": "e1"}
    assert tracing.bound() == {}


def test_only_spans_of_a_recorded_trace_reach_the_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = ListRecorder()
    tracing.tell("lost", "internal", None, PARENT, 1)
    monkeypatch.setattr(tracing, "recorder", recorder)
    monkeypatch.setattr(tracing, "share", 0.0)

    tracing.tell("publish", "producer", None, PARENT, 1, fault="no answer", stream="EVENTS")
    tracing.tell("publish", "producer", None, tracing.begin(), 1)

    ((name, kind, parent, own, begun, ended, attributes, fault),) = recorder.spans
    assert (name, kind, parent, own, begun) == ("publish", "producer", None, PARENT, 1)
    assert ended > begun and attributes == {"stream": "EVENTS"} and fault == "no answer"
