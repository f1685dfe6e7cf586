"""Adds to a run what the callbacks of a library report: from any thread, in order, and without waiting.

Callbacks are plain functions that a library calls wherever it happens to be: in the event loop of the run, in one of its
worker threads, in a loop of its own. A callback that waited for the loop of the run could wait for itself, so they go by the
emitter of the run, which never waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from router.errors import BadInput
from router.sdk.run import Run
from router.sdk.sync import SyncRun
from router.sdk.values import RunOver, RunStopped

log = logging.getLogger(__name__)

# 1,000 events whose ids are kept for the events that they will cause; a library that never ends a span must not fill memory.
MAX_CAUSES = 1_000
# 100 reports that wait for their caller to return; more are delivered as they are.
MAX_LATER = 100

Data = Mapping[str, Any] | Callable[[], Mapping[str, Any]]


class _Report(NamedTuple):
    type: str
    data: Data
    key: str | None
    cause: str | None
    parent: str | None


class RunPort:
    """The way from callbacks to one run, a Run or a SyncRun."""

    def __init__(self, run: Run | SyncRun) -> None:
        self.run = run
        self.dropped = 0
        self._emitter = run.emitter
        self._causes: dict[str, str] = {}
        # Held while what came first is added, so that the order stays. Re-entered where a `watch` of the run logs.
        self._lock = threading.RLock()
        self._later: deque[_Report] = deque()

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
        report = _Report(type, data, key, cause, None)
        loop = _running_loop() if later else None
        with self._lock:
            self._later.append(report)
            if loop is not None and len(self._later) < MAX_LATER:
                loop.call_soon(self.flush)
            else:
                self.flush()

    def chunk(self, text: str, parent: str | None = None) -> None:
        """Adds the next piece of a text, which `parent` writes."""
        with self._reporting(), self._emitter.inside(parent) if parent else contextlib.nullcontext():
            self._emitter.chunk(text)

    def progress(self, progress: float | None, **more: Any) -> None:
        """Adds how far the work is."""
        with self._reporting():
            self._emitter.progress(progress, **more)

    def log(self, line: str, stream: str, **more: Any) -> None:
        """Adds a line of output."""
        self.emit("output", {"line": line, "stream": stream, **more})

    def error(self, error: str | BaseException, **more: Any) -> None:
        """Adds an error; the run goes on."""
        with self._reporting():
            self._emitter.error(error, **more)

    def use(self, tokens_used: int | None, cost: float | None) -> None:
        """Counts what a model used, for the completion of the run."""
        self._emitter.usage.add(tokens_used, cost)

    def flush(self) -> None:
        """Adds what waited for its caller to return."""
        with self._lock:
            while self._later:
                report = self._later.popleft()
                with self._taken():
                    data = report.data() if callable(report.data) else report.data
                    cause = self._causes.pop(report.cause, None) if report.cause else None
                    id = self._emitter.emit(report.type, data, cause=cause)
                    if report.key:
                        while len(self._causes) >= MAX_CAUSES:
                            del self._causes[next(iter(self._causes))]
                        self._causes[report.key] = id

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        """Adds an event behind those that wait."""
        with self._lock:
            self.flush()
            with self._taken():
                yield

    @contextlib.contextmanager
    def _taken(self) -> Iterator[None]:
        """Counts and logs an event that the run does not take."""
        try:
            with self._emitter.observing():
                yield
        except (RunOver, BadInput) as fault:
            self.dropped += 1
            # A callback that comes after the completion is usual: a library ends its spans behind the result that it returned.
            level = logging.DEBUG if isinstance(fault, RunOver) else logging.WARNING
            about = {"run": self.run.run if isinstance(self.run, Run) else None, "fault": str(fault)}
            log.log(level, "an event of an adapter was refused; it is dropped", extra=about)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
