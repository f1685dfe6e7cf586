"""Emits what LangChain and LangGraph do: `graph.ainvoke(input, {"callbacks": [LangChainHandler(run)]})`.

Chains, graphs and their nodes become `workflow_step`, models `model_selection`, `thinking` and `streaming_chunk`, tools and
retrievers `tool_use` and `tool_result`. Each of these names its `span` and the `parent` that it belongs to, so that a reader
can draw the tree. Where the run is asked to stop, the next step, token or tool raises RunStopped.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

try:
    from langchain_core.callbacks.base import BaseCallbackHandler
except ImportError as fault:
    raise ImportError("the adapter for LangChain needs langchain-core: pip install 'callboard[langchain]'") from fault

from router.sdk.adapters.port import RunPort
from router.sdk.adapters.thoughts import Thoughts
from router.sdk.run import Run
from router.sdk.sync import SyncRun
from router.sdk.values import RunStopped, text_of

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., None])

# LangChain's own tag for what its viewer does not show either.
_HIDDEN = "langsmith:hidden"
# 10,000 spans open at once; a library that never ends them must not fill memory.
MAX_SPANS = 10_000
# An exception that is no failure: LangGraph's interrupts, and its commands to a parent graph.
_CONTROL_FLOW = "GraphBubbleUp"


@dataclass(slots=True)
class _Span:
    """Something that has begun: a chain, a model, a tool. `parent` is the nearest one that is shown."""

    name: str
    kind: str
    parent: str | None
    shown: bool = True
    begun: float = field(default_factory=time.monotonic)
    streamed: str | None = None  # by which callback its answer comes: some models call two with the same pieces
    thoughts: Thoughts | None = None


def _reported(method: F) -> F:
    """Lets no error of ours into the program that is observed; a request to stop is what may end it."""

    @functools.wraps(method)
    def wrapper(self: LangChainHandler, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except RunStopped:
            raise
        except Exception:
            log.exception("a LangChain callback could not be reported", extra={"callback": method.__name__})

    return wrapper  # type: ignore[return-value]


class LangChainHandler(BaseCallbackHandler):
    """A callback handler for everything that takes `callbacks`, sync and async, in any thread.

    `tokens_used` is the sum over all models that said what they used, for `run.complete(tokens_used=…)`.
    """

    raise_error = True  # for RunStopped, which is to end the work
    run_inline = True  # in the order of the calls; nothing here waits

    def __init__(self, run: Run | SyncRun, *, stop: bool = True) -> None:
        """`stop=False`: a request to stop is left to the program. With a Run, create it within `async with Run(…)`."""
        super().__init__()
        self.tokens_used = 0
        self._port = RunPort(run)
        self._stop = stop
        self._spans: dict[UUID, _Span] = {}
        self._error: BaseException | None = (
            None  # the newest one, which is reported once and not by each chain above it
        )

    # Chains, graphs, nodes

    @_reported
    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        name, metadata = _name(serialized, kwargs, "chain"), metadata or {}
        node = metadata.get("langgraph_node")
        shown = _HIDDEN not in (tags or ()) and (
            parent_run_id is None or (name == node if node else not name.startswith("Runnable"))
        )
        kind = "node" if node and name == node else "chain"
        span = self._begin(run_id, parent_run_id, name, kind, shown)
        if shown:
            number = metadata.get("langgraph_step") if kind == "node" else None
            self._step(run_id, span, "started", **({"number": number} if number is not None else {}))

    @_reported
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._spans.pop(run_id, None)
        if span and span.shown:
            self._step(run_id, span, "completed")

    @_reported
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._fail(run_id, error)

    # Models

    @_reported
    def on_chat_model_start(
        self, serialized: dict[str, Any] | None, messages: Any, *, run_id: UUID, **kwargs: Any
    ) -> None:
        self._model(serialized, run_id, kwargs)

    @_reported
    def on_llm_start(
        self, serialized: dict[str, Any] | None, prompts: list[str], *, run_id: UUID, **kwargs: Any
    ) -> None:
        self._model(serialized, run_id, kwargs)

    def _model(self, serialized: dict[str, Any] | None, run_id: UUID, given: dict[str, Any]) -> None:
        metadata, parameters = given.get("metadata") or {}, given.get("invocation_params") or {}
        model = metadata.get("ls_model_name") or parameters.get("model") or parameters.get("model_name")
        name = str(model or _name(serialized, given, "model"))
        span = self._begin(run_id, given.get("parent_run_id"), name, "model")
        span.thoughts = Thoughts(lambda thought: self._emit("thinking", run_id, span, {"thought": thought}))
        more = {
            "provider": metadata.get("ls_provider"),
            "temperature": metadata.get("ls_temperature"),
            "max_tokens": metadata.get("ls_max_tokens"),
        }
        self._emit("model_selection", run_id, span, {"model": name, **_known(more)})

    @_reported
    def on_llm_new_token(self, token: str | list[Any], *, chunk: Any = None, run_id: UUID, **kwargs: Any) -> None:
        self._check()
        if span := self._spans.get(run_id):
            message = getattr(chunk, "message", None)
            self._said(span, "token", _blocks(message) if message is not None else _blocks_of(token))

    @_reported
    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._check()
        if (span := self._spans.get(run_id)) and event.get("event") == "content-block-delta":
            self._said(span, "event", [event.get("delta") or {}])

    def _said(self, span: _Span, callback: str, blocks: Sequence[Mapping[str, Any]]) -> None:
        """Takes pieces of a model's answer: its reasoning is gathered to thoughts, its text passed on."""
        for block in blocks:
            thought, text = block.get("reasoning"), block.get("text")
            if not (thought or text) or (span.streamed or callback) != callback:
                continue
            span.streamed = callback
            if thought and span.thoughts:
                span.thoughts.add(str(thought))
            elif text:
                if span.thoughts:
                    span.thoughts.end()
                self._port.chunk(str(text))

    @_reported
    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._spans.pop(run_id, None)
        if span is None:
            return
        generations = [each for several in response.generations for each in several]
        for generation in generations if not span.streamed else ():
            message = getattr(generation, "message", None)
            self._said(span, "end", _blocks(message) if message is not None else [{"text": generation.text}])
        if span.thoughts:
            span.thoughts.end()
        used = _usage(response, generations)
        self.tokens_used += used.get("tokens_used", 0)
        self._step(run_id, span, "completed", **used)

    @_reported
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        if (span := self._spans.get(run_id)) and span.thoughts:
            span.thoughts.end()
        self._fail(run_id, error)

    @_reported
    def on_retry(self, retry_state: Any, *, run_id: UUID, **kwargs: Any) -> None:
        outcome = getattr(retry_state, "outcome", None)
        fault = outcome.exception() if outcome is not None and outcome.failed else None
        self._port.error(fault or "retried", retry_count=getattr(retry_state, "attempt_number", None))

    # Tools and retrievers

    @_reported
    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        parameters = inputs if isinstance(inputs, dict) else {"input": input_str}
        self._use(run_id, parent_run_id, _name(serialized, kwargs, "tool"), parameters)

    @_reported
    def on_retriever_start(
        self,
        serialized: dict[str, Any] | None,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        self._use(run_id, parent_run_id, _name(serialized, kwargs, "retriever"), {"query": query})

    def _use(self, run_id: UUID, parent: UUID | None, name: str, parameters: Mapping[str, Any]) -> None:
        span = self._begin(run_id, parent, name, "tool")
        self._emit("tool_use", run_id, span, {"tool_name": name, "parameters": dict(parameters)}, key=str(run_id))

    @_reported
    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        content = getattr(output, "content", output)
        self._used(run_id, content, getattr(output, "status", "success") != "error")

    @_reported
    def on_retriever_end(self, documents: Sequence[Any], *, run_id: UUID, **kwargs: Any) -> None:
        self._used(run_id, {"documents": len(documents), "sources": [_source(each) for each in documents[:20]]}, True)

    @_reported
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._fail(run_id, error)

    @_reported
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._fail(run_id, error)

    def _used(self, run_id: UUID, result: Any, success: bool, **more: Any) -> None:
        if span := self._spans.pop(run_id, None):
            data = {"tool_name": span.name, "result": result, "success": success, "execution_time": _took(span), **more}
            self._emit("tool_result", run_id, span, data, cause=str(run_id))

    # Whatever else

    @_reported
    def on_agent_action(self, action: Any, **kwargs: Any) -> None:
        if text := str(getattr(action, "log", "")).strip():
            self._port.emit("thinking", {"thought": text})

    @_reported
    def on_custom_event(self, name: str, data: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """What a program says by `dispatch_custom_event`: `progress` with its fields, or an event of that type."""
        given = dict(data) if isinstance(data, Mapping) else {"value": data}
        if name == "progress":
            self._port.progress(given.pop("progress", None), **given)
        else:
            self._port.emit(name, given)

    # Spans

    def _begin(self, run_id: UUID, parent: UUID | None, name: str, kind: str, shown: bool = True) -> _Span:
        """Opens a span. Raises RunStopped where the run was asked to stop."""
        self._check()
        above = self._spans.get(parent) if parent else None
        found = None if above is None else str(parent) if above.shown else above.parent
        while len(self._spans) >= MAX_SPANS:
            del self._spans[next(iter(self._spans))]
        span = self._spans[run_id] = _Span(name, kind, found, shown)
        return span

    def _fail(self, run_id: UUID, error: BaseException) -> None:
        """Closes a span that an exception ended, and reports that once, where it came from."""
        span = self._spans.get(run_id)
        status = _status_of(error)
        more = {"error": text_of(error), "error_type": type(error).__name__} if status == "failed" else {}
        if span and span.kind == "tool":
            self._used(run_id, None, False, **({"status": status} if status != "failed" else {}), **more)
        elif self._spans.pop(run_id, None) and span and span.shown:
            self._step(run_id, span, status, **more)
        if status == "failed" and error is not self._error:
            self._error = error
            self._port.error(error)

    def _step(self, run_id: UUID, span: _Span, status: str, **more: Any) -> None:
        over = {"duration": _took(span)} if status != "started" else {}
        self._emit(
            "workflow_step", run_id, span, {"step": span.name, "kind": span.kind, "status": status, **over, **more}
        )

    def _emit(self, type: str, run_id: UUID, span: _Span, data: dict[str, Any], **how: Any) -> None:
        parent = {"parent": span.parent} if span.parent else {}
        self._port.emit(type, {**data, "span": str(run_id), **parent}, **how)

    def _check(self) -> None:
        if self._stop:
            self._port.check()


def _name(serialized: Mapping[str, Any] | None, given: Mapping[str, Any], otherwise: str) -> str:
    serialized = serialized or {}
    path = serialized.get("id") or [otherwise]
    return str(given.get("name") or serialized.get("name") or path[-1])


def _status_of(error: BaseException) -> str:
    if isinstance(error, RunStopped):
        return "cancelled"
    if any(each.__name__ == _CONTROL_FLOW for each in type(error).__mro__):
        return "interrupted"
    return "failed"


def _took(span: _Span) -> float:
    return round(time.monotonic() - span.begun, 6)


def _known(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}


def _blocks(message: Any) -> Sequence[Mapping[str, Any]]:
    """The content of a message as LangChain's standard blocks, whatever its provider calls them."""
    blocks: Sequence[Mapping[str, Any]] = message.content_blocks
    return blocks


def _blocks_of(token: str | list[Any]) -> list[Mapping[str, Any]]:
    if isinstance(token, str):
        return [{"text": token}]
    return [each if isinstance(each, Mapping) else {"text": str(each)} for each in token]


def _usage(response: Any, generations: Sequence[Any]) -> dict[str, int]:
    """What a model says that it used: by its messages, or for the whole answer."""
    found = {"tokens_used": 0, "input_tokens": 0, "output_tokens": 0}
    for generation in generations:
        used = getattr(getattr(generation, "message", None), "usage_metadata", None) or {}
        found["tokens_used"] += used.get("total_tokens") or 0
        found["input_tokens"] += used.get("input_tokens") or 0
        found["output_tokens"] += used.get("output_tokens") or 0
    if not found["tokens_used"]:
        whole = (response.llm_output or {}).get("token_usage") or {}
        found = {
            "tokens_used": whole.get("total_tokens") or 0,
            "input_tokens": whole.get("prompt_tokens") or 0,
            "output_tokens": whole.get("completion_tokens") or 0,
        }
    return {name: count for name, count in found.items() if count}


def _source(document: Any) -> str:
    metadata = getattr(document, "metadata", None) or {}
    return str(metadata.get("source") or metadata.get("title") or getattr(document, "id", None) or "document")[:200]
