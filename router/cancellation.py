"""Keeps a cancellation that a task group of Python 3.11 and 3.12 loses."""

from __future__ import annotations

import asyncio


def raise_if_cancelled() -> None:
    """Raises CancelledError where the current task was asked to end; for after a TaskGroup that failed.

    A group that ends because one of its tasks failed raises that fault alone, and drops a cancellation of its parent that
    comes while it waits for its other tasks (cpython issue 116720, fixed in 3.13). Who catches the fault and goes on would
    never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
