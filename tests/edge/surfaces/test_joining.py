"""Waiting for the end of a run: a client that leaves waits no longer, and one whose server leaves is told so."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.surfaces.conftest import Worker, streaming
from tests.waiting import eventually


async def test_who_leaves_waits_no_longer(edge: RunningEdge, entity: str, worker: Worker) -> None:
    assert edge.edge is not None
    readers = edge.edge.hub.readers
    run = (await edge.http.post(f"/threads/{entity}/runs", json={"assistant_id": worker.name})).json()["run_id"]
    async with streaming(edge, f"/threads/{entity}/runs/{run}/join") as stream:
        await eventually(lambda: len(readers) == 1)
        assert stream.answer.headers["location"] == f"/threads/{entity}/runs/{run}/join"
    await eventually(lambda: not readers)


async def test_an_answer_without_values_is_cut_and_does_not_end(
    edge_factory: EdgeFactory, entity: str, worker: Worker
) -> None:
    async with edge_factory() as edge:
        assert edge.edge is not None
        readers = edge.edge.hub.readers
        run = (await edge.http.post(f"/threads/{entity}/runs", json={"assistant_id": worker.name})).json()["run_id"]
        joining = asyncio.ensure_future(edge.http.get(f"/threads/{entity}/runs/{run}/join"))
        await eventually(lambda: readers)
    with pytest.raises(httpx.TransportError):
        await joining


async def test_a_run_that_is_over_is_not_waited_for(edge: RunningEdge, entity: str, worker: Worker) -> None:
    run = (await edge.http.post(f"/threads/{entity}/runs", json={"assistant_id": worker.name})).json()["run_id"]
    await worker.emit("thread", entity, "completion", success=True)

    assert (await edge.http.get(f"/threads/{entity}/runs/{run}/join")).json() == {"messages": []}
