"""Says which run the code of this context reports to: `with reporting_to(run):` around code that is observed.

Tracing processors, progress bars and log handlers are installed once in a process in which many runs may work side by side. A
context is that of a task, and goes with `asyncio.to_thread`; another thread begins with none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from router.sdk.adapters.port import RunPort
from router.sdk.run import Run
from router.sdk.sync import SyncRun

_current: ContextVar[RunPort | None] = ContextVar("callboard_run", default=None)


@contextmanager
def reporting_to(run: Run | SyncRun) -> Iterator[None]:
    """What the block does, and the tasks that it starts, report to this run."""
    port = RunPort(run)
    token = _current.set(port)
    try:
        yield
    finally:
        _current.reset(token)
        port.flush()


def current_port() -> RunPort | None:
    """The run of this context, if any."""
    return _current.get()
