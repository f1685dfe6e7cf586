"""What a run says, for programs without asyncio: the same as a Run, from any thread, and without awaiting."""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar

from router.sdk.run import Run
from router.sdk.values import OutboxFull, RunReport, ToolCall

P = ParamSpec("P")
R = TypeVar("R")


class SyncVoice:
    """Adds the events of a run, whose loop is another thread's. What is said is checked and queued in the caller's thread."""

    stopped: threading.Event

    def __init__(self, run: Run) -> None:
        self._run = run
        self._run.on_room = self._made_room
        self._room = threading.Condition()

    @property
    def run(self) -> str:
        """The run's id."""
        return self._run.run

    @property
    def emitter(self) -> Any:
        """What adds events without waiting, from any thread."""
        return self._run.emitter

    @property
    def report(self) -> RunReport:
        """What became of the events so far."""
        return self._run.report

    @property
    def unsent(self) -> int:
        """How many events a run that has ended left unsent."""
        return self._run.unsent

    @property
    def revived(self) -> bool:
        """Whether the run went on as a new incarnation, after its lease ran out."""
        return self._run.revived

    @property
    def over(self) -> bool:
        """Whether the completion has been added."""
        return self._run.over

    @property
    def stop_reason(self) -> str | None:
        """Why the run was asked to stop, where the request said so."""
        return self._run.stop_reason

    @property
    def cancelled(self) -> bool:
        """Whether the run was asked to stop."""
        return self.stopped.is_set()

    def emit(self, type: str, data: Mapping[str, Any] | None = None, *, cause: str | None = None) -> str:
        """Adds an event of any type; returns its id."""
        self._wait_for_room()
        return self._run.emitter.emit(type, data, cause=cause)

    def thinking(self, thought: str, **more: Any) -> None:
        """Adds what is being considered."""
        self.emit("thinking", {"thought": thought, **more})

    def tool_use(self, tool_name: str, parameters: Mapping[str, Any] | None = None, **more: Any) -> str:
        """Adds the use of a tool; returns its id."""
        return self.emit("tool_use", {"tool_name": tool_name, "parameters": dict(parameters or {}), **more})

    def tool_result(
        self, tool_name: str, result: Any = None, *, success: bool = True, cause: str | None = None, **more: Any
    ) -> None:
        """Adds the result of a tool."""
        self.emit("tool_result", {"tool_name": tool_name, "result": result, "success": success, **more}, cause=cause)

    @contextlib.contextmanager
    def tool(self, tool_name: str, parameters: Mapping[str, Any] | None = None) -> Iterator[ToolCall]:
        """Adds tool_use now and tool_result when the block ends, with the time it took."""
        self._wait_for_room()
        with self._run.emitter.tool(tool_name, parameters) as call:
            yield call

    @contextlib.contextmanager
    def step(self, name: str, **more: Any) -> Iterator[ToolCall]:
        """Adds workflow_step now and when the block ends; what is said within has it as its `parent`."""
        self._wait_for_room()
        with self._run.emitter.step(name, **more) as step:
            yield step

    def traced(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorates a function, so that each call is added as the use of a tool."""
        signature = inspect.signature(function)
        name = getattr(function, "__name__", "call")

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            with self.tool(name, dict(signature.bind(*args, **kwargs).arguments)) as call:
                call.result = value = function(*args, **kwargs)
                return value

        return wrapper

    def progress(
        self,
        progress: float | None = None,
        message: str | None = None,
        current_step: int | str | None = None,
        total_steps: int | None = None,
        **more: Any,
    ) -> None:
        """Adds how far the work is, from 0 to 1. It never goes back."""
        self._wait_for_room()
        self._run.emitter.progress(progress, message, current_step, total_steps, **more)

    def chunk(self, text: str) -> None:
        """Adds the next piece of a text as it is written."""
        self._wait_for_room()
        self._run.emitter.chunk(text)

    def metric(self, name: str, value: float, unit: str | None = None, **more: Any) -> None:
        """Adds a figure of the run, such as a loss or a rate."""
        self._wait_for_room()
        self._run.emitter.metric(name, value, unit, **more)

    def log(self, line: str, stream: str = "stdout", **more: Any) -> None:
        """Adds one line of output."""
        self.emit("output", {"line": line, "stream": stream, **more})

    def error(self, error: str | BaseException, **more: Any) -> None:
        """Adds an error; the run goes on."""
        self._wait_for_room()
        self._run.emitter.error(error, **more)

    def complete(
        self, result: Any = None, *, success: bool = True, tokens_used: int | None = None, **more: Any
    ) -> None:
        """Adds the completion."""
        extra = {"tokens_used": tokens_used} if tokens_used is not None else {}
        self._run.emitter.complete({"success": success, "result": result, **extra, **more})

    def _wait_for_room(self) -> None:
        """Raises OutboxFull where there is none in time."""
        run = self._run
        if not run.must_wait:
            return
        deadline = time.monotonic() + run.settings.wait_limit
        with self._room:
            while run.must_wait and not run.over:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise OutboxFull(f"{run.waiting} events of {run.run} wait to be stored")
                self._room.wait(left)

    def _made_room(self) -> None:
        with self._room:
            self._room.notify_all()
