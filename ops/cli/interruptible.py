"""Runs a command's coroutine so that Ctrl-C cancels it between two callbacks of its event loop, and never within one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_interruptibly(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` to its end in an event loop of its own. A second Ctrl-C does not wait for what the first one cancelled.

    `asyncio.run` cancels from the signal handler itself, which runs wherever the main thread stands: in the middle of a
    callback, too, which then sets a result on a future that was cancelled under it ("Exception in callback
    _sock_connect_cb"). Raises KeyboardInterrupt where `work` was cancelled by Ctrl-C, and what `work` raises.
    """
    interrupted = False

    async def interruptible() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            loop.remove_signal_handler(signal.SIGINT)
            task.cancel()

        # Only the main thread hears signals.
        with contextlib.suppress(RuntimeError, ValueError, NotImplementedError):
            loop.add_signal_handler(signal.SIGINT, interrupt)
        try:
            return await task
        finally:
            with contextlib.suppress(RuntimeError, ValueError, NotImplementedError):
                loop.remove_signal_handler(signal.SIGINT)

    try:
        return asyncio.run(interruptible())
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
