"""Publishes the events of one piece of work: `async with Run("run-42") as run:` in the program that does it.

A run emits `workflow_start`, any number of other events, and exactly one `completion`. They are stored in their order, one
after the other, each with an id that a retry keeps, so that a repeat is dropped by JetStream. Adding an event does not wait
for NATS, unless the outbox is full (backpressure).

An open run holds a lease. If it expires without a completion, the agent actor emits a failed one in the run's place. So the
event loop must not be blocked for long: blocking work belongs in a thread, or use SyncRun.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from router.broker import Broker
from router.cluster.leases import Leases, lease_key
from router.errors import BadEvent
from router.event import Event
from router.nats.settings import BrokerSettings
from router.sdk.coalesce import Coalescer
from router.sdk.control import StopRequests
from router.sdk.encoder import RunEncoder
from router.sdk.outbox import RunOutbox
from router.sdk.values import RunOver, RunSettings, RunStopped, ToolCall, error_data, progress_data, text_of

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

# Frequent events, before which a progress that is held back is not emitted early.
_FREQUENT = frozenset({"output", "streaming_chunk"})


class Run:
    """One piece of work and its events. Use it as `async with Run("run-42") as run:`."""

    def __init__(
        self,
        run: str,
        broker: Broker | str | None = None,
        *,
        url: str | BrokerSettings = "nats://127.0.0.1:4222",
        domain: str = "agent",
        name: str | None = None,
        about: Mapping[str, Any] | None = None,
        source: str = "sdk",
        trace: str | None = None,
        settings: RunSettings | None = None,
        watch: Callable[[Event], None] | None = None,
    ) -> None:
        """`broker` is one to share (or an address); without it the run opens a connection to `url` of its own.

        `about` is added to workflow_start; `watch` is called with each event as it is added. Raises BadSubject.
        """
        self._url = broker if isinstance(broker, str) else url
        self._broker = None if isinstance(broker, str) else broker
        self._encoder = RunEncoder(domain, run, source, trace)
        self._stop = StopRequests(domain, run)
        self.run = run
        self.domain = domain
        self.name = name or run
        self.settings = settings = settings or RunSettings()
        self.stopped = self._stop.received
        self.incarnation = self._encoder.incarnation
        self.said = 0
        self.unsent = 0
        self._outbox = RunOutbox(settings.capacity)
        self._coalescer = Coalescer(settings.chunk_window, settings.progress_interval, self._add, self._has_room)
        self._about = dict(about or {})
        self._watch = watch
        self._over = False
        self._opened = False
        self._begun = time.monotonic()
        self._group: asyncio.TaskGroup | None = None
        self._children: list[asyncio.Task[None]] = []

    @staticmethod
    @contextlib.asynccontextmanager
    async def connect(url: str | BrokerSettings = "nats://127.0.0.1:4222") -> AsyncIterator[Broker]:
        """Opens one connection that many runs may share. Raises Unreachable."""
        settings = BrokerSettings(url=url) if isinstance(url, str) else url
        broker = Broker(settings, "callboard sdk")
        try:
            # A producer creates no streams: the operator sets their sizes.
            await broker.open(apply=False)
            yield broker
        finally:
            await broker.close()

    async def __aenter__(self) -> Self:
        if self._opened:
            raise RunOver("a Run is used once; create another one for the next attempt")
        self._opened = True
        async with contextlib.AsyncExitStack() as ours:
            if self._broker is None:
                self._broker = await ours.enter_async_context(self.connect(self._url))
            self._begun = time.monotonic()
            self._add("workflow_start", {"name": self.name, "incarnation": self.incarnation, **self._about})
            self._group = await asyncio.TaskGroup().__aenter__()
            self._ours = ours.pop_all()
        for child in (self._publish(), self._hold_lease(), self._serve_stop()):
            self._children.append(self._group.create_task(child, name=f"run {self.run}"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._over:
                self.finish(fault)
            await self._drain()
        finally:
            self._over = True
            for child in self._children:
                child.cancel()
            assert self._group is not None
            try:
                await self._group.__aexit__(None, None, None)
            finally:
                await self._ours.aclose()

    @property
    def waiting(self) -> int:
        """How many events are not stored yet."""
        return len(self._outbox)

    @property
    def sent(self) -> int:
        """How many events JetStream has stored."""
        return self._outbox.sent

    @property
    def refused(self) -> int:
        """How many events JetStream refused."""
        return self._outbox.refused

    @property
    def stop_reason(self) -> str | None:
        """Why the run was asked to stop, where the request said so."""
        return self._stop.reason

    @property
    def over(self) -> bool:
        """Whether the completion has been added."""
        return self._over

    async def emit(self, type: str, data: Mapping[str, Any] | None = None, *, cause: str | None = None) -> str:
        """Adds an event of any type; returns its id. Raises BadEvent, or RunOver after the completion.

        Values that msgpack does not know become text. Waits only while too many events are not stored yet.
        """
        if type == "completion":
            raise BadEvent("a run's completion is added by `complete`, or by leaving the block")
        await self._wait_for_room()
        self._coalescer.flush(progress=type not in _FREQUENT)
        return self._add(type, data or {}, cause)

    async def thinking(self, thought: str, **more: Any) -> None:
        """Adds what is being considered."""
        await self.emit("thinking", {"thought": thought, **more})

    async def tool_use(self, tool_name: str, parameters: Mapping[str, Any] | None = None, **more: Any) -> str:
        """Adds the use of a tool and returns its id; `tool` adds the result as well."""
        return await self.emit("tool_use", {"tool_name": tool_name, "parameters": dict(parameters or {}), **more})

    async def tool_result(
        self, tool_name: str, result: Any = None, *, success: bool = True, cause: str | None = None, **more: Any
    ) -> None:
        """Adds the result of a tool."""
        await self.emit(
            "tool_result", {"tool_name": tool_name, "result": result, "success": success, **more}, cause=cause
        )

    @contextlib.asynccontextmanager
    async def tool(self, tool_name: str, parameters: Mapping[str, Any] | None = None) -> AsyncIterator[ToolCall]:
        """Adds tool_use now and tool_result when the block ends, with the time it took. An exception is passed on."""
        call = ToolCall(tool_name, secrets.token_hex(4))
        call.id = cause = await self.tool_use(tool_name, parameters)
        begun = time.monotonic()
        more: dict[str, Any] = {}
        try:
            yield call
        except BaseException as fault:
            call.success = False
            more = {"error": text_of(fault), "error_type": type(fault).__name__}
            raise
        finally:
            if call.tokens_used is not None:
                more["tokens_used"] = call.tokens_used
            # A tool may outlive its run, whose completion is the last event.
            with contextlib.suppress(RunOver):
                await self.tool_result(
                    tool_name,
                    call.result,
                    success=call.success is not False,
                    cause=cause,
                    execution_time=round(time.monotonic() - begun, 6),
                    **more,
                )

    def traced(self, function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        """Decorates a coroutine function, so that each call is added as the use of a tool."""
        signature = inspect.signature(function)
        name = getattr(function, "__name__", "call")

        @functools.wraps(function)
        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            async with self.tool(name, dict(signature.bind(*args, **kwargs).arguments)) as call:
                call.result = value = await function(*args, **kwargs)
                return value

        return wrapper

    async def progress(
        self,
        progress: float | None = None,
        message: str | None = None,
        current_step: int | str | None = None,
        total_steps: int | None = None,
        **more: Any,
    ) -> None:
        """Adds how far the work is, from 0 to 1; without a number it is worked out from the steps.

        Throttled to one event in `progress_interval`, the newest. Raises BadEvent.
        """
        data = progress_data(progress, message, current_step, total_steps, more)
        await self._wait_for_room()
        self._encode("progress", data)  # raises here, to the caller, what would otherwise be raised in a timer
        self._coalescer.set_progress(data)

    async def chunk(self, text: str) -> None:
        """Adds the next piece of a text as it is written; pieces that follow closely become one event."""
        if text:
            await self._wait_for_room()
            self._coalescer.add_chunk(text)

    async def log(self, line: str, stream: str = "stdout", **more: Any) -> None:
        """Adds one line of output."""
        await self.emit("output", {"line": line, "stream": stream, **more})

    async def error(
        self,
        error: str | BaseException,
        *,
        error_type: str | None = None,
        recoverable: bool = True,
        retry_count: int | None = None,
        **more: Any,
    ) -> None:
        """Adds an error; the run goes on."""
        await self.emit("error", error_data(error, error_type, recoverable, retry_count, more))

    async def complete(
        self, result: Any = None, *, success: bool = True, tokens_used: int | None = None, **more: Any
    ) -> None:
        """Adds the completion, without waiting for room. Raises RunOver where it has been added already."""
        if self._over or not self._opened:
            raise RunOver
        extra = {"tokens_used": tokens_used} if tokens_used is not None else {}
        self._complete({"success": success, "result": result, **extra, **more})

    def finish(self, fault: BaseException | None) -> None:
        """Adds the completion for a block that was left, by an exception or without one."""
        match fault:
            case None if self.stopped.is_set():
                self._complete({"success": False, "status": "cancelled", "error": "stopped on request"})
            case None | SystemExit(code=None | 0):
                self._complete({"success": True})
            case asyncio.CancelledError() | KeyboardInterrupt() | GeneratorExit() | RunStopped():
                why = "stopped on request" if self.stopped.is_set() else "cancelled"
                self._complete({"success": False, "status": "cancelled", "error": why})
            case _:
                self._coalescer.flush()
                self._add("error", error_data(fault, None, False, None, {}))
                self._complete({"success": False, "error": text_of(fault), "error_type": type(fault).__name__})

    def _complete(self, data: dict[str, Any]) -> None:
        self._coalescer.flush()
        self._add("completion", {**data, "total_time": round(time.monotonic() - self._begun, 6)})
        self._over = True

    async def _wait_for_room(self) -> None:
        """Raises RunOver."""
        while self._outbox.full and not self._over:
            await self._outbox.room()
        if not self._opened:
            raise RunOver("the run is not open")
        if self._over:
            raise RunOver

    def _has_room(self) -> bool:
        return not self._outbox.full and not self._over

    def _add(self, type: str, data: Mapping[str, Any], cause: str | None = None) -> str:
        """Appends an event to the outbox, without waiting; returns its id. Raises BadEvent."""
        event, payload = self._encode(type, data, cause)
        self.said += 1
        self._outbox.add(event, payload)
        if self._watch:
            self._watch(event)
        return event.id

    def _encode(self, type: str, data: Mapping[str, Any], cause: str | None = None) -> tuple[Event, bytes]:
        assert self._broker is not None
        return self._encoder.encode(self._broker, self.said + 1, type, data, cause)

    # The tasks of an open run

    async def _publish(self) -> None:
        """Stores one event after the other, until cancelled."""
        assert self._broker is not None
        while True:
            await self._outbox.publish_one(self._broker)
            self._coalescer.flush_due()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self.settings.drain):
                await self._outbox.empty()
        except TimeoutError:
            log.warning(
                "run ended before all its events were stored; the rest is dropped",
                extra={"run": self.run, "unsent": self.waiting},
            )
        finally:
            self.unsent = self.waiting

    async def _hold_lease(self) -> None:
        assert self._broker is not None
        await self._broker.connection.up.wait()
        await Leases(self._broker.connection).hold(lease_key("run", self.domain, self.run), self.settings.ttl)

    async def _serve_stop(self) -> None:
        assert self._broker is not None
        await self._stop.serve(self._broker.connection, self._announce_stop)

    async def _announce_stop(self) -> None:
        with contextlib.suppress(RunOver):
            await self.emit("stopping", {"reason": self.stop_reason} if self.stop_reason else {})
