"""Emits what OpenTelemetry's GenAI spans tell: `provider.add_span_processor(RunSpanProcessor())`, and `with reporting_to(run):`.

Spans by the semantic conventions for generative AI (`gen_ai.operation.name`): chat, completions and embeddings become
`model_selection`, tools `tool_use` and `tool_result`, agents and workflows `workflow_step`; what they used is told at their end.
Spans of other kinds are passed over, and what lies below them belongs to the nearest GenAI span above. Where the run is asked to
stop, the start of the next GenAI span raises RunStopped.
<https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/>
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from typing import Any

try:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
    from opentelemetry.trace import StatusCode
except ImportError as fault:
    raise ImportError("this adapter needs opentelemetry-sdk: pip install 'callboard[otel]'") from fault

from router.sdk.adapters.context import current_port, reporting_to
from router.sdk.adapters.port import RunPort
from router.sdk.adapters.spans import SpanReports, known
from router.sdk.run import Run
from router.sdk.sync import SyncRun
from router.sdk.values import RunStopped

log = logging.getLogger(__name__)

__all__ = ["RunSpanProcessor", "reporting_to"]

# 10,000 spans at once; what is never ended must not fill memory.
MAX_SPANS = 10_000

_MODELS = frozenset({"chat", "text_completion", "generate_content", "embeddings"})
_TOOLS = frozenset({"execute_tool", "retrieval"})
# Names of versions before 1.37 and of instrumentations, beside today's.
_PROVIDER = ("gen_ai.provider.name", "gen_ai.system")
_INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
_OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
# Not in the conventions; what instrumentations that know prices set.
_COST = ("gen_ai.usage.cost", "gen_ai.usage.total_cost", "llm.cost.total")


class RunSpanProcessor(SpanProcessor):
    """Reports each GenAI span to the run of the context in which it starts, or all to one run."""

    def __init__(self, run: Run | SyncRun | None = None, *, stop: bool = True) -> None:
        """`stop=False`: a request to stop is left to the program."""
        self._port = RunPort(run) if run else None
        self._stop = stop
        self._lock = threading.Lock()  # spans of one process start and end in any thread
        self._reports: dict[RunPort, SpanReports] = {}
        self._open: dict[str, SpanReports] = {}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        try:
            if port := self._port or current_port():
                if self._stop and (span.attributes or {}).get("gen_ai.operation.name"):
                    port.check()
                with self._lock:
                    self._begin(port, span)
        except RunStopped:
            raise
        except Exception:
            log.exception("the start of an OpenTelemetry span could not be reported")

    def on_end(self, span: ReadableSpan) -> None:
        try:
            with self._lock:
                reports = self._open.pop(_id(span), None)
                if reports is not None:
                    try:
                        _end(reports, span)
                    finally:
                        reports.end(_id(span))  # also where its attributes could not be read
                    if reports.idle:
                        self._reports.pop(reports.port, None)
        except Exception:
            log.exception("the end of an OpenTelemetry span could not be reported")

    def shutdown(self) -> None:
        self._open.clear()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        for port in list(self._reports):
            port.flush()
        return True

    def _begin(self, port: RunPort, span: Span) -> None:
        reports = self._reports.setdefault(port, SpanReports(port))
        while len(self._open) >= MAX_SPANS:
            del self._open[next(iter(self._open))]
        self._open[_id(span)] = reports
        _begin(reports, span)


def _begin(reports: SpanReports, span: ReadableSpan) -> None:
    """Opens a span. One that is no GenAI span, or not yet, is kept so that what is below it finds what is above it."""
    attributes = span.attributes or {}
    operation: Any = attributes.get("gen_ai.operation.name")
    id, parent = _id(span), format(span.parent.span_id, "016x") if span.parent else None
    if operation in _MODELS:
        model = str(attributes.get("gen_ai.request.model") or span.name)
        more: dict[str, Any] = {
            "provider": _first(attributes, _PROVIDER),
            "operation": operation if operation != "chat" else None,
            "temperature": attributes.get("gen_ai.request.temperature"),
            "max_tokens": attributes.get("gen_ai.request.max_tokens"),
        }
        reports.begin_model(id, parent, model, more)
    elif operation in _TOOLS:
        name = str(attributes.get("gen_ai.tool.name") or span.name)
        reports.begin_tool(id, parent, name, lambda: _arguments(span), later=True)
    elif operation:
        what = attributes.get("gen_ai.agent.name") or attributes.get("gen_ai.workflow.name") or span.name
        reports.begin_step(id, parent, str(what), "workflow" if operation == "invoke_workflow" else "agent")
    else:
        reports.begin(id, parent, span.name, "span", shown=False)


def _end(reports: SpanReports, span: ReadableSpan) -> None:
    id, attributes = _id(span), span.attributes or {}
    opened = reports.find(id)
    if opened is None:
        return
    if not opened.shown and attributes.get("gen_ai.operation.name"):
        # It is a GenAI span after all: its instrumentation said so only while it ran.
        _begin(reports, span)
        opened = reports.find(id)
        assert opened is not None
    if span.status.status_code is StatusCode.ERROR:
        kind = attributes.get("error.type") or _exception(span, "exception.type")
        text = span.status.description or _exception(span, "exception.message") or kind or "error"
        # As Python has it: the span ends by what stops the program.
        stopped = str(kind).rpartition(".")[2] in ("RunStopped", "CancelledError")
        reports.fail(id, str(text), str(kind) if kind else None, "cancelled" if stopped else "failed")
    elif opened.kind == "tool":
        result = _parsed(attributes.get("gen_ai.tool.call.result", attributes.get("gen_ai.retrieval.documents")))
        # What an instrumentation sets once the tool has begun may come too late for its beginning.
        more: dict[str, Any] = {"parameters": given} if (given := _arguments(span)) else {}
        reports.end_tool(id, result, **more)
    else:
        if opened.kind == "model":
            _say(reports, id, attributes)
        reports.end(id, "completed", **_usage(attributes))


def _arguments(span: ReadableSpan) -> dict[str, Any]:
    attributes = span.attributes or {}
    query = attributes.get("gen_ai.retrieval.query.text")
    return _object(attributes.get("gen_ai.tool.call.arguments", {"query": query} if query else None))


def _usage(attributes: Mapping[str, Any]) -> dict[str, Any]:
    given, taken = _count(_first(attributes, _INPUT)), _count(_first(attributes, _OUTPUT))
    total = (given or 0) + (taken or 0)
    return known(
        {
            "tokens_used": total or None,
            "input_tokens": given,
            "output_tokens": taken,
            "cost": _number(_first(attributes, _COST)),
            "response_model": attributes.get("gen_ai.response.model"),
        }
    )


def _say(reports: SpanReports, id: str, attributes: Mapping[str, Any]) -> None:
    """Reports the answer, where the instrumentation is allowed to record it."""
    for message in _mappings(_parsed(attributes.get("gen_ai.output.messages"))):
        for part in _mappings(message.get("parts")):
            if part.get("type") == "reasoning":
                reports.think(id, str(part.get("content") or ""))
            elif part.get("type") == "text":
                reports.say(id, str(part.get("content") or ""))


def _id(span: ReadableSpan) -> str:
    context = span.get_span_context()
    return format(context.span_id if context else 0, "016x")


def _first(attributes: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((attributes[name] for name in names if name in attributes), None)


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 else None


def _count(value: Any) -> int | None:
    return None if (number := _number(value)) is None or number != number // 1 else int(number)


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    """Those of a list, where it is one: what instrumentations record is not checked by anybody."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _parsed(value: Any) -> Any:
    """What conventions keep as JSON text, since attributes are flat."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _object(value: Any) -> dict[str, Any]:
    found = _parsed(value)
    return dict(found) if isinstance(found, Mapping) else {} if found is None else {"input": found}


def _exception(span: ReadableSpan, name: str) -> Any:
    return next(
        (event.attributes.get(name) for event in span.events if event.attributes and event.name == "exception"), None
    )
