"""Emits what LangChain and LangGraph do: `graph.ainvoke(input, {"callbacks": [LangChainHandler(run)]})`.

Chains, graphs and their nodes become `workflow_step`, models `model_selection`, `thinking` and `streaming_chunk`, tools and
retrievers `tool_use` and `tool_result`. Each of these names its `span` and the `parent` that it belongs to, so that a reader
can draw the tree. Where the run is asked to stop, the next step, token or tool raises RunStopped.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

try:
    from langchain_core.callbacks.base import BaseCallbackHandler
except ImportError as fault:
    raise ImportError("the adapter for LangChain needs langchain-core: pip install 'callboard[langchain]'") from fault

from router.sdk.adapters.port import RunPort
from router.sdk.adapters.spans import SpanReports
from router.sdk.run import Run
from router.sdk.sync import SyncRun
from router.sdk.values import RunStopped

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., None])

# LangChain's own tag for what its viewer does not show either.
_HIDDEN = "langsmith:hidden"
# An exception that is no failure: LangGraph's interrupts, and its commands to a parent graph.
_CONTROL_FLOW = "GraphBubbleUp"


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

    What the models say that they used is added up in the completion of the run; `tokens_used` is the sum so far.
    """

    raise_error = True  # for RunStopped, which is to end the work
    run_inline = True  # in the order of the calls; nothing here waits

    def __init__(self, run: Run | SyncRun, *, stop: bool = True) -> None:
        """`stop=False`: a request to stop is left to the program."""
        super().__init__()
        self._port = RunPort(run)
        self._spans = SpanReports(self._port)
        self._stop = stop

    @property
    def tokens_used(self) -> int:
        return self._spans.tokens_used

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
        self._check()
        name, metadata = _name(serialized, kwargs, "chain"), metadata or {}
        node = metadata.get("langgraph_node")
        if _HIDDEN in (tags or ()) or (
            parent_run_id is not None and (name != node if node else name.startswith("Runnable"))
        ):
            self._spans.begin(str(run_id), _id(parent_run_id), name, "chain", shown=False)
        elif node and name == node:
            number = metadata.get("langgraph_step")
            more = {"number": number} if number is not None else {}
            self._spans.begin_step(str(run_id), _id(parent_run_id), name, "node", **more)
        else:
            self._spans.begin_step(str(run_id), _id(parent_run_id), name, "chain")

    @_reported
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._spans.end(str(run_id))

    @_reported
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._fail(run_id, error)

    # Models

    @_reported
    def on_chat_model_start(
        self, serialized: dict[str, Any] | None, messages: Any, *, run_id: UUID, **kwargs: Any
    ) -> None:
        self._begin_model(serialized, run_id, kwargs)

    @_reported
    def on_llm_start(
        self, serialized: dict[str, Any] | None, prompts: list[str], *, run_id: UUID, **kwargs: Any
    ) -> None:
        self._begin_model(serialized, run_id, kwargs)

    def _begin_model(self, serialized: dict[str, Any] | None, run_id: UUID, given: dict[str, Any]) -> None:
        self._check()
        metadata, parameters = given.get("metadata") or {}, given.get("invocation_params") or {}
        model = metadata.get("ls_model_name") or parameters.get("model") or parameters.get("model_name")
        more = {
            "provider": metadata.get("ls_provider"),
            "temperature": metadata.get("ls_temperature"),
            "max_tokens": metadata.get("ls_max_tokens"),
        }
        name = str(model or _name(serialized, given, "model"))
        self._spans.begin_model(str(run_id), _id(given.get("parent_run_id")), name, more)

    @_reported
    def on_llm_new_token(self, token: str | list[Any], *, chunk: Any = None, run_id: UUID, **kwargs: Any) -> None:
        self._check()
        message = getattr(chunk, "message", None)
        self._said(run_id, "token", _blocks(message) if message is not None else _blocks_of(token))

    @_reported
    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._check()
        if event.get("event") == "content-block-delta":
            self._said(run_id, "event", [event.get("delta") or {}])

    def _said(self, run_id: UUID, callback: str, blocks: Sequence[Mapping[str, Any]]) -> None:
        """Takes pieces of a model's answer: its reasoning is gathered to thoughts, its text passed on."""
        for block in blocks:
            if thought := block.get("reasoning"):
                self._spans.think(str(run_id), str(thought), callback)
            elif text := block.get("text"):
                self._spans.say(str(run_id), str(text), callback)

    @_reported
    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        generations = [each for several in response.generations for each in several]
        for generation in generations:
            message = getattr(generation, "message", None)
            # An answer that was streamed is known: only the first of these callbacks is listened to.
            self._said(run_id, "end", _blocks(message) if message is not None else [{"text": generation.text}])
        self._spans.end(str(run_id), "completed", **_usage(response, generations))

    @_reported
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
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
        self._check()
        parameters = inputs if isinstance(inputs, dict) else {"input": input_str}
        self._spans.begin_tool(str(run_id), _id(parent_run_id), _name(serialized, kwargs, "tool"), parameters)

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
        self._check()
        name = _name(serialized, kwargs, "retriever")
        self._spans.begin_tool(str(run_id), _id(parent_run_id), name, {"query": query})

    @_reported
    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        success = getattr(output, "status", "success") != "error"
        self._spans.end_tool(str(run_id), getattr(output, "content", output), success)

    @_reported
    def on_retriever_end(self, documents: Sequence[Any], *, run_id: UUID, **kwargs: Any) -> None:
        sources = [_source(each) for each in documents[:20]]
        self._spans.end_tool(str(run_id), {"documents": len(documents), "sources": sources})

    @_reported
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._fail(run_id, error)

    @_reported
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._fail(run_id, error)

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

    def _fail(self, run_id: UUID, error: BaseException) -> None:
        self._spans.fail(str(run_id), error, status=_status_of(error))

    def _check(self) -> None:
        if self._stop:
            self._port.check()


def _id(id: UUID | None) -> str | None:
    return str(id) if id else None


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
