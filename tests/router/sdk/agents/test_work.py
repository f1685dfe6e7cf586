"""How functions are called: in which thread, with which context, and what they may yield."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from router.errors import BadEvent
from router.nats.settings import BrokerSettings
from router.sdk import Run
from router.sdk.agents.work import BlockingRun, work
from router.sdk.values import RunStopped

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="")


@pytest.fixture
def run(broker_settings: BrokerSettings) -> Run:
    """A run that is not entered: nothing is sent."""
    return Run("work", url=broker_settings)


async def test_a_function_without_asyncio_has_a_thread_and_the_caller_s_context(run: Run) -> None:
    NAME.set("here")

    def function(voice: BlockingRun, input: Any) -> tuple[str, bool, Any]:
        return NAME.get(), threading.current_thread() is threading.main_thread(), input

    assert await work(function, run, 7) == ("here", False, 7)


@pytest.mark.parametrize("fault", [SystemExit(3), StopIteration(3), KeyError("x")])
async def test_whatever_it_raises_is_raised_here(run: Run, fault: BaseException) -> None:
    def function(voice: BlockingRun, input: Any) -> None:
        raise fault

    with pytest.raises(RuntimeError if isinstance(fault, StopIteration) else type(fault)):
        await work(function, run, None)


async def test_what_is_neither_text_nor_event_cannot_be_yielded(run: Run) -> None:
    async def pieces(run: Run, input: Any) -> Any:
        yield 7

    def plain(voice: BlockingRun, input: Any) -> Any:
        yield {"no": "type"}

    for function in (pieces, plain):
        with pytest.raises(BadEvent, match="yields texts"):
            await work(function, run, None)


async def test_a_cancelled_function_is_waited_for_and_what_it_says_is_refused(run: Run) -> None:
    begun, said = asyncio.Event(), list[str]()
    loop = asyncio.get_running_loop()

    def function(voice: BlockingRun, input: Any) -> None:
        loop.call_soon_threadsafe(begun.set)
        voice.stopped.wait()
        try:
            voice.chunk("more")
        except RunStopped:
            said.append("stopped")

    run.emitter.opened = True
    working = asyncio.ensure_future(work(function, run, None))
    await begun.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working

    assert said == ["stopped"]
