"""Tests of edge/http/lives.py: events of a superseded life of a run."""

from __future__ import annotations

from typing import Any

import pytest

from router.broker import Broker
from router.runs import RunLedger
from tests.edge.conftest import RunningEdge


async def begun_twice(store: Broker, entity: str) -> None:
    for incarnation in ("pod-1", "pod-2"):
        await RunLedger(store).begin("agent", entity, incarnation)


@pytest.mark.parametrize("place", ["data", "event"])
async def test_events_of_a_superseded_life_are_refused_and_those_of_the_living_one_taken(
    edge: RunningEdge, store: Broker, entity: str, place: str
) -> None:
    await begun_twice(store, entity)

    def event(life: str | None, n: int) -> dict[str, Any]:
        said = {} if life is None else {"incarnation": life}
        data = {"progress": n / 10, **(said if place == "data" else {})}
        return {"subject": f"agent.{entity}.progress", "data": data, **(said if place == "event" else {})}

    answers = [await edge.http.post("/events", json=event(life, 1)) for life in ("pod-1", "pod-2", None)]
    batch = await edge.http.post("/events", json=[event("pod-2", 2), event("pod-1", 3), event("pod-2", 4)])
    page = await store.read(f"agent.{entity}.progress", 0, 100)

    assert [answer.status_code for answer in answers] == [409, 201, 201]
    assert (answers[0].json()["code"], answers[0].json()["incarnation"]) == ("run_superseded", "pod-2")
    assert (batch.status_code, batch.json()["index"], batch.json()["stored"]) == (409, 1, 1)
    assert [record.event.data["progress"] for record in page.records if record.event] == [0.1, 0.1, 0.2]


async def test_a_life_that_this_edge_has_begun_ends_the_one_before_at_once(edge: RunningEdge, entity: str) -> None:
    for life in ("pod-1", "pod-2"):
        start = {"subject": f"job.{entity}.workflow_start", "data": {"incarnation": life}}
        output = {"subject": f"job.{entity}.output", "data": {"line": "x"}, "incarnation": "pod-1"}
        answers = [await edge.http.post("/events", json=each) for each in (start, output)]

    assert [answer.status_code for answer in answers] == [201, 409]


async def test_the_incarnation_of_an_event_must_be_a_text(edge: RunningEdge, entity: str) -> None:
    answer = await edge.http.post("/events", json={"subject": f"job.{entity}.output", "incarnation": 5})

    assert (answer.status_code, answer.json()["code"]) == (422, "bad_event")
