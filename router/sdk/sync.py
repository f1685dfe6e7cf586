"""Runs a Run in a thread of its own, for programs without asyncio: `with SyncRun("run-42") as run:`.

What the program says is checked and queued in its own thread; the other thread only delivers.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from router.nats.settings import BrokerSettings
from router.sdk.run import Run
from router.sdk.values import RunOver
from router.sdk.voice import SyncVoice


class SyncRun(SyncVoice):
    """A Run for programs without asyncio: `with SyncRun("run-42") as run:`."""

    def __init__(self, run: str, url: str | BrokerSettings | None = None, **options: Any) -> None:
        """Takes the options of Run, except a shared broker. Raises BadSubject, and in `__enter__` what Run raises there."""
        self.stopped = threading.Event()
        self._url = url
        super().__init__(Run(run, url=url, **options))
        self._thread = threading.Thread(target=self._main, name=f"run {run}", daemon=True)
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._leave: asyncio.Future[BaseException | None]
        self._left: Future[None] = Future()

    def __enter__(self) -> Self:
        if self._thread.ident is not None:
            raise RunOver("a SyncRun is used once; create another one for the next attempt")
        self._thread.start()
        self._loop = self._ready.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._leave.set_result, fault)
        try:
            self._left.result()
        except BaseException as own:
            # The program's own exception is the one that its caller gets.
            if fault is None or own is fault:
                raise
        finally:
            self._thread.join()

    def child(self, run: str, **options: Any) -> SyncRun:
        """A run that is part of this one: its workflow_start names this one as its `parent`."""
        mine = self._run
        about = {**options.pop("about", {}), "parent": mine.run, "parent_domain": mine.domain}
        return SyncRun(run, self._url, **{"domain": mine.domain, "settings": mine.settings, **options, "about": about})

    def _main(self) -> None:
        """Runs the event loop of the thread until the block is left."""
        try:
            # Not uvloop, which waits for ever when it is closed with bytes that nobody takes, as where NATS is frozen.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._serve())
        except BaseException as fault:  # noqa: BLE001 - handed to the thread that waits for it, in __enter__ or __exit__
            for waiting in (self._ready, self._left):
                if not waiting.done():
                    waiting.set_exception(fault)
        else:
            self._left.set_result(None)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._leave = loop.create_future()
        try:
            async with self._run:
                watching = asyncio.create_task(self._watch_stop(), name="run stop")
                self._ready.set_result(loop)
                try:
                    fault = await self._leave
                finally:
                    watching.cancel()
                self._run.finish(fault)
        finally:
            self.stopped.set()

    async def _watch_stop(self) -> None:
        await self._run.stopped.wait()
        self.stopped.set()
