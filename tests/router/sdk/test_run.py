"""Tests of router/sdk/run.py against a real nats-server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.broker import Broker
from router.cluster.leases import lease_key
from router.errors import BadEvent, BadInput
from router.nats.bucket import Bucket
from router.nats.embedded import free_port
from router.sdk import Run, RunOver, RunSettings, SyncRun
from router.topology import LEASES
from tests.router.sdk.runs import events_of, types
from tests.waiting import eventually


async def test_a_run_publishes_its_start_its_events_and_its_completion(broker: Broker, entity: str) -> None:
    async with Run(entity, broker, name="Market report") as run:
        await run.thinking("I need to look first…")
        await run.progress(0.65, "Halfway", current_step="feature_extraction", total_steps=5)
        await run.log("a line", "stderr")
        await run.emit("model_selection", {"model": "small"})
        await run.error("Connection timeout", error_type="network_error", retry_count=2)

    events = await events_of(broker, entity)
    assert types(events) == [
        "workflow_start",
        "thinking",
        "progress",
        "output",
        "model_selection",
        "error",
        "completion",
    ]
    assert events[0].data["name"] == "Market report"
    assert events[1].data == {"thought": "I need to look first…"}
    assert events[2].data == {
        "progress": 0.65,
        "message": "Halfway",
        "current_step": "feature_extraction",
        "total_steps": 5,
    }
    assert events[3].data == {"line": "a line", "stream": "stderr"}
    assert events[5].data == {
        "error": "Connection timeout",
        "error_type": "network_error",
        "recoverable": True,
        "retry_count": 2,
    }
    assert events[6].data["success"] is True and events[6].data["total_time"] > 0
    assert [event.id for event in events] == [f"{entity}.{run.incarnation}.{n}" for n in range(1, 8)]
    assert run.unsent == run.refused == 0


async def test_a_tool_is_published_with_its_result_and_its_time(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run, run.tool("web_search", {"query": "trends"}) as call:
        await asyncio.sleep(0.02)
        call.result = {"hits": 3}

    used, gave = (await events_of(broker, entity))[1:3]
    assert used.data == {"tool_name": "web_search", "parameters": {"query": "trends"}, "span": gave.data["span"]}
    assert gave.type == "tool_result" and gave.cause == used.id
    assert gave.data["result"] == {"hits": 3} and gave.data["success"] is True
    assert gave.data["execution_time"] > 0.01


async def test_a_tool_that_fails_is_published_and_its_exception_passed_on(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        with pytest.raises(LookupError):
            async with run.tool("web_search"):
                raise LookupError("nothing found")

    result = (await events_of(broker, entity))[2].data
    assert result["success"] is False and result["error"] == "nothing found" and result["error_type"] == "LookupError"


async def test_a_traced_function_is_published_as_a_tool(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:

        @run.traced
        async def add(left: int, right: int) -> int:
            return left + right

        assert await add(2, right=3) == 5

    events = await events_of(broker, entity)
    assert events[1].data == {"tool_name": "add", "parameters": {"left": 2, "right": 3}, "span": events[2].data["span"]}
    assert events[2].data["result"] == 5


async def test_an_exception_becomes_an_error_and_a_failed_completion(broker: Broker, entity: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Run(entity, broker):
            raise ZeroDivisionError("division by zero")

    events = await events_of(broker, entity)
    assert types(events) == ["workflow_start", "error", "completion"]
    assert events[1].data["recoverable"] is False and events[1].data["error_type"] == "ZeroDivisionError"
    assert events[2].data["success"] is False and events[2].data["error"] == "division by zero"


async def test_a_cancelled_run_publishes_one_completion(broker: Broker, entity: str) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with Run(entity, broker):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    events = await events_of(broker, entity)
    assert types(events) == ["workflow_start", "completion"]
    assert events[1].data["success"] is False and events[1].data["status"] == "cancelled"


async def test_the_completion_is_published_exactly_once(broker: Broker, entity: str) -> None:
    with pytest.raises(KeyError):
        async with Run(entity, broker) as run:
            await run.complete({"answer": 42}, tokens_used=1250)
            with pytest.raises(RunOver):
                await run.complete("again")
            with pytest.raises(RunOver):
                await run.thinking("too late")
            with pytest.raises(BadEvent):
                await run.emit("completion", {})
            raise KeyError("after the end")

    events = await events_of(broker, entity)
    assert types(events) == ["workflow_start", "completion"]
    assert events[1].data["result"] == {"answer": 42} and events[1].data["tokens_used"] == 1250
    assert events[1].data["success"] is True


@pytest.mark.parametrize("progress", [1.5, -0.1, float("nan"), "half", True])
async def test_progress_outside_0_to_1_is_refused(broker: Broker, entity: str, progress: Any) -> None:
    async with Run(entity, broker) as run:
        with pytest.raises(BadEvent):
            await run.progress(progress)


async def test_a_run_holds_its_lease_while_it_is_open(broker: Broker, entity: str) -> None:
    bucket, key = Bucket(broker.connection, LEASES), lease_key("run", "agent", entity)

    async with Run(entity, broker) as run:
        entry = await eventually(lambda: bucket.get(key))
        assert entry.value is not None
        assert msgspec.json.decode(entry.value) == {"ttl": 10, "incarnation": run.incarnation, "via": "nats"}

    assert await bucket.get(key) is None


async def test_a_run_connects_by_itself(nats_server: str, broker: Broker, entity: str) -> None:
    async with Run(entity, url=nats_server):
        pass
    async with Run.connect(nats_server) as shared, Run(f"{entity}b", shared):
        pass

    assert len(await events_of(broker, entity)) == len(await events_of(broker, f"{entity}b")) == 2


async def test_a_run_with_a_bad_event_leaves_no_task_behind(nats_server: str, entity: str) -> None:
    before = asyncio.all_tasks()

    with pytest.raises(BadEvent):
        async with Run(entity, url=nats_server, about={"text": "\ud800"}):
            pass

    await eventually(lambda: asyncio.all_tasks() <= before)


async def test_warnings_of_a_plain_program_name_the_run_the_address_and_the_spool(
    entity: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    async with Run(entity, url=url, settings=RunSettings(spool_dir=tmp_path, spool_after=0.1)) as run:
        await run.thinking("unsent")

    told = [record.getMessage() for record in caplog.records if record.name.startswith("router.sdk")]
    assert run.report.spool is not None
    assert any(entity in text and url in text for text in told), told
    assert f"run {entity} ended before all its events were stored; 3 wait in {run.report.spool}" in " ".join(told)


@pytest.mark.parametrize("made", [Run, SyncRun])
@pytest.mark.parametrize(("run", "domain"), [("", "agent"), ("x", "jobs"), ("x", "metric"), ("x", "")])
def test_what_could_be_no_run_is_refused_when_it_is_made(made: type[Run | SyncRun], run: str, domain: str) -> None:
    with pytest.raises(BadInput):
        made(run, domain=domain)
