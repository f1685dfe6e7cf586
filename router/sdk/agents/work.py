"""Calls the function of an agent, of whichever kind it is: a coroutine, a generator, or one without asyncio in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections.abc import Callable, Generator, Mapping
from typing import Any

from router.errors import BadEvent
from router.sdk.run import Run
from router.sdk.values import RunStopped
from router.sdk.voice import SyncVoice

Work = Callable[..., Any]


async def work(function: Work, run: Run, input: Any) -> Any:
    """Does the work; returns what the function returns. Cancelled, it waits until the function has ended."""
    plain = function if inspect.isroutine(function) else type(function).__call__
    if inspect.isasyncgenfunction(plain):
        async with contextlib.aclosing(function(run, input)) as pieces:
            async for piece in pieces:
                await _say(run, piece)
        return None
    if inspect.iscoroutinefunction(plain):
        return await function(run, input)
    return await _in_thread(function, run, input)


async def _say(run: Run, piece: Any) -> None:
    if isinstance(piece, str):
        await run.chunk(piece)
    else:
        await run.emit(*_event(piece))


def _event(piece: Any) -> tuple[str, Mapping[str, Any]]:
    """The event that a function yields: `{"type": …}` with its data beside, or in `data`. Raises BadEvent."""
    if not isinstance(piece, Mapping) or not isinstance(kind := piece.get("type"), str):
        raise BadEvent(f"an agent yields texts, and events as {{'type': …}}, not {type(piece).__name__}")
    rest = {name: value for name, value in piece.items() if name != "type"}
    data = rest["data"] if rest.keys() == {"data"} and isinstance(rest["data"], Mapping) else rest
    return kind, data


class BlockingRun(SyncVoice):
    """The run as a function without asyncio has it. Once it is stopped, what it says next raises RunStopped."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.stopped = threading.Event()

    def _wait_for_room(self) -> None:
        if self.cancelled and not self.over:
            raise RunStopped
        super()._wait_for_room()


async def _in_thread(function: Work, run: Run, input: Any) -> Any:
    """A thread for each run: as it may block, and may not end when it is asked to, it shares none."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    voice = BlockingRun(run)

    def settle(value: Any, fault: BaseException | None) -> None:
        if not done.done():
            if fault is None:
                done.set_result(value)
            else:
                done.set_exception(fault)

    def main() -> None:
        value: Any = None
        fault: BaseException | None = None
        try:
            value = _drive(function, voice, input)
        except StopIteration as raised:
            # No future takes it.
            fault = RuntimeError(f"StopIteration: {raised}")
        except BaseException as raised:  # noqa: BLE001 - handed to who waits for it
            fault = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            loop.call_soon_threadsafe(settle, value, fault)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(main,), name=f"agent {run.run}", daemon=True).start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        voice.stopped.set()
        with contextlib.suppress(Exception):
            await asyncio.shield(done)
        raise


def _drive(function: Work, voice: BlockingRun, input: Any) -> Any:
    pieces = function(voice, input)
    if not isinstance(pieces, Generator):
        return pieces
    try:
        while True:
            piece = next(pieces)
            if isinstance(piece, str):
                voice.chunk(piece)
            else:
                voice.emit(*_event(piece))
    except StopIteration as end:
        return end.value
    finally:
        pieces.close()
