"""Runs a Run in a thread of its own, for programs without asyncio: `with SyncRun("run-42") as run:`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError as ThreadCancelled
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from router.nats.settings import BrokerSettings
from router.sdk.run import Run
from router.sdk.values import RunOver, ToolCall

R = TypeVar("R")


class SyncRun:
    """A Run for programs without asyncio: `with SyncRun("run-42") as run:`."""

    def __init__(self, run: str, url: str | BrokerSettings = "nats://127.0.0.1:4222", **options: Any) -> None:
        """Takes the options of Run, except a shared broker. Raises in `__enter__` what Run raises."""
        self.stopped = threading.Event()
        self._make = functools.partial(Run, run, url=url, **options)
        self._run: Run
        self._thread = threading.Thread(target=self._main, name=f"run {run}", daemon=True)
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._leave: asyncio.Future[BaseException | None]
        self._left: Future[None] = Future()

    def __enter__(self) -> Self:
        self._thread.start()
        self._loop = self._ready.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._leave.set_result, fault)
        self._left.result()
        self._thread.join()

    def emit(self, type: str, data: Mapping[str, Any] | None = None, *, cause: str | None = None) -> str:
        """Adds an event of any type; returns its id."""
        return self._call(self._run.emit(type, data, cause=cause))

    def thinking(self, thought: str, **more: Any) -> None:
        """Adds what is being considered."""
        self._call(self._run.thinking(thought, **more))

    def tool_use(self, tool_name: str, parameters: Mapping[str, Any] | None = None, **more: Any) -> str:
        """Adds the use of a tool; returns its id."""
        return self._call(self._run.tool_use(tool_name, parameters, **more))

    def tool_result(self, tool_name: str, result: Any = None, *, success: bool = True, **more: Any) -> None:
        """Adds the result of a tool."""
        self._call(self._run.tool_result(tool_name, result, success=success, **more))

    @contextlib.contextmanager
    def tool(self, tool_name: str, parameters: Mapping[str, Any] | None = None) -> Iterator[ToolCall]:
        """Adds tool_use now and tool_result when the block ends, with the time it took."""
        context = self._run.tool(tool_name, parameters)
        call = self._call(context.__aenter__())
        try:
            yield call
        except BaseException as fault:
            self._call(_closed(context, fault))
            raise
        else:
            self._call(_closed(context, None))

    def progress(
        self,
        progress: float | None = None,
        message: str | None = None,
        current_step: int | str | None = None,
        total_steps: int | None = None,
        **more: Any,
    ) -> None:
        """Adds how far the work is, from 0 to 1."""
        self._call(self._run.progress(progress, message, current_step, total_steps, **more))

    def chunk(self, text: str) -> None:
        """Adds the next piece of a text as it is written."""
        self._call(self._run.chunk(text))

    def log(self, line: str, stream: str = "stdout", **more: Any) -> None:
        """Adds one line of output."""
        self._call(self._run.log(line, stream, **more))

    def error(self, error: str | BaseException, **more: Any) -> None:
        """Adds an error; the run goes on."""
        self._call(self._run.error(error, **more))

    def complete(
        self, result: Any = None, *, success: bool = True, tokens_used: int | None = None, **more: Any
    ) -> None:
        """Adds the completion."""
        self._call(self._run.complete(result, success=success, tokens_used=tokens_used, **more))

    def _call(self, call: Coroutine[Any, Any, R]) -> R:
        """Runs a coroutine in the run's thread and waits for its result. Raises RunOver where that thread has ended."""
        try:
            future = asyncio.run_coroutine_threadsafe(call, self._loop)
        except RuntimeError:  # the loop is closed
            call.close()
            raise RunOver from None
        try:
            return future.result()
        except ThreadCancelled:
            raise RunOver from None

    def _main(self) -> None:
        """Runs the event loop of the thread until the block is left."""
        try:
            asyncio.run(self._serve())
        except BaseException as fault:  # noqa: BLE001 - handed to the thread that waits for it, in __enter__ or __exit__
            for waiting in (self._ready, self._left):
                if not waiting.done():
                    waiting.set_exception(fault)
        else:
            self._left.set_result(None)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._leave = loop.create_future()
        self._run = self._make()
        try:
            async with self._run, asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch_stop())
                self._ready.set_result(loop)
                try:
                    fault = await self._leave
                finally:
                    watching.cancel()
                if fault is not None and not self._run.over:
                    self._run.finish(fault)
        finally:
            self.stopped.set()

    async def _watch_stop(self) -> None:
        await self._run.stopped.wait()
        self.stopped.set()


async def _closed(context: contextlib.AbstractAsyncContextManager[ToolCall], fault: BaseException | None) -> None:
    """Leaves the block of a tool with the exception that left the caller's block, which the caller raises itself."""
    try:
        await context.__aexit__(type(fault) if fault else None, fault, fault.__traceback__ if fault else None)
    except BaseException as same:
        if same is not fault:
            raise
