"""The surface as a whole: the description is true, foreign pages are kept out, health and metrics tell."""

from __future__ import annotations

import pytest
import websockets

from edge.app import openapi as document
from tests.edge.conftest import RunningEdge


async def test_answers_have_the_shape_that_is_described(edge: RunningEdge, entity: str) -> None:
    schemas = document()["components"]["schemas"]
    session = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 1)
    page = await edge.poll(session)
    for name, shown in (
        ("Session", (await edge.http.get(f"/callbacks/sessions/{session}")).json()),
        ("Stats", await edge.stats(session)),
        ("Page", page),
        ("Event", page["events"][0]),
        ("Problem", (await edge.http.get("/nope")).json()),
    ):
        assert set(schemas[name]["required"]) <= set(shown), name
        assert set(shown) <= set(schemas[name]["properties"]), name


async def test_unknown_paths_and_methods_are_problems(edge: RunningEdge) -> None:
    missing = await edge.http.get("/nope")
    wrong = await edge.http.put("/events")

    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")


async def test_a_page_of_a_foreign_origin_is_refused_and_one_from_loopback_is_not(edge: RunningEdge) -> None:
    foreign = await edge.http.get("/runs", headers={"Origin": "https://evil.example"})
    null = await edge.http.get("/runs", headers={"Origin": "null"})
    local = await edge.http.get("/runs", headers={"Origin": "http://localhost:5173"})
    preflight = await edge.http.options(
        "/events", headers={"Origin": "http://localhost:5173", "Access-Control-Request-Method": "POST"}
    )

    assert [foreign.status_code, null.status_code, local.status_code, preflight.status_code] == [403, 403, 200, 204]
    assert local.headers["access-control-allow-origin"] == "http://localhost:5173"
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(
            f"ws://127.0.0.1:{edge.port}/cameras/main/ws", origin="https://evil.example"
        ).__aenter__()


async def test_a_name_rebound_to_loopback_is_refused(edge: RunningEdge) -> None:
    answer = await edge.http.get("/runs", headers={"Host": "evil.example"})

    assert (answer.status_code, answer.json()["code"]) == (421, "forbidden_host")
