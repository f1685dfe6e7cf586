"""Turns what a run says into queued events: checks, numbers, coalesces and encodes them. Never waits; any thread may call it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from router.errors import BadEvent
from router.event import Event
from router.sdk.coalesce import Coalescer
from router.sdk.encoder import RunEncoder
from router.sdk.outbox import RunOutbox
from router.sdk.queued import Kind, Queued
from router.sdk.values import RunOver, RunSettings, RunStopped, ToolCall, UsageTotal, error_data, progress_data, text_of

# Frequent events, before which a progress that is held back is not emitted early.
_FREQUENT = frozenset({"output", "streaming_chunk"})
# The step or tool whose block the caller is in.
_span: ContextVar[str | None] = ContextVar("callboard_span", default=None)
# Whether it is told of what a program does, which no request to stop undoes.
_observing: ContextVar[bool] = ContextVar("callboard_observing", default=False)


class Emitter:
    """The events of one run, as they are said."""

    def __init__(
        self,
        encoder: RunEncoder,
        outbox: RunOutbox,
        settings: RunSettings,
        wake: Callable[[], None],
        watch: Callable[[Event], None] | None = None,
    ) -> None:
        """`wake` is called when there is something to deliver or to time; `watch` with each event as it is queued."""
        self.said = 0
        self.over = self.opened = False
        self._stopped = False
        self._raise_on_stop = settings.raise_on_stop
        self.usage = UsageTotal()
        self._encoder = encoder
        self._outbox = outbox
        self._wake = wake
        self._watch = watch
        self._lock = threading.RLock()
        self._coalescer = Coalescer(settings.chunk_window, settings.progress_interval, self._add)
        self._furthest = 0.0
        self._begun = time.monotonic()
        self._spans = 0
        self._about: dict[str, Any] = {}

    @property
    def due(self) -> float:
        """When `flush_due` has something to do, by the monotonic clock."""
        return self._coalescer.due

    def start(self, about: Mapping[str, Any]) -> None:
        """Adds workflow_start. Raises BadEvent."""
        with self._lock:
            self._about = dict(about)
            self._begun = time.monotonic()
            self._add("workflow_start", {"incarnation": self._encoder.incarnation, **self._about}, kind=Kind.START)
            self.opened = True

    def resumed_start(self) -> Queued:
        """Begins another incarnation; returns its start, which is not queued."""
        with self._lock:
            return self._resumed()

    def _resumed(self) -> Queued:
        self._encoder.renew()
        data = {**self._about, "incarnation": self._encoder.incarnation, "resumed": True}
        return self._encoder.encode(0, "workflow_start", data, kind=Kind.START)[1]

    def stop(self, reason: str | None) -> None:
        """Tells readers that the run was asked to stop; from now on the program is, too, where the settings say so."""
        with self._lock:
            if not self.over:
                self._say("stopping", {"reason": reason} if reason else {})
            self._stopped = True

    def emit(self, type: str, data: Mapping[str, Any] | None = None, *, cause: str | None = None) -> str:
        """Adds an event of any type; returns its id. Raises BadEvent, RunStopped, or RunOver after the completion."""
        self._require_wanted()
        return self._say(type, data, cause)

    def _say(self, type: str, data: Mapping[str, Any] | None = None, cause: str | None = None) -> str:
        if type == "completion":
            raise BadEvent("a run's completion is added by `complete`, or by leaving the block")
        data = data or {}
        if (span := _span.get()) is not None and "parent" not in data:
            data = {**data, "parent": span}
        with self._lock:
            self._require_open()
            self._coalescer.flush(progress=type not in _FREQUENT)
            return self._add(type, data, cause)

    def progress(
        self,
        progress: float | None = None,
        message: str | None = None,
        current_step: int | str | None = None,
        total_steps: int | None = None,
        **more: Any,
    ) -> None:
        """Adds how far the work is, from 0 to 1; less than was said before is raised to that. Raises BadEvent or RunStopped."""
        self._require_wanted()
        data = progress_data(progress, message, current_step, total_steps, more)
        if more or not (_is_plain(message) and _is_plain(current_step)):
            # Raised here, to the caller, and not where it is flushed.
            self._encoder.encode(0, "progress", data)
        if (span := _span.get()) is not None:
            data.setdefault("parent", span)
        with self._lock:
            self._require_open()
            if (share := data.get("progress")) is not None:
                self._furthest = data["progress"] = max(share, self._furthest)
            if self._coalescer.set_progress(data):
                self._wake()

    def chunk(self, text: str) -> None:
        """Adds the next piece of a text as it is written; pieces that follow closely become one event."""
        if not text:
            return
        self._require_wanted()
        with self._lock:
            self._require_open()
            if self._coalescer.add_chunk(text, _span.get()):
                self._wake()

    def error(
        self,
        error: str | BaseException,
        *,
        error_type: str | None = None,
        recoverable: bool = True,
        retry_count: int | None = None,
        **more: Any,
    ) -> None:
        """Adds an error; the run goes on."""
        self.emit("error", error_data(error, error_type, recoverable, retry_count, more))

    def begin_span(self) -> str:
        """A name for what has a beginning and an end, unique within the run."""
        with self._lock:
            self._spans += 1
            return f"{self._encoder.incarnation}-{self._spans}"

    def complete(self, data: dict[str, Any]) -> None:
        """Adds the completion. Raises RunOver where there is one already."""
        with self._lock:
            self._require_open()
            self._complete(data)

    def finish(self, fault: BaseException | None, stopped: bool) -> None:
        """Adds the completion for a block that was left, by an exception or without one."""
        with self._lock:
            if self.over:
                return
            match fault:
                case None if stopped:
                    self._complete({"success": False, "status": "cancelled", "error": "stopped on request"})
                case None | SystemExit(code=None | 0):
                    self._complete({"success": True})
                case asyncio.CancelledError() | KeyboardInterrupt() | GeneratorExit() | RunStopped():
                    why = "stopped on request" if stopped else "cancelled"
                    self._complete({"success": False, "status": "cancelled", "error": why})
                case _:
                    self._coalescer.flush()
                    self._add("error", error_data(fault, None, False, None, {}))
                    self._complete({"success": False, "error": text_of(fault), "error_type": type(fault).__name__})

    def _complete(self, data: dict[str, Any]) -> None:
        self._coalescer.flush()
        lost = {"events_dropped": self._outbox.dropped} if self._outbox.dropped else {}
        total = {"total_time": round(time.monotonic() - self._begun, 6), "incarnation": self._encoder.incarnation}
        self._add("completion", {**self.usage.data(), **data, **lost, **total}, kind=Kind.END)
        self.over = True

    def flush_due(self) -> None:
        """Adds what has been held back for its whole window."""
        with self._lock:
            if not self.over:
                self._coalescer.flush_due()

    def _require_wanted(self) -> None:
        if self._stopped and self._raise_on_stop and not self.over and not _observing.get():
            raise RunStopped

    def _require_open(self) -> None:
        if not self.opened:
            raise RunOver("the run is not open")
        if self.over:
            raise RunOver

    def _add(self, type: str, data: Mapping[str, Any], cause: str | None = None, kind: Kind = Kind.EVENT) -> str:
        event, item = self._encoder.encode(self.said + 1, type, data, cause, kind)
        self.said += 1
        self._outbox.add(item)
        self._wake()
        if self._watch is not None:
            self._watch(event)
        return event.id

    # Blocks

    @contextlib.contextmanager
    def observing(self) -> Iterator[None]:
        """What is said in the block is what a library reports: it does not raise RunStopped, whatever the settings say."""
        token = _observing.set(True)
        try:
            yield
        finally:
            _observing.reset(token)

    @contextlib.contextmanager
    def inside(self, span: str) -> Iterator[None]:
        """While the block runs what the caller says has this step or tool as its parent."""
        token = _span.set(span)
        try:
            yield
        finally:
            # A generator may be closed in another context than it was begun in.
            with contextlib.suppress(ValueError):
                _span.reset(token)

    @contextlib.contextmanager
    def tool(self, tool_name: str, parameters: Mapping[str, Any] | None = None) -> Iterator[ToolCall]:
        """Adds tool_use, and tool_result when the block ends."""
        span = self.begin_span()
        begun = {"tool_name": tool_name, "parameters": dict(parameters or {}), "span": span}
        call = ToolCall(tool_name, self.emit("tool_use", begun), span)
        fault: BaseException | None = None
        try:
            with self.inside(span):
                yield call
        except BaseException as raised:
            fault = raised
            raise
        finally:
            data = {
                "tool_name": tool_name, "result": call.result, "success": fault is None and call.success is not False,
                "span": span, "execution_time": call.seconds(), **call.usage(), **_fault(fault),
            }  # fmt: skip
            self._end(call, "tool_result", data)

    @contextlib.contextmanager
    def step(self, name: str, **more: Any) -> Iterator[ToolCall]:
        """Adds workflow_step with the status `started`, and with `completed` or `failed` when the block ends."""
        span = self.begin_span()
        id = self.emit("workflow_step", {"step": name, "status": "started", "span": span, **more})
        step = ToolCall(name, id, span)
        fault: BaseException | None = None
        try:
            with self.inside(span):
                yield step
        except BaseException as raised:
            fault = raised
            raise
        finally:
            data = {
                "step": name, "status": "failed" if fault is not None or step.success is False else "completed",
                "span": span, "duration": step.seconds(), **step.usage(), **_fault(fault),
            }  # fmt: skip
            if step.result is not None:
                data["result"] = step.result
            self._end(step, "workflow_step", data)

    def _end(self, call: ToolCall, type: str, data: dict[str, Any]) -> None:
        self.usage.add(call.tokens_used, call.cost)
        # A tool may outlive its run, whose completion is the last event.
        with contextlib.suppress(RunOver):
            self._say(type, data, call.id)

    def metric(self, name: str, value: float, unit: str | None = None, **more: Any) -> None:
        """Adds a figure; a newer one of its name supersedes it."""
        self.emit("metric", {"name": name, "value": value, **({"unit": unit} if unit else {}), **more})


def _fault(fault: BaseException | None) -> dict[str, Any]:
    return {"error": text_of(fault), "error_type": type(fault).__name__} if fault is not None else {}


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, int) or (isinstance(value, str) and value.isascii())
