"""Adds to a run what the callbacks of a library report: from any thread, in order, and without waiting in an event loop.

Callbacks are plain functions that a library calls wherever it happens to be: in the event loop of the run, in one of its
worker threads, in a loop of its own. A callback that waited for the loop of the run could wait for itself.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from router.errors import BadEvent
from router.sdk.run import Run
from router.sdk.sync import SyncRun
from router.sdk.values import OutboxFull, RunOver, RunStopped

log = logging.getLogger(__name__)

# 10,000 reports wait while the outbox of the run is full; what comes after is dropped, counted and logged.
MAX_REPORTS = 10_000
# 1,000 events whose ids are kept for the events that they will cause; a library that never ends a span must not fill memory.
MAX_CAUSES = 1_000

Data = Mapping[str, Any] | Callable[[], Mapping[str, Any]]


@dataclass(slots=True)
class _Report:
    method: str
    arguments: tuple[Any, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)
    data: Data | None = None
    key: str | None = None
    cause: str | None = None


class RunPort:
    """The way from callbacks to one run, a Run or a SyncRun."""

    def __init__(self, run: Run | SyncRun) -> None:
        """A Run needs its event loop: create what adapts it within `async with Run(…)`. Raises RuntimeError elsewhere."""
        self.dropped = 0
        self.run = run
        self._loop: asyncio.AbstractEventLoop | None = None
        if isinstance(run, Run):
            try:
                self._loop = asyncio.get_running_loop()
            except RuntimeError:
                raise RuntimeError("create the adapter inside `async with Run(…)`, or use a SyncRun") from None
        self._reports: deque[_Report] = deque()
        self._causes: dict[str, str] = {}
        self._lock = threading.Lock()
        self._delivering = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def stopped(self) -> bool:
        """Whether the run was asked to stop."""
        return self.run.stopped.is_set()

    def check(self) -> None:
        """Raises RunStopped where the run was asked to stop."""
        if self.stopped:
            raise RunStopped

    def emit(
        self, type: str, data: Data, *, key: str | None = None, cause: str | None = None, later: bool = False
    ) -> None:
        """Adds an event; its id is kept as `key`, and `cause` is the key of the event that led to it.

        `later`: `data` is a function that is called once this callback has returned, for what its caller has still to fill in.
        """
        self._add(_Report("emit", (type,), {}, data, key, cause), later)

    def chunk(self, text: str) -> None:
        """Adds the next piece of a text."""
        if text:
            self._add(_Report("chunk", (text,)))

    def progress(self, progress: float | None, **more: Any) -> None:
        """Adds how far the work is."""
        self._add(_Report("progress", (progress,), more))

    def log(self, line: str, stream: str, **more: Any) -> None:
        """Adds a line of output."""
        self._add(_Report("log", (line, stream), more))

    def error(self, error: str | BaseException, **more: Any) -> None:
        """Adds an error; the run goes on."""
        self._add(_Report("error", (error,), more))

    def flush(self) -> None:
        """Hands over what is held back. Waits for nothing."""
        if self._loop is None:
            self._deliver_sync()
        elif _running_loop() is self._loop:
            self._deliver_here()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver_here)

    def _add(self, report: _Report, later: bool = False) -> None:
        if len(self._reports) >= MAX_REPORTS:
            self.dropped += 1
            if self.dropped == 1:
                log.error("a run takes no more events for now; what its adapter reports is dropped", extra=self._about)
            return
        self._reports.append(report)
        if later and (loop := _running_loop()):
            loop.call_soon(self.flush)
        else:
            self.flush()

    @property
    def _about(self) -> dict[str, Any]:
        return {"run": self.run.run if isinstance(self.run, Run) else None}

    # In the loop of a Run

    def _deliver_here(self) -> None:
        """Delivers at once where the run has room, as it nearly always has; else a task waits for room."""
        if self._delivering or not self._reports:
            return
        assert isinstance(self.run, Run) and self._loop is not None
        self._delivering = True
        delivery = self._deliver()
        rest: Coroutine[Any, Any, None] = delivery
        if self.run.waiting < self.run.settings.capacity:
            try:
                waits_for = delivery.send(None)
            except StopIteration:
                return
            rest = _go_on(delivery, waits_for)
        task = self._loop.create_task(rest)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self) -> None:
        try:
            while self._reports:
                report = self._reports.popleft()
                try:
                    self._keep(report, await getattr(self.run, report.method)(*report.arguments, **self._more(report)))
                except (RunOver, BadEvent, OutboxFull) as fault:
                    self._refused(report, fault)
        finally:
            self._delivering = False

    # Beside the thread of a SyncRun

    def _deliver_sync(self) -> None:
        while self._reports:
            # One thread at a time, so that the order stays. Who has the lock delivers what others add meanwhile.
            if not self._lock.acquire(blocking=False):
                return
            try:
                while self._reports:
                    self._deliver_one(self._reports.popleft())
            finally:
                self._lock.release()

    def _deliver_one(self, report: _Report) -> None:
        try:
            self._keep(report, getattr(self.run, report.method)(*report.arguments, **self._more(report)))
        except (RunOver, BadEvent, OutboxFull) as fault:
            self._refused(report, fault)

    def _more(self, report: _Report) -> dict[str, Any]:
        if report.method != "emit":
            return report.more
        data = report.data() if callable(report.data) else report.data
        cause = self._causes.pop(report.cause, None) if report.cause else None
        return {"data": data, "cause": cause}

    def _keep(self, report: _Report, id: object) -> None:
        if report.key:
            while len(self._causes) >= MAX_CAUSES:
                del self._causes[next(iter(self._causes))]
            self._causes[report.key] = str(id)

    def _refused(self, report: _Report, fault: Exception) -> None:
        self.dropped += 1
        # A callback that comes after the completion is usual: a library ends its spans behind the result that it returned.
        level = logging.DEBUG if isinstance(fault, RunOver) else logging.WARNING
        log.log(level, "an event of an adapter was refused; it is dropped", extra={**self._about, "fault": str(fault)})


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


@types.coroutine
def _go_on(begun: Coroutine[Any, Any, None], waits_for: object) -> Generator[Any, Any, None]:
    """Goes on in a task with a coroutine that was begun outside of one, and has come to something that it waits for."""
    while True:
        try:
            sent = yield waits_for
        except BaseException as fault:  # noqa: BLE001 - a task's cancellation goes to the coroutine, which answers it
            step, argument = begun.throw, fault
        else:
            step, argument = begun.send, sent  # type: ignore[assignment]
        try:
            waits_for = step(argument)
        except StopIteration:
            return
