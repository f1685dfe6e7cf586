"""LangGraph's runs API over the edge: runs are started, streamed, joined, waited for and cancelled, by its own clients too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from router.broker import Broker
from router.nats.service import Endpoint, Request, Service
from tests.edge.conftest import RunningEdge
from tests.edge.surfaces.conftest import Worker, streaming
from tests.waiting import eventually

USER = {"role": "user", "content": "hi"}


@pytest.fixture
async def stopping(store: Broker, entity: str) -> AsyncIterator[list[str]]:
    """The runs that an agent actor was asked to stop."""
    asked: list[str] = []

    def stop(request: Request) -> None:
        asked.append(request.arguments()["run"])
        request.answer({"status": "stopping", "via": "nats"})

    endpoint = Endpoint("stop", "cmd.agent.main.stop", stop)
    service = Service(store.connection, "agent", "1.0.0", description="Notes.", endpoints=[endpoint])
    running = asyncio.ensure_future(service.run())
    await service.serving.wait()
    yield asked
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def names(said: bytes) -> list[str]:
    return [line[7:] for line in said.decode().split("\n") if line.startswith("event: ")]


def last_id(said: bytes) -> str:
    return said.decode().rpartition("id: ")[2].partition("\n")[0].strip()


def body(worker: Worker, *modes: str, **more: Any) -> dict[str, Any]:
    return {"assistant_id": worker.name, "input": {"messages": [USER]}, "stream_mode": list(modes), **more}


async def test_a_run_is_streamed_cut_and_joined(either: RunningEdge, entity: str, worker: Worker) -> None:
    asked = body(worker, "values", "messages-tuple")
    async with streaming(either, f"/threads/{entity}/runs/stream", method="POST", json=asked) as one:
        await worker.emit("thread", entity, "token", content="Hel")
        seen = await one.until(b"Hel")
        run = one.answer.headers["content-location"]
        again = one.answer.headers["location"]
    async with streaming(either, again, last_id(seen)) as two, streaming(either, f"{run}/stream", "-1") as whole:
        await worker.emit("thread", entity, "token", content="lo")
        await worker.emit("thread", entity, "completion", success=True)
        rest, all = await two.rest(), await whole.rest()
    behind = await either.http.get(again, headers={"Last-Event-ID": last_id(rest)})

    assert (
        run.startswith(f"/threads/{entity}/runs/")
        and again == f"{run}/stream?stream_mode=values&stream_mode=messages-tuple"
    )
    assert names(seen) == ["metadata", "values", "messages"]
    assert names(rest) == ["messages", "values", "end"]
    assert names(all) == ["metadata", "values", "messages", "messages", "updates", "values", "end"]
    assert (behind.status_code, behind.content, behind.headers["content-type"]) == (
        200,
        b"",
        "text/event-stream; charset=utf-8",
    )
    messages = json.loads(rest.decode().split("event: values\ndata: ")[1].split("\n")[0])["messages"]
    assert [(message["type"], message["content"]) for message in messages] == [("human", "hi"), ("ai", "Hello")]
    assert (await either.http.get(run)).json()["status"] == "success"


async def test_the_next_run_of_a_thread_is_given_what_was_said_before(
    edge: RunningEdge, entity: str, worker: Worker
) -> None:
    path = f"/threads/{entity}/runs"
    first = (await edge.http.post(path, json=body(worker))).json()
    await worker.emit("thread", entity, "token", content="Hello")
    await worker.emit("thread", entity, "completion", success=True)
    again = {"messages": [{**USER, "id": "u2"}], "topic": "tea"}
    asked = body(worker, "values", input=again, config={"tags": ["x"]})
    async with streaming(edge, f"{path}/stream", method="POST", json=asked) as second:
        await second.until(b"u2")
        await worker.emit("thread", entity, "completion", success=True, result="Bye")
        said = await second.rest()
    runs = (await edge.http.get(path)).json()

    given: Any = worker.asked[1]["input"]
    assert [(message["role"], message["content"]) for message in given["messages"]] == [
        ("user", "hi"), ("assistant", "Hello"), ("user", "hi"),
    ]  # fmt: skip
    assert (given["topic"], given["config"]) == ("tea", {"tags": ["x"]})
    values = [json.loads(part.split("\n")[0])["messages"] for part in said.decode().split("event: values\ndata: ")[1:]]
    assert [message["content"] for message in values[-1]] == ["hi", "Hello", "hi", "Bye"]
    assert [message["content"] for message in values[0]] == ["hi", "Hello", "hi"]
    assert [run["status"] for run in runs] == ["success", "success"]
    assert runs[1]["run_id"] == first["run_id"] and first["thread_id"] == entity


async def test_a_run_is_waited_for_with_its_values_or_its_error(edge: RunningEdge, entity: str, worker: Worker) -> None:
    waiting = asyncio.ensure_future(edge.http.post(f"/threads/{entity}/runs/wait", json=body(worker)))
    await eventually(lambda: worker.asked)
    await worker.emit("thread", entity, "completion", success=True, result={"rows": 5})
    good = (await waiting).json()
    run = (await edge.http.post(f"/threads/{entity}/runs", json=body(worker))).json()["run_id"]
    joining = asyncio.ensure_future(edge.http.get(f"/threads/{entity}/runs/{run}/join"))
    await worker.emit("thread", entity, "completion", success=False, error="no key", error_type="KeyError")
    bad = (await joining).json()

    assert good["result"] == {"rows": 5} and len(good["messages"]) == 1
    assert bad["__error__"] == {"error": "KeyError", "message": "no key"}
    assert (await edge.http.get(f"/threads/{entity}/runs/{run}")).json()["status"] == "error"


async def test_a_run_of_a_busy_thread_is_refused_stops_the_other_or_waits(
    edge: RunningEdge, entity: str, worker: Worker, stopping: list[str]
) -> None:
    path = f"/threads/{entity}/runs"
    await edge.http.post(path, json=body(worker))
    refused = await edge.http.post(path, json=body(worker, multitask_strategy="reject"))
    rolled = await edge.http.post(path, json=body(worker, multitask_strategy="rollback"))
    waiting = asyncio.ensure_future(edge.http.post(path, json=body(worker)))
    await worker.emit("thread", entity, "completion", success=True)
    second = (await waiting).json()
    third = asyncio.ensure_future(edge.http.post(path, json=body(worker, multitask_strategy="interrupt")))
    await eventually(lambda: stopping)
    await worker.emit("thread", entity, "completion", status="cancelled")
    interrupting = (await third).json()
    runs = (await edge.http.get(path)).json()

    assert (refused.status_code, refused.json()["code"]) == (409, "thread_busy")
    assert (rolled.status_code, rolled.json()["field"]) == (422, "multitask_strategy")
    assert stopping == [entity]
    assert [run["run_id"] for run in runs[:2]] == [interrupting["run_id"], second["run_id"]]
    assert [run["status"] for run in runs] == ["running", "interrupted", "success"]
    assert len(worker.asked) == 3


async def test_a_run_is_cancelled_and_one_that_is_over_is_not(
    edge: RunningEdge, entity: str, worker: Worker, stopping: list[str]
) -> None:
    run = (await edge.http.post(f"/threads/{entity}/runs", json=body(worker))).json()["run_id"]
    path = f"/threads/{entity}/runs/{run}"
    asked = await edge.http.post(f"{path}/cancel")
    waiting = asyncio.ensure_future(edge.http.post(f"{path}/cancel?wait=1&action=interrupt"))
    await eventually(lambda: len(stopping) == 2)
    await worker.emit("thread", entity, "completion", status="cancelled")
    waited = await waiting
    over = await edge.http.post(f"{path}/cancel")
    unknown = await edge.http.post(f"/threads/{entity}/runs/nope/cancel")

    assert (asked.status_code, asked.content, waited.status_code) == (202, b"", 202)
    assert (over.status_code, over.json()["code"]) == (409, "run_over")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "run_not_found")
    assert (await edge.http.get(path)).json()["status"] == "interrupted"


@pytest.mark.parametrize("cancels", [True, False])
async def test_a_run_stops_with_its_viewer_only_where_that_is_asked_for(
    either: RunningEdge, entity: str, worker: Worker, stopping: list[str], cancels: bool
) -> None:
    asked = body(worker, "values", on_disconnect="cancel" if cancels else "continue")
    async with streaming(either, f"/threads/{entity}/runs/stream", method="POST", json=asked) as stream:
        await stream.until(b"metadata")
        run = stream.answer.headers["content-location"]
    if cancels:
        await eventually(lambda: stopping)
    async with streaming(either, f"{run}/stream") as stream:
        await worker.emit("thread", entity, "completion", success=True)
        await stream.rest()

    assert stopping == ([entity] if cancels else [])


async def test_a_run_without_a_thread_has_one_of_its_own(edge: RunningEdge, worker: Worker) -> None:
    async with streaming(edge, "/runs/stream", method="POST", json=body(worker, "updates")) as stream:
        await eventually(lambda: worker.asked)
        thread = str(worker.asked[0]["run"])
        await worker.emit("thread", thread, "completion", success=True, result="x")
        said = await stream.rest()
    made = (await edge.http.post("/runs", json=body(worker))).json()

    assert names(said) == ["metadata", "updates", "end"]
    assert stream.answer.headers["content-location"].startswith(f"/threads/{thread}/runs/")
    assert made["status"] == "running" and len({made["thread_id"], thread}) == 2


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"assistant_id": "nobody-here"}, 503, "agent_unavailable"),
        ({"assistant_id": None}, 422, "bad_body"),
        ({"webhook": "http://x"}, 422, "bad_body"),
        ({"after_seconds": 5}, 422, "bad_body"),
        ({"interrupt_before": ["a"]}, 422, "bad_body"),
        ({"input": {"messages": [{"role": "user", "content": "x"}] * 101}}, 422, "bad_body"),
    ],
)
async def test_what_cannot_be_run_is_refused(
    edge: RunningEdge, entity: str, worker: Worker, change: dict[str, Any], status: int, code: str
) -> None:
    answer = await edge.http.post(f"/threads/{entity}/runs/stream", json=body(worker) | change)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert worker.asked == [] and (await edge.http.get(f"/threads/{entity}/runs")).json() == []
