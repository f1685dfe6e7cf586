"""Guards writes that wait for the store: ends them as soon as it is known that their stream takes none, and reports slow ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from router.errors import StoreFailed
from router.store_trouble import Trouble

# A write that takes so long is a reason to examine the streams.
SLOW_SECONDS = 1.0


class GuardedWrite(Protocol):
    """A write that is under way."""

    # When it began, on the loop's clock, and whether it was reported to be slow.
    began: float
    is_reported: bool

    @property
    def stream(self) -> str:
        """What it is written to."""

    def fail(self, trouble: Trouble) -> None:
        """Ends it; harmless the second time."""


class CallbackGuard:
    """Guards one write that no task waits for: `failed` is called where its stream is known to take none, until `leave`."""

    __slots__ = ("_failed", "_guards", "began", "is_reported", "stream")

    def __init__(self, guards: WriteGuards, stream: str, failed: Callable[[], None]) -> None:
        self.stream = stream
        self.began = 0.0
        self.is_reported = False
        self._guards = guards
        self._failed = failed
        guards.enter(self)

    def leave(self) -> None:
        """Guards it no more."""
        self._guards.leave(self)

    def fail(self, trouble: Trouble) -> None:
        """Ends the write."""
        self.leave()
        self._failed()


class StoreGuard:
    """A context manager around one write of a task, as `asyncio.timeout` is: its failure is raised as StoreFailed."""

    __slots__ = ("_before", "_guards", "_task", "_trouble", "began", "is_reported", "stream")

    def __init__(self, guards: WriteGuards, stream: str) -> None:
        self.stream = stream
        self.began = 0.0
        self.is_reported = False
        self._guards = guards
        self._trouble: Trouble | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._before = task.cancelling()
        self._guards.enter(self)

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self._guards.leave(self)
        found = self._trouble
        # A cancellation of somebody else's is raised as it is.
        if found is not None and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise StoreFailed(found.code, found.stream, found.text) from None

    def fail(self, trouble: Trouble) -> None:
        """Ends the write, once."""
        if self._trouble is None:
            self._trouble = trouble
            self._task.cancel()


class WriteGuards:
    """The writes that are under way, in the order they began; one timer for all of them."""

    def __init__(self, slow: Callable[[], None]) -> None:
        """`slow()` is called once for each write that takes longer than `SLOW_SECONDS`, or for several together."""
        self._slow = slow
        self._under_way: dict[GuardedWrite, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def guard(self, stream: str) -> StoreGuard:
        """Guards a write to a stream: `with guards.guard(stream): ...`."""
        return StoreGuard(self, stream)

    def enter(self, guard: GuardedWrite) -> None:
        loop = asyncio.get_running_loop()
        guard.began = loop.time()
        self._under_way[guard] = None
        if self._timer is None:
            # It is not cancelled when the write ends: the next write is likely to come before it is due.
            self._timer = loop.call_later(SLOW_SECONDS, self._report_slow)

    def leave(self, guard: GuardedWrite) -> None:
        del self._under_way[guard]

    def fail(self, trouble: Callable[[str], Trouble | None]) -> None:
        """Ends every write to a stream of which `trouble(stream)` says that it takes none."""
        for guard in tuple(self._under_way):
            if (found := trouble(guard.stream)) is not None:
                guard.fail(found)

    def _report_slow(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        is_slow = False
        for guard in self._under_way:
            if guard.is_reported:
                continue
            if now - guard.began < SLOW_SECONDS:
                self._timer = loop.call_at(guard.began + SLOW_SECONDS, self._report_slow)
                break
            guard.is_reported = is_slow = True
        if is_slow:
            self._slow()
