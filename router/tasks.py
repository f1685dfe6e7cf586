"""Runs work that may be cancelled at any moment, so that no cancellation is lost and nothing outlives its caller."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from router.errors import BrokerError

log = logging.getLogger(__name__)
T = TypeVar("T")


@contextlib.contextmanager
def keeping_cancellation() -> Iterator[None]:
    """Raises CancelledError where the task was cancelled within, even if what runs within did not.

    For libraries that lose a cancellation: by catching it, or with `asyncio.wait_for`, which on Python 3.11 loses one that
    comes together with the outcome.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    except asyncio.CancelledError:
        raise
    except Exception:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError from None
        raise
    if task and task.cancelling() > before:
        raise asyncio.CancelledError


async def run_cancellable(
    work: Coroutine[Any, Any, T], *, name: str, companion: Coroutine[Any, Any, None] | None = None
) -> T:
    """Runs `work` as a task of its own, and a companion beside it for as long as the work takes; returns what the work returns.

    Where one of them fails the other is cancelled and waited for, and the first fault is raised as it is. A companion that
    returns leaves the work alone. `name` is that of the tasks, for the log and for debuggers.

    A cancellation always raises CancelledError, once both have ended: for callers that catch a fault of the work and go on.
    A TaskGroup of Python 3.11 and 3.12, around the work or within it, does not promise that: where a task of it has failed it
    raises that fault alone, and drops a cancellation that comes while it waits for the others (cpython issue 116720, fixed
    in 3.13). `Task.cancelling()` does not tell afterwards, since such a group may leave a request of its own counted there.
    """
    faults: list[BaseException] = []
    working = asyncio.create_task(work, name=name)
    tasks: set[asyncio.Task[Any]] = {working}
    if companion is not None:
        tasks.add(asyncio.create_task(companion, name=f"beside {name}"))

    def cancel() -> None:
        for task in tasks:
            task.cancel()

    def ended(task: asyncio.Task[Any]) -> None:
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            faults.append(fault)
        if fault is not None or task is working:
            cancel()

    for task in tasks:
        task.add_done_callback(ended)
    cancelled = False
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            if not cancelled:
                cancelled = True
                cancel()
    for fault in faults if cancelled else faults[1:]:
        level = logging.DEBUG if isinstance(fault, BrokerError) else logging.ERROR
        log.log(level, "task failed while it was cancelled", extra={"task": name}, exc_info=fault)
    if cancelled:
        raise asyncio.CancelledError
    if faults:
        raise faults[0]
    return working.result()
