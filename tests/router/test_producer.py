"""Tests of producer.py: runs that tell of themselves to a real nats-server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.broker import Broker
from router.cluster.leases import lease_key
from router.errors import BadEvent, BadSubject, NoResponders, Unreachable
from router.event import Event
from router.nats.bucket import Bucket
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from router.producer import Run, RunOver, RunSettings, SyncRun
from router.topology import LEASES
from tests.waiting import PATIENCE, eventually


async def told(broker: Broker, run: str, domain: str = "agent") -> list[Event]:
    """All a run said, in the order it was stored."""
    page = await broker.read(f"{domain}.{run}.>", 0, 10_000)
    return [record.event for record in page.records if record.event]


def kinds(events: list[Event]) -> list[str]:
    return [event.type for event in events]


@contextlib.asynccontextmanager
async def own_server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A server that a test may stop and start."""
    server = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path / "nats", port=free_port()))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def test_a_run_says_how_it_starts_goes_and_ends(broker: Broker, entity: str) -> None:
    async with Run(entity, broker, name="Market report") as run:
        await run.thinking("I need to look first…")
        await run.progress(0.65, "Halfway", current_step="feature_extraction", total_steps=5)
        await run.log("a line", "stderr")
        await run.emit("model_selection", {"model": "small"})
        await run.error("Connection timeout", error_type="network_error", retry_count=2)

    events = await told(broker, entity)
    assert kinds(events) == [
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


async def test_a_tool_is_told_with_its_result_and_its_time(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run, run.tool("web_search", {"query": "trends"}) as call:
        await asyncio.sleep(0.02)
        call.result = {"hits": 3}

    used, gave = (await told(broker, entity))[1:3]
    assert used.data == {"tool_name": "web_search", "parameters": {"query": "trends"}}
    assert gave.type == "tool_result" and gave.cause == used.id
    assert gave.data["result"] == {"hits": 3} and gave.data["success"] is True
    assert gave.data["execution_time"] > 0.01


async def test_a_tool_that_fails_is_told_and_its_exception_passed_on(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        with pytest.raises(LookupError):
            async with run.tool("web_search"):
                raise LookupError("nothing found")

    result = (await told(broker, entity))[2].data
    assert result["success"] is False and result["error"] == "nothing found" and result["error_type"] == "LookupError"


async def test_a_traced_function_is_told_as_a_tool(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:

        @run.traced
        async def add(left: int, right: int) -> int:
            return left + right

        assert await add(2, right=3) == 5

    events = await told(broker, entity)
    assert events[1].data == {"tool_name": "add", "parameters": {"left": 2, "right": 3}}
    assert events[2].data["result"] == 5


async def test_an_exception_becomes_an_error_and_a_failed_completion(broker: Broker, entity: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Run(entity, broker):
            raise ZeroDivisionError("division by zero")

    events = await told(broker, entity)
    assert kinds(events) == ["workflow_start", "error", "completion"]
    assert events[1].data["recoverable"] is False and events[1].data["error_type"] == "ZeroDivisionError"
    assert events[2].data["success"] is False and events[2].data["error"] == "division by zero"


async def test_a_cancelled_run_says_so_once(broker: Broker, entity: str) -> None:
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

    events = await told(broker, entity)
    assert kinds(events) == ["workflow_start", "completion"]
    assert events[1].data["success"] is False and events[1].data["status"] == "cancelled"


async def test_the_completion_is_said_exactly_once(broker: Broker, entity: str) -> None:
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

    events = await told(broker, entity)
    assert kinds(events) == ["workflow_start", "completion"]
    assert events[1].data["result"] == {"answer": 42} and events[1].data["tokens_used"] == 1250
    assert events[1].data["success"] is True


async def test_tokens_leave_in_windows_and_none_is_lost(broker: Broker, entity: str) -> None:
    tokens = [f"wörd{n} " for n in range(300)]

    async with Run(entity, broker) as run:
        for token in tokens:
            await run.chunk(token)
            if len(token) % 100 == 0:
                await asyncio.sleep(0)
        await run.thinking("between")
        await run.chunk("the ")
        await run.chunk("end")

    events = await told(broker, entity)
    place = kinds(events).index("thinking")
    before = [event.data["content"] for event in events[:place] if event.type == "streaming_chunk"]
    after = [event.data["content"] for event in events[place:] if event.type == "streaming_chunk"]
    assert "".join(before) == "".join(tokens)
    assert after == ["the end"]
    assert len(before) < 20


async def test_a_token_leaves_by_itself_when_its_window_is_over(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        await run.chunk("hello")

        await eventually(lambda: run.sent == 2)


async def test_progress_is_throttled_and_the_last_one_is_always_said(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        for step in range(1, 1001):
            await run.progress(current_step=step, total_steps=1000)

    said = [event.data["progress"] for event in await told(broker, entity) if event.type == "progress"]
    assert said[0] == 0.001 and said[-1] == 1.0
    assert len(said) < 20 and said == sorted(said)


@pytest.mark.parametrize("progress", [1.5, -0.1, float("nan"), "half", True])
async def test_progress_that_is_no_share_is_refused(broker: Broker, entity: str, progress: Any) -> None:
    async with Run(entity, broker) as run:
        with pytest.raises(BadEvent):
            await run.progress(progress)


async def test_data_that_msgpack_does_not_know_becomes_text(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        await run.emit("noted", {"when": datetime(2026, 11, 21, tzinfo=UTC), "where": Path("/tmp")})
        await run.chunk("half a character: \ud800")
        with pytest.raises(BadEvent):
            await run.emit("noted", {"text": "\ud800"})
        loop: dict[str, Any] = {}
        loop["self"] = loop
        with pytest.raises(BadEvent):
            await run.progress(0.5, context=loop)

    events = await told(broker, entity)
    assert events[1].data == {"when": "2026-11-21T00:00:00Z", "where": "/tmp"}
    assert kinds(events)[2:] == ["streaming_chunk", "completion"]


async def test_an_event_too_large_for_the_server_is_refused_at_once(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        with pytest.raises(BadEvent):
            await run.emit("noted", {"blob": bytes(broker.connection.max_payload)})

    assert kinds(await told(broker, entity)) == ["workflow_start", "completion"]


async def test_names_are_escaped_and_nonsense_is_refused(broker: Broker, entity: str) -> None:
    async with Run(f"{entity} a.b*", broker):
        pass

    assert len(await told(broker, f"{entity}=20a=2Eb=2A")) == 2
    with pytest.raises(BadSubject):
        Run("x" * 300, broker)


async def test_a_run_holds_its_lease_while_it_is_open(broker: Broker, entity: str) -> None:
    bucket, key = Bucket(broker.connection, LEASES), lease_key("run", "agent", entity)

    async with Run(entity, broker):
        entry = await eventually(lambda: bucket.get(key))
        assert entry.value is not None and msgspec.json.decode(entry.value) == {"ttl": 10}

    assert await bucket.get(key) is None


async def test_a_request_to_stop_is_answered_and_seen(broker: Broker, entity: str) -> None:
    connection, subject = broker.connection, f"cmd.run.{entity}.stop"

    async def stop() -> bytes | None:
        with contextlib.suppress(NoResponders):
            return (await connection.ask(subject, b'{"domain":"agent","reason":"enough"}')).payload
        return None

    async with Run(entity, broker) as run:
        answer = await eventually(stop)
        await asyncio.wait_for(run.stopped.wait(), PATIENCE)
        again = await stop()

    assert msgspec.json.decode(answer)["ok"] is True and again == answer
    assert run.stop_reason == "enough"
    events = await told(broker, entity)
    assert kinds(events) == ["workflow_start", "stopping", "completion"]
    assert events[1].data == {"reason": "enough"}
    assert events[2].data["status"] == "cancelled"
    with pytest.raises(NoResponders):
        await connection.ask(subject, b"")


async def test_what_is_said_while_nats_is_away_arrives_once_and_in_order(tmp_path: Path, entity: str) -> None:
    async with (
        own_server(tmp_path) as server,
        Broker(BrokerSettings(url=server.url), "test") as broker,
        Run(entity, broker) as run,
    ):
        await eventually(lambda: run.waiting == 0)
        await server.stop()
        await eventually(lambda: not broker.connection.connected)
        for n in range(50):
            await run.emit("noted", {"n": n})
        await server.start()
        await eventually(lambda: run.waiting == 0)

        events = await told(broker, entity)
        assert [event.data["n"] for event in events[1:]] == list(range(50))


async def test_a_full_queue_makes_the_producer_wait_and_loses_nothing(tmp_path: Path, entity: str) -> None:
    async with own_server(tmp_path) as server, Broker(BrokerSettings(url=server.url), "test") as broker:
        async with Run(entity, broker, settings=RunSettings(capacity=5)) as run:
            await eventually(lambda: run.waiting == 0)
            await server.stop()
            await eventually(lambda: not broker.connection.connected)

            async def talk() -> None:
                for n in range(20):
                    await run.emit("noted", {"n": n})
                    await run.chunk(f"{n},")

            talking = asyncio.ensure_future(talk())
            await eventually(lambda: run.waiting >= 5)
            assert not talking.done() and run.waiting <= 7
            await server.start()
            await asyncio.wait_for(talking, PATIENCE)

        events = await told(broker, entity)
        assert [event.data["n"] for event in events if event.type == "noted"] == list(range(20))
        assert "".join(e.data["content"] for e in events if e.type == "streaming_chunk") == "".join(
            f"{n}," for n in range(20)
        )


async def test_a_run_that_ends_while_nats_is_away_ends_in_time_and_says_what_is_lost(
    tmp_path: Path, entity: str
) -> None:
    async with own_server(tmp_path) as server, Broker(BrokerSettings(url=server.url), "test") as broker:
        async with asyncio.timeout(PATIENCE), Run(entity, broker, settings=RunSettings(drain=0.3)) as run:
            await eventually(lambda: run.waiting == 0)
            await server.stop()
            await eventually(lambda: not broker.connection.connected)
            await run.thinking("into the void")

        assert run.unsent == 2


async def test_a_run_connects_by_itself(nats_server: str, broker: Broker, entity: str) -> None:
    async with Run(entity, url=nats_server):
        pass
    async with Run.connect(nats_server) as shared, Run(f"{entity}b", shared):
        pass

    assert len(await told(broker, entity)) == len(await told(broker, f"{entity}b")) == 2


async def test_without_a_server_a_run_says_so_at_once(entity: str) -> None:
    settings = BrokerSettings(url=f"nats://127.0.0.1:{free_port()}", connect_timeout=0.3)

    with pytest.raises(Unreachable):
        async with Run(entity, url=settings):
            pass
    with pytest.raises(Unreachable), SyncRun(entity, settings):
        pass


async def test_a_run_of_bad_facts_leaves_nothing_behind(nats_server: str, entity: str) -> None:
    before = asyncio.all_tasks()

    with pytest.raises(BadEvent):
        async with Run(entity, url=nats_server, about={"text": "\ud800"}):
            pass

    await eventually(lambda: asyncio.all_tasks() <= before)


async def test_a_plain_program_tells_the_same_from_its_thread(nats_server: str, broker: Broker, entity: str) -> None:
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

    events = await told(broker, entity, "job")
    assert kinds(events) == [
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


async def test_a_plain_program_that_fails_or_is_stopped_says_so(nats_server: str, broker: Broker, entity: str) -> None:
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
    assert kinds(await told(broker, entity)) == ["workflow_start", "error", "completion"]
    assert (await told(broker, f"{entity}s"))[-1].data["status"] == "cancelled"
