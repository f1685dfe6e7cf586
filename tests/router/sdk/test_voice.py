"""Tests of voice.py. What it says is what SyncRun says, which test_sync.py tests; here: that it says it for a run of others."""

from __future__ import annotations

import asyncio
import threading

from router.broker import Broker
from router.sdk import Run
from router.sdk.voice import SyncVoice
from tests.router.sdk.runs import events_of, types


async def test_another_thread_speaks_for_a_run_of_this_loop(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        voice = SyncVoice(run)
        voice.stopped = threading.Event()

        def speak() -> None:
            with voice.step("look"), voice.tool("search") as call:
                call.result = 7
            voice.progress(0.5)
            voice.complete(1)

        await asyncio.to_thread(speak)
        assert (voice.over, voice.cancelled, voice.run) == (True, False, entity)

    assert types(await events_of(broker, entity)) == [
        "workflow_start", "workflow_step", "tool_use", "tool_result", "workflow_step", "progress", "completion"
    ]  # fmt: skip
