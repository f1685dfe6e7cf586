"""Emits what the OpenAI Agents SDK traces: `add_trace_processor(RunTracingProcessor())`, and `with reporting_to(run):`.

One processor serves a process: a trace belongs to the run of the context that starts it. Agents, turns, hand-offs, guardrails
and custom spans become `workflow_step`, models `model_selection`, `thinking` and `streaming_chunk`, functions `tool_use` and
`tool_result`. Where the run is asked to stop, the task that begins the next span is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

try:
    from agents.tracing import Span, Trace, TracingProcessor
except ImportError as fault:
    raise ImportError("this adapter needs openai-agents: pip install 'callboard[openai-agents]'") from fault

from router.sdk.adapters.context import current_port, reporting_to
from router.sdk.adapters.port import RunPort
from router.sdk.adapters.spans import SpanReports, known
from router.sdk.run import Run
from router.sdk.sync import SyncRun

log = logging.getLogger(__name__)

__all__ = ["RunTracingProcessor", "reporting_to"]

# 1,000 traces at once; what is never ended must not fill memory.
MAX_TRACES = 1_000


class RunTracingProcessor(TracingProcessor):
    """Reports each trace to the run of its context, or all to one run."""

    def __init__(self, run: Run | SyncRun | None = None, *, stop: bool = True) -> None:
        """`stop=False`: a request to stop is left to the program."""
        self._port = RunPort(run) if run else None
        self._stop = stop
        self._traces: dict[str, SpanReports] = {}

    def on_trace_start(self, trace: Trace) -> None:
        with _logged():
            if port := self._port or current_port():
                while len(self._traces) >= MAX_TRACES:
                    del self._traces[next(iter(self._traces))]
                reports = self._traces[trace.trace_id] = SpanReports(port)
                reports.begin_step(trace.trace_id, None, trace.name, "workflow")

    def on_trace_end(self, trace: Trace) -> None:
        with _logged():
            if reports := self._traces.pop(trace.trace_id, None):
                used = {"tokens_used": reports.tokens_used} if reports.tokens_used else {}
                reports.end(trace.trace_id, "completed", **used)

    def on_span_start(self, span: Span[Any]) -> None:
        with _logged():
            if reports := self._traces.get(span.trace_id):
                _begin(reports, span)
                if self._stop and reports.port.stopped:
                    _cancel_task()

    def on_span_end(self, span: Span[Any]) -> None:
        with _logged():
            if reports := self._traces.get(span.trace_id):
                _end(reports, span)

    def shutdown(self) -> None:
        self.force_flush()
        self._traces.clear()

    def force_flush(self) -> None:
        for reports in list(self._traces.values()):
            reports.port.flush()


def _begin(reports: SpanReports, span: Span[Any]) -> None:
    data, parent = span.span_data, span.parent_id or span.trace_id
    match data.type:
        case "generation" | "response" | "transcription" | "speech":
            # The model of a response is known only with the answer.
            more = {"temperature": (getattr(data, "model_config", None) or {}).get("temperature")}
            reports.begin_model(span.span_id, parent, str(getattr(data, "model", None) or "model"), more)
        case "function":
            # Its input is filled in once the span has started.
            reports.begin_tool(span.span_id, parent, data.name, lambda: _parameters(data.input), later=True)
        case "mcp_tools":
            reports.begin_tool(span.span_id, parent, "list_tools", {"server": data.server})
        case "turn":
            reports.begin_step(span.span_id, parent, f"{data.agent_name}: turn {data.turn}", "turn", number=data.turn)
        case "handoff":
            reports.begin(span.span_id, parent, "handoff", "handoff")
        case kind:
            reports.begin_step(span.span_id, parent, str(getattr(data, "name", None) or kind), kind)


def _end(reports: SpanReports, span: Span[Any]) -> None:
    data = span.span_data
    if span.error:
        detail = span.error.get("data") or {}
        text = str(detail.get("error") or span.error.get("message") or "error")
        reports.fail(span.span_id, text, "agent_error")
        return
    match data.type:
        case "generation":
            for message in data.output or ():
                _say(reports, span.span_id, message)
            reports.end(span.span_id, "completed", **_usage(data.usage))
        case "response":
            response = data.response
            for item in response.output if response is not None else ():
                _say(reports, span.span_id, item.model_dump())
            model = {"model": response.model} if response is not None else {}
            used = data.usage or (response.usage.model_dump() if response is not None and response.usage else None)
            reports.end(span.span_id, "completed", **model, **_usage(used))
        case "function":
            reports.end_tool(span.span_id, data.output)
        case "mcp_tools":
            reports.end_tool(span.span_id, data.result)
        case "handoff":
            reports.end(span.span_id, "completed", from_agent=data.from_agent, to_agent=data.to_agent)
        case "guardrail":
            reports.end(span.span_id, "completed", triggered=data.triggered)
        case _:
            reports.end(span.span_id)


def _say(reports: SpanReports, id: str, item: Mapping[str, Any]) -> None:
    """Reports one item of a model's answer: of the chat API (a message), or of the Responses API."""
    if item.get("type") == "reasoning":
        for part in [*(item.get("summary") or ()), *(item.get("content") or ())]:
            reports.think(id, str(part.get("text") or ""))
        return
    if thought := item.get("reasoning_content") or item.get("reasoning"):
        reports.think(id, str(thought))
    content = item.get("content")
    for part in content if isinstance(content, list) else [{"text": content}]:
        if text := part.get("text"):
            reports.say(id, str(text))


def _parameters(given: Any) -> dict[str, Any]:
    """The arguments of a function, which the SDK has as JSON text."""
    try:
        found = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        found = given
    return found if isinstance(found, dict) else {"input": found} if found is not None else {}


def _usage(used: Mapping[str, Any] | None) -> dict[str, int]:
    used = used or {}
    given, taken = used.get("input_tokens"), used.get("output_tokens")
    total = used.get("total_tokens") or (given or 0) + (taken or 0)
    return known({"tokens_used": total or None, "input_tokens": given, "output_tokens": taken})


def _cancel_task() -> None:
    """Cancels the task that began the span: an exception would be caught by the SDK, and only logged."""
    with contextlib.suppress(RuntimeError):
        if task := asyncio.current_task():
            task.cancel("the run was asked to stop")


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """Lets no error of ours into the program that is observed."""
    try:
        yield
    except Exception:
        log.exception("a span of the Agents SDK could not be reported")
