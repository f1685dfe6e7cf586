"""Runs a Run in a thread of its own, for programs without asyncio: `with SyncRun("run-42") as run:`.

What the program says is checked and queued in its own thread; the other thread only delivers.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from router.nats.settings import BrokerSettings
from router.sdk.run import Run
from router.sdk.values import OutboxFull, RunOver, RunReport, ToolCall

P = ParamSpec("P")
R = TypeVar("R")


class SyncRun:
    """A Run for programs without asyncio: `with SyncRun("run-42") as run:`."""

    def __init__(self, run: str, url: str | BrokerSettings | None = None, **options: Any) -> None:
        """Takes the options of Run, except a shared broker. Raises BadSubject, and in `__enter__` what Run raises there."""
        self.stopped = threading.Event()
        self._url = url
        self._run = Run(run, url=url, **options)
        self._run.on_room = self._made_room
        self._room = threading.Condition()
        self._thread = threading.Thread(target=self._main, name=f"run {run}", daemon=True)
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._leave: asyncio.Future[BaseException | None]
        self._left: Future[None] = Future()

    def __enter__(self) -> Self:
        if self._thread.ident is not None:
            raise RunOver("a SyncRun is used once; create another one for the next attempt")
        self._thread.start()
        self._loop = self._ready.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._leave.set_result, fault)
        try:
            self._left.result()
        except BaseException as own:
            # The program's own exception is the one that its caller gets.
            if fault is None or own is fault:
                raise
        finally:
            self._thread.join()

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

    def child(self, run: str, **options: Any) -> SyncRun:
        """A run that is part of this one: its workflow_start names this one as its `parent`."""
        mine = self._run
        about = {**options.pop("about", {}), "parent": mine.run, "parent_domain": mine.domain}
        return SyncRun(run, self._url, **{"domain": mine.domain, "settings": mine.settings, **options, "about": about})

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

    def _main(self) -> None:
        """Runs the event loop of the thread until the block is left."""
        try:
            # Not uvloop, which waits for ever when it is closed with bytes that nobody takes, as where NATS is frozen.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._serve())
        except BaseException as fault:  # noqa: BLE001 - handed to the thread that waits for it, in __enter__ or __exit__
            for waiting in (self._ready, self._left):
                if not waiting.done():
                    waiting.set_exception(fault)
        else:
            self._left.set_result(None)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._leave = loop.create_future()
        try:
            async with self._run:
                watching = asyncio.create_task(self._watch_stop(), name="run stop")
                self._ready.set_result(loop)
                try:
                    fault = await self._leave
                finally:
                    watching.cancel()
                self._run.finish(fault)
        finally:
            self.stopped.set()

    async def _watch_stop(self) -> None:
        await self._run.stopped.wait()
        self.stopped.set()
