"""Tests of router/sdk/sync.py against a real nats-server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

import pytest

from router.broker import Broker
from router.errors import NoResponders
from router.sdk import RunOver, RunSettings, SyncRun
from tests.router.sdk.runs import events_of, types
from tests.waiting import PATIENCE, eventually


async def test_a_program_without_asyncio_publishes_the_same_events(
    nats_server: str, broker: Broker, entity: str
) -> None:
    def program() -> None:
        with SyncRun(entity, nats_server, domain="job", name="Plain") as run:
            run.thinking("first")
            with run.tool("disk", {"path": "/"}) as call:
                call.result = 7
            with contextlib.suppress(LookupError), run.tool("disk"):
                raise LookupError("gone")
            run.progress(0.5)
            run.chunk("token")
            run.log("line")
            run.complete({"ok": 1})

    await asyncio.to_thread(program)

    events = await events_of(broker, entity, "job")
    assert types(events) == [
        "workflow_start",
        "thinking",
        "tool_use",
        "tool_result",
        "tool_use",
        "tool_result",
        "progress",
        "streaming_chunk",
        "output",
        "completion",
    ]
    assert events[5].data["success"] is False
    assert not [thread for thread in threading.enumerate() if entity in thread.name]


async def test_a_program_without_asyncio_that_fails_or_is_stopped_publishes_it(
    nats_server: str, broker: Broker, entity: str
) -> None:
    def failing() -> None:
        with SyncRun(entity, nats_server):
            raise KeyError("missing")

    def stopped() -> bool:
        with SyncRun(f"{entity}s", nats_server) as run:
            return run.stopped.wait(PATIENCE)

    with pytest.raises(KeyError):
        await asyncio.to_thread(failing)
    waiting = asyncio.ensure_future(asyncio.to_thread(stopped))

    async def ask() -> bool:
        with contextlib.suppress(NoResponders):
            await broker.connection.ask(f"cmd.run.{entity}s.stop", b"")
            return True
        return False

    await eventually(ask)
    assert await waiting
    assert types(await events_of(broker, entity)) == ["workflow_start", "error", "completion"]
    assert (await events_of(broker, f"{entity}s"))[-1].data["status"] == "cancelled"


async def test_after_its_block_a_run_takes_nothing_more(nats_server: str, entity: str) -> None:
    def program() -> None:
        with SyncRun(entity, nats_server) as run:
            run.complete()
        run.thinking("too late")

    with pytest.raises(RunOver):
        await asyncio.to_thread(program)


def test_a_sync_run_is_used_once(tmp_path: Path) -> None:
    run = SyncRun("once", "nats://127.0.0.1:1", settings=RunSettings(spool_dir=tmp_path, drain=0.0))
    with run:
        pass
    with pytest.raises(RunOver, match="used once"), run:
        pass
