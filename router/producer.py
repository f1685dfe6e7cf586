"""This file is where somebody's own program tells how its work goes: the Python SDK, `async with Run("run-42") as run:`.

A run says `workflow_start`, then whatever it likes, then exactly one `completion`. Its events leave in the order they
were said, one after the other, each acknowledged by JetStream, each with an id that a repeat keeps: a retry never
doubles. Saying something waits for nobody, unless so much is still unsent that the queue is full.

While a run is open it holds a lease. Where the lease runs out without a completion, the agent actor fails the run in
its stead. So the event loop must not stand still for long; work that blocks belongs in a thread, or under SyncRun.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import inspect
import logging
import math
import secrets
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError as ThreadCancelled
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from router.broker import Broker
from router.cluster.leases import Leases, lease_key
from router.codec import encode, from_json, to_json
from router.errors import BadEvent, BadInput, BrokerError, RouterError
from router.event import Event
from router.nats.settings import BrokerSettings
from router.subject import Subject, escape
from router.unsent import Unsent

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

# 16 KiB of tokens are an event of their own, however short the window was.
CHUNK_CHARACTERS = 16 * 1024
# What a held progress lets pass: it is superseded anyway, and must not be hurried by every line of output.
_PASSING = frozenset({"output", "streaming_chunk"})


class RunOver(RouterError):
    """the run is over and says nothing more"""


@dataclass(frozen=True)
class RunSettings:
    """How a run speaks. Times in seconds."""

    ttl: float = 10.0  # of the lease
    chunk_window: float = 0.05  # tokens said within it leave as one event
    progress_interval: float = 0.1  # at most one progress event in it; the newest one wins, the last one is always said
    capacity: int = 1000  # unsent events, before saying one more waits
    drain: float = 10.0  # how long an ending run waits until everything is stored


class ToolCall:
    """One use of a tool; set `result` before the block ends."""

    def __init__(self, name: str, id: str) -> None:
        self.name = name
        self.id = id
        self.result: Any = None
        self.success: bool | None = None
        self.tokens_used: int | None = None


class Run:
    """One piece of work that tells of itself. Use it as `async with Run("run-42") as run:`."""

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
        settings: RunSettings = RunSettings(),
        watch: Callable[[Event], None] | None = None,
    ) -> None:
        """`broker` is one to share (or an address); without it the run connects to `url` on its own.

        `about` goes into workflow_start; `watch` is called with each event as it is said. Raises BadSubject.
        """
        self._url = broker if isinstance(broker, str) else url
        self._broker = None if isinstance(broker, str) else broker
        Subject.of(domain, run, "completion")  # raises where the names are none
        self.run = run
        self.domain = domain
        self.name = name or run
        self.settings = settings
        self.stopped = asyncio.Event()
        self.stop_reason: str | None = None
        self.incarnation = secrets.token_hex(4)
        self.said = 0
        self.unsent = 0
        self._about = dict(about or {})
        self._source = source
        self._trace = trace
        self._watch = watch
        self._id = _id_stem(run)
        self._over = False
        self._opened = False
        self._begun = time.monotonic()
        self._unsent = Unsent(settings.capacity)
        self._chunks: list[str] = []
        self._chunk_size = 0
        self._chunk_timer: asyncio.TimerHandle | None = None
        self._progress: dict[str, Any] | None = None
        self._progress_timer: asyncio.TimerHandle | None = None
        # Kept here: what uvloop gives for a timer of less than a millisecond has no `when`.
        self._chunks_due = self._progress_due = 0.0
        self._progress_said = -math.inf
        self._group: asyncio.TaskGroup | None = None
        self._children: list[asyncio.Task[None]] = []

    @staticmethod
    @contextlib.asynccontextmanager
    async def connect(url: str | BrokerSettings = "nats://127.0.0.1:4222") -> AsyncIterator[Broker]:
        """Opens one connection that many runs may share. Raises Unreachable."""
        settings = BrokerSettings(url=url) if isinstance(url, str) else url
        broker = Broker(settings, "callboard sdk")
        try:
            # A producer makes no streams: their sizes are for those to say who run the place.
            await broker.open(apply=False)
            yield broker
        finally:
            await broker.close()

    async def __aenter__(self) -> Self:
        if self._opened:
            raise RunOver("a Run is used once; make another one for the next try")
        self._opened = True
        async with contextlib.AsyncExitStack() as ours:
            if self._broker is None:
                self._broker = await ours.enter_async_context(self.connect(self._url))
            self._begun = time.monotonic()
            self._say("workflow_start", {"name": self.name, "incarnation": self.incarnation, **self._about})
            self._group = await asyncio.TaskGroup().__aenter__()
            self._ours = ours.pop_all()
        for child in (self._publish(), self._hold_lease(), self._obey()):
            self._children.append(self._group.create_task(child, name=f"run {self.run}"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._over:
                self._end(fault)
            await self._drained()
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
        """Events said and not yet stored."""
        return len(self._unsent)

    @property
    def sent(self) -> int:
        """Events that JetStream has."""
        return self._unsent.sent

    @property
    def refused(self) -> int:
        """Events that JetStream did not want."""
        return self._unsent.refused

    @property
    def over(self) -> bool:
        """Whether the completion has been said."""
        return self._over

    async def emit(self, type: str, data: Mapping[str, Any] | None = None, *, cause: str | None = None) -> str:
        """Says an event of any type; returns its id. Raises BadEvent, or RunOver after the completion.

        Values that msgpack does not know become their text.
        """
        if type == "completion":
            raise BadEvent("a run's completion is said by `complete`, or by leaving the block")
        await self._may_speak()
        self._release(progress=type not in _PASSING)
        return self._say(type, data, cause)

    async def thinking(self, thought: str, **more: Any) -> None:
        """Says what is being considered."""
        await self.emit("thinking", {"thought": thought, **more})

    async def tool_use(self, tool_name: str, parameters: Mapping[str, Any] | None = None, **more: Any) -> str:
        """Says that a tool is used; `tool` does it together with the result."""
        return await self.emit("tool_use", {"tool_name": tool_name, "parameters": dict(parameters or {}), **more})

    async def tool_result(
        self, tool_name: str, result: Any = None, *, success: bool = True, cause: str | None = None, **more: Any
    ) -> None:
        """Says what a tool gave."""
        await self.emit(
            "tool_result", {"tool_name": tool_name, "result": result, "success": success, **more}, cause=cause
        )

    @contextlib.asynccontextmanager
    async def tool(self, tool_name: str, parameters: Mapping[str, Any] | None = None) -> AsyncIterator[ToolCall]:
        """Says tool_use now and tool_result when the block ends, with the time it took. An exception is passed on."""
        call = ToolCall(tool_name, secrets.token_hex(4))
        call.id = cause = await self.tool_use(tool_name, parameters)
        begun = time.monotonic()
        more: dict[str, Any] = {}
        try:
            yield call
        except BaseException as fault:
            call.success = False
            more = {"error": _words(fault), "error_type": type(fault).__name__}
            raise
        finally:
            if call.tokens_used is not None:
                more["tokens_used"] = call.tokens_used
            # The result of a tool that outlived its run is nobody's any more.
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
        """Decorates a coroutine function, so that each call is told as the use of a tool."""
        signature = inspect.signature(function)
        name = getattr(function, "__name__", "call")

        @functools.wraps(function)
        async def told(*args: P.args, **kwargs: P.kwargs) -> R:
            async with self.tool(name, dict(signature.bind(*args, **kwargs).arguments)) as call:
                call.result = value = await function(*args, **kwargs)
                return value

        return told

    async def progress(
        self,
        progress: float | None = None,
        message: str | None = None,
        current_step: int | str | None = None,
        total_steps: int | None = None,
        **more: Any,
    ) -> None:
        """Says how far it is, from 0 to 1; without a number it is worked out from the steps. The newest one wins."""
        if progress is None and _counts(current_step, total_steps):
            progress = min(1.0, float(current_step) / float(total_steps))  # type: ignore[arg-type]
        if progress is not None:
            progress = _share(progress)
        given = {"progress": progress, "message": message, "current_step": current_step, "total_steps": total_steps}
        data = {key: value for key, value in {**given, **more}.items() if value is not None}
        await self._may_speak()
        self._pack("progress", data)  # what cannot be said is told to who says it, not to the timer
        loop = asyncio.get_running_loop()
        left = self._progress_said + self.settings.progress_interval - loop.time()
        self._progress = data
        if left <= 0 and self._progress_timer is None:
            self._release()
        elif self._progress_timer is None:
            self._progress_due = loop.time() + left
            self._progress_timer = loop.call_later(left, self._due)

    async def chunk(self, text: str) -> None:
        """Says the next piece of a text as it is written; pieces that follow closely leave as one event."""
        if not text:
            return
        await self._may_speak()
        # Half a character (a lone surrogate) can be in a str, but in no event.
        self._chunks.append(text.encode(errors="replace").decode())
        self._chunk_size += len(text)
        if self._chunk_size >= CHUNK_CHARACTERS:
            self._release(progress=False)
        elif self._chunk_timer is None:
            loop = asyncio.get_running_loop()
            self._chunks_due = loop.time() + self.settings.chunk_window
            self._chunk_timer = loop.call_later(self.settings.chunk_window, self._due)

    async def log(self, line: str, stream: str = "stdout", **more: Any) -> None:
        """Says one line of output."""
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
        """Says that something went wrong; the run goes on."""
        await self.emit("error", _error(error, error_type, recoverable, retry_count, more))

    async def complete(
        self, result: Any = None, *, success: bool = True, tokens_used: int | None = None, **more: Any
    ) -> None:
        """Says the one completion; there is always room for it. Raises RunOver where it has been said."""
        if self._over or not self._opened:
            raise RunOver
        extra = {"tokens_used": tokens_used} if tokens_used is not None else {}
        self._complete({"success": success, "result": result, **extra, **more})

    def _end(self, fault: BaseException | None) -> None:
        """Says how the block was left."""
        match fault:
            case None if self.stopped.is_set():
                self._complete({"success": False, "status": "cancelled", "error": "stopped on request"})
            case None | SystemExit(code=None | 0):
                self._complete({"success": True})
            case asyncio.CancelledError() | KeyboardInterrupt() | GeneratorExit():
                why = "stopped on request" if self.stopped.is_set() else "cancelled"
                self._complete({"success": False, "status": "cancelled", "error": why})
            case _:
                self._release()
                self._say("error", _error(fault, None, False, None, {}))
                self._complete({"success": False, "error": _words(fault), "error_type": type(fault).__name__})

    def _complete(self, data: dict[str, Any]) -> None:
        self._release()
        self._say("completion", {**data, "total_time": round(time.monotonic() - self._begun, 6)})
        self._over = True

    async def _may_speak(self) -> None:
        """Waits for room. Raises RunOver."""
        while self._unsent.full and not self._over:
            await self._unsent.room()
        if self._over or not self._opened:
            raise RunOver("the run is not open") if not self._opened else RunOver

    def _due(self) -> None:
        """A window is over. Where the queue is full, what is held goes on growing together until there is room."""
        if not self._unsent.full and not self._over:
            loop = asyncio.get_running_loop()
            now = loop.time() + 0.001  # a timer may fire a moment early
            chunks = self._chunk_timer is not None and self._chunks_due <= now
            progress = self._progress_timer is not None and self._progress_due <= now
            self._release(chunks=chunks, progress=progress)

    def _release(self, chunks: bool = True, progress: bool = True) -> None:
        """Says what was held back."""
        if chunks:
            if self._chunk_timer:
                self._chunk_timer.cancel()
                self._chunk_timer = None
            if self._chunks:
                text = "".join(self._chunks)
                self._chunks, self._chunk_size = [], 0
                self._say("streaming_chunk", {"content": text})
        if progress:
            if self._progress_timer:
                self._progress_timer.cancel()
                self._progress_timer = None
            if self._progress is not None:
                data, self._progress = self._progress, None
                self._progress_said = asyncio.get_running_loop().time()
                self._say("progress", data)

    def _say(self, type: str, data: Mapping[str, Any] | None, cause: str | None = None) -> str:
        """Puts an event into the queue; never waits."""
        event, payload = self._pack(type, data or {}, cause)
        self.said += 1
        self._unsent.add(event, payload)
        if self._watch:
            self._watch(event)
        return event.id

    def _pack(self, type: str, data: Mapping[str, Any], cause: str | None = None) -> tuple[Event, bytes]:
        """Makes an event and its bytes. Raises BadEvent where it could not be stored."""
        event = self._event(type, data, cause)
        try:
            payload = encode(event)
        except BadEvent:
            event = self._event(type, _plain(data), cause)
            payload = encode(event)
        assert self._broker is not None
        limit = self._broker.largest_event
        if len(payload) > limit and self._broker.connection.connected:
            raise BadEvent(f"the event has {len(payload)} bytes, the server takes {limit}; say a reference instead")
        return event, payload

    def _event(self, type: str, data: Mapping[str, Any], cause: str | None) -> Event:
        return Event.new(
            Subject.of(self.domain, self.run, type),
            data,
            type=type,
            source=self._source,
            id=f"{self._id}.{self.incarnation}.{self.said + 1}",
            cause=cause,
            trace=self._trace,
        )

    async def _publish(self) -> None:
        """Stores one event after the other, until cancelled."""
        assert self._broker is not None
        while True:
            await self._unsent.publish_one(self._broker)
            self._due()

    async def _drained(self) -> None:
        try:
            async with asyncio.timeout(self.settings.drain):
                await self._unsent.empty()
        except TimeoutError:
            log.warning(
                "a run ended before all its events were stored", extra={"run": self.run, "unsent": self.waiting}
            )
        finally:
            self.unsent = self.waiting

    async def _hold_lease(self) -> None:
        assert self._broker is not None
        await self._broker.connection.up.wait()
        await Leases(self._broker.connection).hold(lease_key("run", self.domain, self.run), self.settings.ttl)

    async def _obey(self) -> None:
        """Takes requests to stop, until cancelled."""
        assert self._broker is not None
        connection = self._broker.connection
        # 16 who ask at once and want an answer; the others see the run stop.
        asked: asyncio.Queue[str] = asyncio.Queue(16)

        def heard(_subject: str, reply: str, payload: bytes, _raw: bytes) -> None:
            wanted = _wish(payload)
            if wanted.get("domain", self.domain) != self.domain:
                return  # a run of the same name in another domain is meant
            if not self.stopped.is_set():
                self.stop_reason = str(wanted.get("reason") or "") or None
                self.stopped.set()
            if not asked.full():
                asked.put_nowait(reply)

        await connection.up.wait()
        listening = await connection.listen(f"cmd.run.{escape(self.run)}.stop", heard)
        told = False
        try:
            while True:
                reply = await asked.get()
                if reply:
                    with contextlib.suppress(BrokerError):
                        answer = to_json({"ok": True, "run": self.run, "domain": self.domain})
                        await connection.send(reply, answer, {"Content-Type": "application/json"})
                if not told:
                    told = True
                    with contextlib.suppress(RunOver):
                        await self.emit("stopping", {"reason": self.stop_reason} if self.stop_reason else {})
        finally:
            await listening.stop()


class SyncRun:
    """A Run for plain programs: `with SyncRun("run-42") as run:`. It speaks from a thread of its own."""

    def __init__(self, run: str, url: str | BrokerSettings = "nats://127.0.0.1:4222", **options: Any) -> None:
        """Takes what Run takes, except a broker to share."""
        self.stopped = threading.Event()
        self._make = functools.partial(Run, run, url=url, **options)
        self._run: Run
        self._thread = threading.Thread(target=self._work, name=f"run {run}", daemon=True)
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
        """Says an event of any type; returns its id."""
        return self._call(self._run.emit(type, data, cause=cause))

    def thinking(self, thought: str, **more: Any) -> None:
        """Says what is being considered."""
        self._call(self._run.thinking(thought, **more))

    def tool_use(self, tool_name: str, parameters: Mapping[str, Any] | None = None, **more: Any) -> str:
        """Says that a tool is used."""
        return self._call(self._run.tool_use(tool_name, parameters, **more))

    def tool_result(self, tool_name: str, result: Any = None, *, success: bool = True, **more: Any) -> None:
        """Says what a tool gave."""
        self._call(self._run.tool_result(tool_name, result, success=success, **more))

    @contextlib.contextmanager
    def tool(self, tool_name: str, parameters: Mapping[str, Any] | None = None) -> Iterator[ToolCall]:
        """Says tool_use now and tool_result when the block ends, with the time it took."""
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
        """Says how far it is, from 0 to 1."""
        self._call(self._run.progress(progress, message, current_step, total_steps, **more))

    def chunk(self, text: str) -> None:
        """Says the next piece of a text as it is written."""
        self._call(self._run.chunk(text))

    def log(self, line: str, stream: str = "stdout", **more: Any) -> None:
        """Says one line of output."""
        self._call(self._run.log(line, stream, **more))

    def error(self, error: str | BaseException, **more: Any) -> None:
        """Says that something went wrong; the run goes on."""
        self._call(self._run.error(error, **more))

    def complete(
        self, result: Any = None, *, success: bool = True, tokens_used: int | None = None, **more: Any
    ) -> None:
        """Says the one completion."""
        self._call(self._run.complete(result, success=success, tokens_used=tokens_used, **more))

    def _call(self, saying: Coroutine[Any, Any, R]) -> R:
        try:
            future = asyncio.run_coroutine_threadsafe(saying, self._loop)
        except RuntimeError:  # the loop is closed
            saying.close()
            raise RunOver from None
        try:
            return future.result()
        except ThreadCancelled:
            raise RunOver from None

    def _work(self) -> None:
        """The thread's whole life."""
        try:
            asyncio.run(self._live())
        except BaseException as fault:  # noqa: BLE001 - handed to the thread that waits for it, in __enter__ or __exit__
            for waiting in (self._ready, self._left):
                if not waiting.done():
                    waiting.set_exception(fault)
        else:
            self._left.set_result(None)

    async def _live(self) -> None:
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
                    self._run._end(fault)
        finally:
            self.stopped.set()

    async def _watch_stop(self) -> None:
        await self._run.stopped.wait()
        self.stopped.set()


async def _closed(context: contextlib.AbstractAsyncContextManager[ToolCall], fault: BaseException | None) -> None:
    """Leaves the block of a tool as its user left it; the fault is raised again by whoever raised it."""
    try:
        await context.__aexit__(type(fault) if fault else None, fault, fault.__traceback__ if fault else None)
    except BaseException as same:
        if same is not fault:
            raise


def _id_stem(run: str) -> str:
    """The run's part of its events' ids: what an id may hold, and short enough."""
    token = escape(run).replace("=", ":")
    # 150 of the 200 characters an id may have; the rest is for incarnation and number.
    return token if len(token) <= 150 else hashlib.sha256(run.encode()).hexdigest()[:32]


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Turns what msgpack does not know into its text. Raises BadEvent."""
    try:
        plain: dict[str, Any] = from_json(to_json(data))
    except RecursionError:
        raise BadEvent("data contains itself") from None
    except UnicodeEncodeError:
        raise BadEvent("data holds text that is no Unicode") from None
    return plain


def _wish(payload: bytes) -> Mapping[str, Any]:
    try:
        wanted = from_json(payload) if payload else {}
    except BadInput:
        wanted = {}
    return wanted if isinstance(wanted, dict) else {}


def _words(fault: BaseException) -> str:
    return str(fault) or type(fault).__name__


def _error(
    error: str | BaseException,
    error_type: str | None,
    recoverable: bool,
    retry_count: int | None,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    if isinstance(error, BaseException):
        error_type = error_type or type(error).__name__
        error = _words(error)
    data = {"error": error, "error_type": error_type or "error", "recoverable": recoverable}
    return {**data, **({"retry_count": retry_count} if retry_count is not None else {}), **more}


def _counts(current: object, total: object) -> bool:
    return (
        isinstance(current, (int, float))
        and isinstance(total, (int, float))
        and not isinstance(current, bool)
        and current >= 0
        and total > 0
    )


def _share(progress: object) -> float:
    """Takes a number from 0 to 1; a rounding error past the end is forgiven. Raises BadEvent."""
    if isinstance(progress, bool) or not isinstance(progress, (int, float)) or not -1e-6 <= progress <= 1 + 1e-6:
        raise BadEvent(f"progress is a number from 0 to 1, not {str(progress)[:40]!r}")
    return min(1.0, max(0.0, float(progress)))
