"""Tests of spans.py: what is open is bounded, and an error is told once."""

from __future__ import annotations

from router.broker import Broker
from router.sdk import Run
from router.sdk.adapters.port import RunPort
from router.sdk.adapters.spans import MAX_SPANS, SpanReports
from tests.router.sdk.runs import events_of


async def test_what_is_below_a_span_that_is_not_shown_belongs_to_the_one_above(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        spans = SpanReports(RunPort(run))
        spans.begin_step("a", None, "outer", "chain")
        spans.begin("b", "a", "plumbing", "chain", shown=False)
        spans.begin_tool("c", "b", "tool", {})
        for id in "cba":
            spans.end_tool(id, 1) if id == "c" else spans.end(id)

    events = await events_of(broker, entity)
    assert [(e.type, e.data.get("span"), e.data.get("parent")) for e in events[1:-1]] == [
        ("workflow_step", "a", None), ("tool_use", "c", "a"), ("tool_result", "c", "a"), ("workflow_step", "a", None),
    ]  # fmt: skip


async def test_an_error_that_passes_through_many_spans_is_told_once(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        spans = SpanReports(RunPort(run))
        for id, parent in (("a", None), ("b", "a")):
            spans.begin_step(id, parent, id, "chain")
        fault = ValueError("no")
        for id in "ba":
            spans.fail(id, fault)

    events = await events_of(broker, entity)
    assert [e.data["status"] for e in events if e.type == "workflow_step"] == ["started", "started", "failed", "failed"]
    assert [e.data["error"] for e in events if e.type == "error"] == ["no"]


async def test_spans_that_nobody_ends_are_forgotten(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        spans = SpanReports(RunPort(run))
        for n in range(MAX_SPANS + 5):
            spans.begin(str(n), None, "never ended", "chain", shown=False)

        assert spans.find("0") is None and spans.find(str(MAX_SPANS)) is not None
        spans.end("0")


async def test_two_that_fail_alike_are_two_errors_and_one_that_comes_up_from_below_is_none(
    broker: Broker, entity: str
) -> None:
    """Libraries tell of errors by their text."""
    async with Run(entity, broker) as run:
        spans = SpanReports(RunPort(run))
        spans.begin_step("a", None, "agent", "agent")
        for id in ("1", "2"):
            spans.begin("between" + id, "a", "hidden", "span", shown=False)
            spans.begin_tool(id, "between" + id, "search", {})
            spans.fail(id, "timeout")
            spans.fail("between" + id, "timeout")
        spans.fail("a", "timeout")

    events = await events_of(broker, entity)
    assert [event.type for event in events].count("error") == 2
