"""Publishes the events of one piece of work: `async with Run("run-42") as run:` in the program that does it.

A run emits `workflow_start`, any number of other events, and exactly one `completion`. They are stored in their order, each
with an id that a retry keeps. Adding an event does not wait for the server: what cannot be stored now waits in memory and
then on disk (`RunSettings.overflow`), also where the server is away from the start to the end. What a run leaves unsent is
delivered by the next process of the run, or by `callboard flush`; what could not even be spooled is raised as Unsent.

An open run holds a lease. If it expires without a completion, the agent actor emits a failed one in the run's place. A run
that goes on after that, as one that was frozen, begins a new incarnation and is told so (`revived`, a warning in the log).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from router.broker import Broker
from router.catalogue import RUN_DOMAINS
from router.errors import BadInput, RouterError
from router.event import Event
from router.nats.settings import BrokerSettings
from router.sdk.connect import sender_to, shared
from router.sdk.delivery import RunDelivery, make_spool
from router.sdk.emitter import Emitter
from router.sdk.encoder import RunEncoder
from router.sdk.outbox import RunOutbox
from router.sdk.values import OutboxFull, RunOver, RunReport, RunSettings, ToolCall, Unsent

if TYPE_CHECKING:
    from router.sdk.over_http import HttpDoor

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


class Run:
    """One piece of work and its events. Use it as `async with Run("run-42") as run:`."""

    def __init__(
        self,
        run: str,
        broker: Broker | HttpDoor | str | None = None,
        *,
        url: str | BrokerSettings | None = None,
        token: str | None = None,
        domain: str = "agent",
        name: str | None = None,
        about: Mapping[str, Any] | None = None,
        source: str = "sdk",
        trace: str | None = None,
        settings: RunSettings | None = None,
        watch: Callable[[Event], None] | None = None,
        incarnation: str = "",
    ) -> None:
        """Prepares a run; entering it begins it, whether or not the server is there.

        `url` is that of NATS (`nats://…`) or of an edge (`http://…`, with a `token` where it asks for one); without it
        CALLBOARD_URL and CALLBOARD_TOKEN say so. `broker` is a connection of `Run.connect` to share. `about` is added to
        workflow_start; `watch` is called with each event as it is added. `incarnation` names the life that it begins, a new name
        where none is given. Raises BadInput.
        """
        if not run:
            raise BadInput("a run needs an id")
        if domain not in RUN_DOMAINS:
            raise BadInput(f"a run is of the domain {', '.join(RUN_DOMAINS)}, not {str(domain)[:60]!r}")
        self.run = run
        self.domain = domain
        self.name = name or run
        self.settings = settings = settings or RunSettings()
        self._target = broker if broker is not None else url
        self._token = token
        self._encoder = encoder = RunEncoder(domain, run, source, trace, incarnation)
        self._sender = sender = sender_to(self._target, encoder.life, settings.ttl, token)
        self._outbox = RunOutbox(settings, lambda: make_spool(encoder, sender.url, settings.spool_dir), self._made_room)
        self.emitter = Emitter(encoder, self._outbox, settings, self._wake, watch)
        self._delivery = RunDelivery(self.emitter, self._outbox, encoder, sender, settings, self._made_room)
        self.stopped = self._delivery.stopped
        self._about = {"name": self.name, **(about or {})}
        self._entered = False
        self._room = asyncio.Event()
        self.on_room: Callable[[], None] | None = None
        self.lost = self._delivery.lost_for_good
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._waking = False
        self._group: asyncio.TaskGroup | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._left: RunReport | None = None

    @staticmethod
    def connect(
        url: str | BrokerSettings | None = None, token: str | None = None
    ) -> contextlib.AbstractAsyncContextManager[Broker | HttpDoor]:
        """Opens one connection that many runs may share, as soon as the server is there."""
        return shared(url, token)

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RunOver("a Run is used once; create another one for the next attempt")
        self._entered = True
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self.emitter.start(self._about)
        self._group = await asyncio.TaskGroup().__aenter__()
        for task in (self._sender.serve(self._delivery), self._delivery.deliver(), self._delivery.tick()):
            self._tasks.append(self._group.create_task(task, name=f"run {self.run}"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.emitter.finish(fault, self.stopped.is_set())
            await self._delivery.drain()
        finally:
            for task in self._tasks:
                task.cancel()
            assert self._group is not None
            try:
                await self._group.__aexit__(None, None, None)
            finally:
                self._left = self._close()
                try:
                    if self._left.spool is not None:
                        await asyncio.to_thread(self._outbox.release)
                finally:
                    await self._sender.release()
        self._tell(self._left, fault)

    def _close(self) -> RunReport:
        self.emitter.over = True
        unsent, path = self._outbox.close()
        report = self._report(unsent)
        return RunReport(report.stored, unsent, report.refused, report.dropped, path, report.revived)

    def _tell(self, report: RunReport, fault: BaseException | None) -> None:
        """Logs what is left unsent. Raises what is lost, unless the block was left by an exception."""
        wrong: RouterError | None = self._delivery.over
        if report.unsent and report.spool is not None:
            log.warning(
                "run %s ended before all its events were stored; %d wait in %s, which the next process of the run or "
                "`callboard flush` delivers",
                self.run,
                report.unsent,
                report.spool,
            )
        elif report.unsent:
            wrong = Unsent(self.run, report.unsent, self._outbox.failure or "spooling is turned off")
            log.error("run %s ended before all its events were stored; the rest is lost: %s", self.run, wrong)
        if wrong is not None and fault is None:
            raise wrong
        if wrong is not None:
            log.error("end of run %s was refused: %s", self.run, wrong)

    # What is known of it

    @property
    def incarnation(self) -> str:
        """Which life of the run this is; another one after it revived."""
        return self._encoder.incarnation

    @property
    def said(self) -> int:
        """How many events were added."""
        return self.emitter.said

    @property
    def waiting(self) -> int:
        """How many events are not stored yet, in memory and on disk."""
        return len(self._outbox)

    @property
    def sent(self) -> int:
        """How many events are stored."""
        return self._outbox.stored

    @property
    def refused(self) -> int:
        """How many events the server refused."""
        return self._outbox.refused

    @property
    def must_wait(self) -> bool:
        """Whether the next event waits for room, as the settings may say."""
        return self._outbox.must_wait

    @property
    def unsent(self) -> int:
        """How many events a run that has ended left unsent; `report` says whether they are on disk."""
        return self._left.unsent if self._left is not None else 0

    @property
    def report(self) -> RunReport:
        """What became of the events so far."""
        return self._left or self._report(len(self._outbox))

    def _report(self, unsent: int) -> RunReport:
        box = self._outbox
        return RunReport(box.stored, unsent, box.refused, box.dropped, box.spool_path, self._delivery.revived)

    @property
    def revived(self) -> bool:
        """Whether the run was ended in its place when its lease ran out, and went on as a new incarnation."""
        return self._delivery.revived

    @property
    def stop_reason(self) -> str | None:
        """Why the run was asked to stop, where the request said so."""
        return self._delivery.stop_reason

    @property
    def cancelled(self) -> bool:
        """Whether the run was asked to stop."""
        return self.stopped.is_set()

    @property
    def over(self) -> bool:
        """Whether the completion has been added."""
        return self.emitter.over

    # What it says

    async def emit(self, type: str, data: Mapping[str, Any] | None = None, *, cause: str | None = None) -> str:
        """Adds an event of any type; returns its id. Raises BadEvent, or RunOver after the completion.

        Values that msgpack does not know become text. Waits for nothing, unless the settings say `Overflow.WAIT`; then it
        raises OutboxFull in the end.
        """
        await self._wait_for_room()
        return self.emitter.emit(type, data, cause=cause)

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
        await self._wait_for_room()
        with self.emitter.tool(tool_name, parameters) as call:
            yield call

    @contextlib.asynccontextmanager
    async def step(self, name: str, **more: Any) -> AsyncIterator[ToolCall]:
        """Adds workflow_step now and when the block ends; what is said within has it as its `parent`."""
        await self._wait_for_room()
        with self.emitter.step(name, **more) as step:
            yield step

    def child(self, run: str, **options: Any) -> Run:
        """A run that is part of this one, over the same connection: its workflow_start names this one as its `parent`."""
        about = {**options.pop("about", {}), "parent": self.run, "parent_domain": self.domain}
        given = {"domain": self.domain, "settings": self.settings, "token": self._token, **options, "about": about}
        return Run(run, self._sender.shared, **given)

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
        """Adds how far the work is, from 0 to 1; without a number it is worked out from the steps. It never goes back.

        Throttled to one event in `progress_interval`, the newest. Raises BadEvent.
        """
        if self.must_wait:
            await self._wait_for_room()
        self.emitter.progress(progress, message, current_step, total_steps, **more)

    async def chunk(self, text: str) -> None:
        """Adds the next piece of a text as it is written; pieces that follow closely become one event."""
        await self._wait_for_room()
        self.emitter.chunk(text)

    async def metric(self, name: str, value: float, unit: str | None = None, **more: Any) -> None:
        """Adds a figure of the run, such as a loss or a rate."""
        await self._wait_for_room()
        self.emitter.metric(name, value, unit, **more)

    async def log(self, line: str, stream: str = "stdout", **more: Any) -> None:
        """Adds one line of output."""
        await self.emit("output", {"line": line, "stream": stream, **more})

    async def error(self, error: str | BaseException, **more: Any) -> None:
        """Adds an error (`error_type`, `recoverable`, `retry_count`); the run goes on."""
        await self._wait_for_room()
        self.emitter.error(error, **more)

    async def complete(
        self, result: Any = None, *, success: bool = True, tokens_used: int | None = None, **more: Any
    ) -> None:
        """Adds the completion, without waiting for room. Raises RunOver where it has been added already."""
        extra = {"tokens_used": tokens_used} if tokens_used is not None else {}
        self.emitter.complete({"success": success, "result": result, **extra, **more})

    def finish(self, fault: BaseException | None) -> None:
        """Adds the completion for a block that was left, by an exception or without one."""
        self.emitter.finish(fault, self.stopped.is_set())

    async def keep_pace(self, most: int) -> bool:
        """Waits while more than so many events wait to be stored and the server takes them; False where it is away.

        For a source that is faster than the server and may wait, such as the output of a program.
        """
        while len(self._outbox) > most and not self._delivery.is_away and not self.emitter.over:
            self._room.clear()
            await self._room.wait()
        return not self._delivery.is_away

    async def _wait_for_room(self) -> None:
        """Raises OutboxFull where there is none in time."""
        if not self.must_wait:
            return
        try:
            async with asyncio.timeout(self.settings.wait_limit):
                while self.must_wait and not self.emitter.over:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            raise OutboxFull(f"{self.waiting} events of {self.run} wait to be stored") from None

    def _made_room(self) -> None:
        self._room.set()
        if self.on_room is not None:
            self.on_room()

    def _wake(self) -> None:
        """Wakes the delivery, from any thread."""
        if threading.get_ident() == self._thread:
            self._delivery.wake()
        elif self._loop is not None and not self._waking:
            self._waking = True
            # A loop that is closed delivers nothing any more; what is added then is refused, as the run is over.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._woken)

    def _woken(self) -> None:
        self._waking = False
        self._delivery.wake()
