"""Threads of LangGraph's API: named, read with their state, its history, and found."""

from __future__ import annotations

from typing import Any

import pytest

from tests.edge.auth.conftest import SecuredFactory
from tests.edge.conftest import RunningEdge
from tests.edge.surfaces.conftest import Worker
from tests.waiting import eventually


async def run(edge: RunningEdge, worker: Worker, thread: str, text: str, **end: Any) -> str:
    asked = {"assistant_id": worker.name, "input": {"messages": [{"type": "human", "content": text}]}}
    run = (await edge.http.post(f"/threads/{thread}/runs", json=asked)).json()["run_id"]
    await worker.emit("thread", thread, "completion", **end)
    return str(run)


async def test_a_thread_has_the_states_behind_its_runs(edge: RunningEdge, entity: str, worker: Worker) -> None:
    path = f"/threads/{entity}"
    empty = (await edge.http.get(f"{path}/state")).json()
    first = await run(edge, worker, entity, "one", success=True, result="first")
    second = await run(edge, worker, entity, "two", success=False, error="no key")
    state = (await edge.http.get(f"{path}/state")).json()
    history = (await edge.http.post(f"{path}/history", json={"limit": 10})).json()
    older = (await edge.http.post(f"{path}/history", json={"before": {"checkpoint_id": second}})).json()
    by_id = (await edge.http.get(f"{path}/state/{first}")).json()
    by_body = (await edge.http.post(f"{path}/state/checkpoint", json={"checkpoint": {"checkpoint_id": first}})).json()
    unknown = await edge.http.get(f"{path}/state/nope")
    thread = (await edge.http.get(path)).json()

    assert (empty["values"], empty["checkpoint"]) == ({}, None)
    assert [each["content"] for each in state["values"]["messages"]] == ["one", "first", "two"]
    assert state["tasks"][0]["error"] == "Error: no key"
    assert state["checkpoint"]["checkpoint_id"] == second and state["parent_checkpoint"]["checkpoint_id"] == first
    assert history == [state, by_id] and older == [by_body] == [by_id]
    assert (unknown.status_code, unknown.json()["code"]) == (404, "run_not_found")
    assert (thread["status"], thread["error"]) == ("error", "Error: no key")
    assert thread["values"] == state["values"]


async def test_a_thread_is_named_once(edge: RunningEdge, entity: str, worker: Worker) -> None:
    named = (await edge.http.post("/threads", json={})).json()
    mine = (await edge.http.post("/threads", json={"thread_id": entity, "metadata": {"a": 1}})).json()
    await run(edge, worker, entity, "one", success=True)
    again = await edge.http.post("/threads", json={"thread_id": entity})
    fine = await edge.http.post("/threads", json={"thread_id": entity, "if_exists": "do_nothing"})

    assert len(named["thread_id"]) == 36 and named["status"] == "idle" and named["values"] is None
    assert (mine["thread_id"], mine["metadata"]) == (entity, {})
    assert (again.status_code, again.json()["code"]) == (409, "thread_exists")
    assert fine.json()["thread_id"] == entity


async def test_threads_are_found_by_their_state(edge: RunningEdge, entity: str, worker: Worker) -> None:
    # As the agent actor says it.
    await worker.emit("thread", entity, "state", status="running", name=worker.name, updated="2026-01-02T00:00:00Z")
    wanted = {"metadata": {"graph_id": worker.name}}

    async def found(**more: Any) -> list[str]:
        answer = await edge.http.post("/threads/search", json=wanted | more)
        return [each["thread_id"] for each in answer.json()]

    assert await eventually(found) == [entity]
    assert await found(status="busy") == [entity]
    assert await found(status="idle") == await found(offset=1) == await found(ids=["other"]) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/threads/{0}"),
        ("GET", "/threads/{0}/state"),
        ("POST", "/threads/{0}/history"),
        ("GET", "/threads/{0}/runs"),
    ],
)
async def test_who_may_not_read_a_thread_is_told_nothing_of_it(
    secured: SecuredFactory, entity: str, method: str, path: str
) -> None:
    async with secured() as edge:
        reader = edge.as_("reader", read=["thread.other.>"])
        refused = await reader.http.request(method, path.format(entity))

    assert (refused.status_code, refused.json()["code"]) == (403, "not_granted")
