"""Tests of port.py: reports from any thread reach the run in order, and no callback waits."""

from __future__ import annotations

import asyncio
import threading

import pytest

from router.broker import Broker
from router.sdk import Run, RunStopped, SyncRun
from router.sdk.adapters.port import RunPort
from tests.router.sdk.runs import events_of, types
from tests.waiting import PATIENCE


async def test_reports_of_the_runs_own_loop_are_added_at_once(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        RunPort(run).emit("note", {"n": 1})
        await run.complete()

    assert types(await events_of(broker, entity)) == ["workflow_start", "note", "completion"]


async def test_reports_of_threads_are_in_the_order_of_each_thread(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        port = RunPort(run)

        def work(name: str) -> None:
            for n in range(200):
                port.emit("note", {"thread": name, "n": n})

        await asyncio.gather(*(asyncio.to_thread(work, name) for name in "abcd"))

    events = await events_of(broker, entity)
    for name in "abcd":
        assert [e.data["n"] for e in events if e.data.get("thread") == name] == list(range(200))
    assert port.dropped == 0


async def test_an_event_names_the_one_that_it_came_from(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        port = RunPort(run)
        port.emit("tool_use", {"tool_name": "t", "parameters": {}}, key="a")
        port.emit("tool_result", {"tool_name": "t", "result": 1, "success": True}, cause="a")

    _, use, result, _ = await events_of(broker, entity)
    assert result.cause == use.id


async def test_data_that_is_filled_in_later_is_read_once_the_callback_has_returned(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        port, data = RunPort(run), {}
        port.emit("note", lambda: data, later=True)
        data["n"] = 1
        await asyncio.sleep(0)

    assert (await events_of(broker, entity))[1].data == {"n": 1}


async def test_many_threads_share_a_sync_run_and_wait_for_one_another_never(
    nats_server: str, broker: Broker, entity: str
) -> None:
    def program() -> None:
        with SyncRun(entity, nats_server) as run:
            port = RunPort(run)

            def work(name: str) -> None:
                for n in range(50):
                    port.emit("note", {"thread": name, "n": n})

            threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
            for each in threads:
                each.start()
            for each in threads:
                each.join(PATIENCE)

    await asyncio.to_thread(program)

    events = await events_of(broker, entity)
    for name in "abc":
        assert [e.data["n"] for e in events if e.data.get("thread") == name] == list(range(50))


async def test_a_stop_is_raised_to_who_asks(broker: Broker, entity: str) -> None:
    with pytest.raises(RunStopped):
        async with Run(entity, broker) as run:
            port = RunPort(run)
            port.check()
            run.stopped.set()
            port.check()

    assert (await events_of(broker, entity))[-1].data["status"] == "cancelled"


async def test_many_reports_at_once_wait_for_nothing_and_are_all_stored(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        port = RunPort(run)
        for n in range(5000):
            port.emit("note", {"n": n})

    notes = [event.data["n"] for event in await events_of(broker, entity) if event.type == "note"]
    assert notes == list(range(5000)) and port.dropped == 0


async def test_what_a_run_refuses_is_counted_and_disturbs_nobody(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        port = RunPort(run)
        port.emit("No Type", {})
        port.progress(7.0)
        await run.complete()
        port.emit("late", {})

    assert port.dropped == 3 and types(await events_of(broker, entity)) == ["workflow_start", "completion"]
