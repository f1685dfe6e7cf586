"""Runs one camera source in a thread of its own, so that a driver that hangs blocks nothing else.

A native call cannot be cancelled. So a source's open, grab and close run in one daemon thread; a caller that stops
waiting calls `leave`: the thread closes the source when the call returns, if it ever does.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

from actors.camera.freshness import is_repeat
from actors.camera.sources.control import Control, ControlValue
from actors.camera.sources.source import CameraSource, Grabbed

_Call = tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]


class CaptureThread:
    """One opening of one source. Not for use after `leave`."""

    def __init__(self, source: CameraSource) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        # One call at a time is the contract; the other places are for calls given up on, and for the order to end.
        self._calls: queue.Queue[_Call | None] = queue.Queue(maxsize=4)
        self._closed = self._loop.create_future()
        self._left = False
        self._grabbed: Grabbed | None = None
        # A daemon: a hung driver must not keep the process from ending (a ThreadPoolExecutor would be joined).
        self._thread = threading.Thread(target=self._run, name=f"camera-{source.kind}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs, wanted or not."""
        return self._thread.is_alive()

    async def open(self) -> None:
        """Opens the source in its thread."""
        await self._ask(self._source.open)

    @property
    def paced(self) -> bool:
        """Whether the source waits for its next picture by itself."""
        return bool(getattr(self._source, "paced", False))

    async def grab(self, seq: int) -> tuple[Grabbed | None, bool]:
        """Grabs one picture in its thread, None where a paced source has none yet; and says whether it is a new one."""
        grabbed: tuple[Grabbed | None, bool] = await self._ask(self._grab, seq)
        return grabbed

    async def controls(self) -> list[Control]:
        """The controls that the open source has, with the values of now, read in its thread; none where it has none."""
        read = getattr(self._source, "controls", None)
        return [] if read is None else list(await self._ask(read))

    async def set_control(self, name: str, value: ControlValue) -> ControlValue:
        """Sets a control of the open source in its thread and returns the effective value. Raises ValueError."""
        write = getattr(self._source, "set_control", None)
        if write is None:
            raise ValueError("the source has no controls")
        effective: ControlValue = await self._ask(write, name, value)
        return effective

    def leave(self) -> None:
        """Tells the thread to close the source and end, and does not wait for it."""
        if not self._left:
            self._left = True
            # What still waits behind a call that hangs is awaited by nobody.
            while not self._calls.empty():
                with contextlib.suppress(queue.Empty):
                    self._calls.get_nowait()
            self._calls.put_nowait(None)

    async def close(self, within: float) -> bool:
        """Leaves, and waits some seconds for the source to be closed; says whether it was."""
        self.leave()
        done, _ = await asyncio.wait({self._closed}, timeout=within)
        return bool(done)

    async def _ask(self, call: Callable[..., Any], *args: Any) -> Any:
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._calls.put_nowait((answer, call, args))
        return await answer

    def _grab(self, seq: int) -> tuple[Grabbed | None, bool]:
        grabbed = self._source.grab(seq)
        if grabbed is None:
            return None, False
        before, self._grabbed = self._grabbed, grabbed
        return grabbed, before is None or not is_repeat(grabbed, before)

    def _run(self) -> None:
        try:
            for answer, call, args in iter(self._calls.get, None):
                if answer.cancelled():
                    continue  # nobody waits for it any more
                try:
                    result = call(*args)
                except BaseException as fault:  # noqa: BLE001 - not swallowed: it is raised again where it is awaited
                    self._settle(answer, fault=fault)
                else:
                    self._settle(answer, result)
        finally:
            try:
                self._source.close()
            finally:
                self._settle(self._closed)

    def _settle(self, answer: asyncio.Future[Any], result: Any = None, fault: BaseException | None = None) -> None:
        def settle() -> None:
            if answer.done():
                return
            if fault is None:
                answer.set_result(result)
            else:
                answer.set_exception(fault)

        # The loop is closed where the process was asked to end meanwhile.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(settle)
