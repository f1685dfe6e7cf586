"""Reports the steps, models and tools that a library begins and ends, as events that name their span and its parent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from router.sdk.adapters.port import Data, RunPort
from router.sdk.adapters.thoughts import Thoughts
from router.sdk.values import text_of

# 10,000 spans open at once; a library that never ends them must not fill memory.
MAX_SPANS = 10_000


@dataclass(slots=True)
class OpenSpan:
    """Something that has begun: a chain, a model, a tool. `parent` is the nearest span above that is shown."""

    name: str
    kind: str
    parent: str | None
    shown: bool
    begun: float = field(default_factory=time.monotonic)
    streamed: str | None = None  # by which callback its answer comes: some models call two with the same pieces
    thoughts: Thoughts | None = None

    @property
    def took(self) -> float:
        return round(time.monotonic() - self.begun, 6)


class SpanReports:
    """The open spans of one run, by the ids that the library gives them."""

    def __init__(self, port: RunPort) -> None:
        self.tokens_used = 0
        self.port = port
        self._open: dict[str, OpenSpan] = {}
        self._error: object = None  # the newest one, which is reported once and not by each span above it
        self._above: set[str | None] = set()  # the spans above where it came from, which may tell of it again

    @property
    def idle(self) -> bool:
        """Whether no span is open."""
        return not self._open

    def find(self, id: str) -> OpenSpan | None:
        """Finds an open span."""
        return self._open.get(id)

    def begin(self, id: str, parent: str | None, name: str, kind: str, shown: bool = True) -> OpenSpan:
        """Opens a span without an event of its own."""
        above = self._open.get(parent) if parent else None
        found = None if above is None else parent if above.shown else above.parent
        while len(self._open) >= MAX_SPANS:
            del self._open[next(iter(self._open))]
        span = self._open[id] = OpenSpan(name, kind, found, shown)
        return span

    def begin_step(self, id: str, parent: str | None, name: str, kind: str, **more: Any) -> None:
        """Opens a step."""
        self._step(id, self.begin(id, parent, name, kind), "started", more)

    def begin_model(self, id: str, parent: str | None, model: str, more: Mapping[str, Any]) -> None:
        """Opens a call of a model."""
        span = self.begin(id, parent, model, "model")
        span.thoughts = Thoughts(lambda thought: self._emit("thinking", id, span, {"thought": thought}))
        self._emit("model_selection", id, span, {"model": model, **known(more)})

    def begin_tool(
        self,
        id: str,
        parent: str | None,
        name: str,
        parameters: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
        later: bool = False,
    ) -> None:
        """Opens the use of a tool; `later` where its parameters are yet to be filled in."""
        span = self.begin(id, parent, name, "tool")

        def data() -> dict[str, Any]:
            given = parameters() if callable(parameters) else parameters
            return {"tool_name": name, "parameters": dict(given), **_place(id, span)}

        self.port.emit("tool_use", data, key=id, later=later)

    def think(self, id: str, text: str, callback: str = "") -> None:
        """Takes the next piece of a model's reasoning."""
        if (span := self._speaker(id, callback)) and span.thoughts:
            span.thoughts.add(text)

    def say(self, id: str, text: str, callback: str = "") -> None:
        """Takes the next piece of a model's answer."""
        if span := self._speaker(id, callback):
            if span.thoughts:
                span.thoughts.end()
            self.port.chunk(text, id)

    def end(self, id: str, status: str = "completed", **more: Any) -> None:
        """Closes a step or a model's call."""
        span = self._open.pop(id, None)
        if span is None:
            return
        if span.thoughts:
            span.thoughts.end()
        if span.kind == "model":
            self.tokens_used += more.get("tokens_used") or 0
            self.port.use(more.get("tokens_used"), more.get("cost"))
        if span.shown:
            self._step(id, span, status, {"duration": span.took, **more})

    def end_tool(self, id: str, result: Any, success: bool = True, **more: Any) -> None:
        """Closes the use of a tool."""
        if span := self._open.pop(id, None):
            data = {"tool_name": span.name, "result": result, "success": success, "execution_time": span.took, **more}
            self._emit("tool_result", id, span, data, cause=id)

    def fail(self, id: str, error: BaseException | str, error_type: str | None = None, status: str = "failed") -> None:
        """Closes what an error ended, and reports the error once, where it came from."""
        text = text_of(error) if isinstance(error, BaseException) else error
        kind = error_type or (type(error).__name__ if isinstance(error, BaseException) else "error")
        more = {"error": text, "error_type": kind} if status == "failed" else {}
        span = self._open.get(id)
        told = self._is_told(id, span, error)
        if span and span.kind == "tool":
            self.end_tool(id, None, False, **({"status": status} if status != "failed" else {}), **more)
        else:
            self.end(id, status, **more)
        if status == "failed" and not told:
            self._error = error
            self.port.error(text, error_type=kind)

    def _is_told(self, id: str, span: OpenSpan | None, error: BaseException | str) -> bool:
        """Whether the error has come up from a span below. A text alone does not say so: two tools may fail alike."""
        if span is None or isinstance(error, BaseException):
            return error == self._error
        if error == self._error and (id in self._above or (not span.shown and span.parent in self._above)):
            return True
        self._above = {None}
        while span is not None and span.parent is not None:
            self._above.add(span.parent)
            span = self._open.get(span.parent)
        return False

    def _speaker(self, id: str, callback: str) -> OpenSpan | None:
        span = self._open.get(id)
        if span is None or (span.streamed is not None and span.streamed != callback):
            return None
        span.streamed = callback
        return span

    def _step(self, id: str, span: OpenSpan, status: str, more: Mapping[str, Any]) -> None:
        data = {"step": span.name, "kind": span.kind, "status": status, **more}
        self._emit("workflow_step", id, span, data)

    def _emit(self, type: str, id: str, span: OpenSpan, data: Mapping[str, Any], cause: str | None = None) -> None:
        whole: Data = {**data, **_place(id, span)}
        self.port.emit(type, whole, cause=cause)


def known(data: Mapping[str, Any]) -> dict[str, Any]:
    """What of it is known."""
    return {name: value for name, value in data.items() if value is not None}


def _place(id: str, span: OpenSpan) -> dict[str, str]:
    return {"span": id, "parent": span.parent} if span.parent else {"span": id}
