"""Runs are listed completely, in pages, and one is answered with what it consists of."""

from __future__ import annotations

import asyncio
from typing import Any

from router.broker import Broker
from router.codec import rfc3339
from router.event import Event
from tests.edge.conftest import RunningEdge

BEGAN = 1_790_000_000_000_000_000


async def stated(store: Broker, key: str, second: int, **more: Any) -> None:
    """Stores the state of a run that began at some second."""
    state = {"status": "running", "started": rfc3339(BEGAN + second * 1_000_000_000), **more}
    await store.publish(Event.new(f"{key}.state", state))


async def listed(edge: RunningEdge, **query: Any) -> dict[str, Any]:
    answer = await edge.http.get("/runs", params={name: str(value) for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_an_unknown_run_is_a_404(edge: RunningEdge) -> None:
    answer = await edge.http.get("/runs/nope")

    assert (answer.status_code, answer.json()["code"]) == (404, "run_not_found")


async def test_the_latest_state_of_a_run_is_answered(edge: RunningEdge, store: Broker, entity: str) -> None:
    for progress in (0.1, 0.6):
        await stated(store, f"job.{entity}", 1, progress=progress)
    await stated(store, f"agent.{entity}", 1, progress=0.9)

    job = (await edge.http.get(f"/runs/{entity}?domain=job")).json()
    newest = (await edge.http.get(f"/runs/{entity}")).json()

    assert (job["run"], job["domain"], job["progress"], job["stages"]) == (entity, "job", 0.6, [])
    assert (newest["domain"], newest["progress"]) == ("agent", 0.9)


async def test_a_run_shows_the_stages_of_its_living_incarnation(edge: RunningEdge, store: Broker, entity: str) -> None:
    stages = [{"id": "s", "name": "load", "kind": "step", "status": "completed", "duration": 2.0}]
    await stated(store, f"agent.{entity}", 1, incarnation="one")
    await store.publish(Event.new(f"agent.{entity}.stages", {"incarnation": "one", "stages": stages, "left_out": 3}))
    shown = (await edge.http.get(f"/runs/{entity}")).json()
    await stated(store, f"agent.{entity}", 2, incarnation="two")
    afresh = (await edge.http.get(f"/runs/{entity}")).json()

    assert (shown["stages"], shown["stages_left_out"]) == (stages, 3)
    assert (afresh["stages"], afresh["stages_left_out"]) == ([], 0)


async def test_runs_are_listed_in_pages_that_hold_while_they_go_on(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    for n in range(5):
        await stated(store, f"job.{entity}-{n}", n, parent=entity, status="failed" if n == 3 else "running")

    first = await listed(edge, parent=entity, limit=2)
    await stated(store, f"job.{entity}-0", 0, parent=entity)  # it goes on, and a new one begins
    await stated(store, f"job.{entity}-5", 5, parent=entity)
    second = await listed(edge, parent=entity, limit=2, cursor=first["next"])
    third = await listed(edge, parent=entity, limit=2, cursor=second["next"])

    names = [[run["run"].removeprefix(f"{entity}-") for run in page["runs"]] for page in (first, second, third)]
    assert names == [["4", "3"], ["2", "1"], ["0"]]
    assert (first["total"], third["total"], third["next"]) == (5, 6, None)
    failed = await listed(edge, parent=entity, status="failed,cancelled")
    assert [run["run"] for run in failed["runs"]] == [f"{entity}-3"]
    assert (await listed(edge, parent=entity, domain="agent"))["runs"] == []


async def test_runs_are_found_by_text_and_by_when_they_ended(edge: RunningEdge, store: Broker, entity: str) -> None:
    hours = {"early": "2026-01-01T17:59:59Z", "night": "2026-01-02T03:00:00.5Z", "late": "2026-01-02T08:00:00Z"}
    for n, (name, updated) in enumerate(hours.items()):
        more = {"name": f"Nightly {name}", "error": "Disk FULL" if n else None, "updated": updated}
        await stated(store, f"job.{entity}-{name}", n, parent=entity, status="failed", **more)
    await stated(store, f"job.{entity}-odd", 9, parent=entity, updated="whenever")

    night = await listed(edge, parent=entity, since="2026-01-01T18:00:00Z", until="2026-01-02T08:00:00Z")
    later = await listed(edge, parent=entity, since="2026-01-02T03:00:00Z")
    full = await listed(edge, parent=entity, text="disk full")
    named = await listed(edge, parent=entity, text="NIGHTLY EARLY")
    bad = await edge.http.get("/runs", params={"since": "last night"})

    found = [[run["run"].removeprefix(f"{entity}-") for run in page["runs"]] for page in (night, later, full, named)]
    assert found == [["night"], ["late", "night"], ["late", "night"], ["early"]]
    assert (bad.status_code, bad.json()["code"], bad.json()["field"]) == (400, "bad_parameter", "since")


async def test_more_runs_than_one_request_may_name_are_listed_completely(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await asyncio.gather(*(stated(store, f"thread.{entity}-{n}", n, parent=entity) for n in range(1100)))

    page = await listed(edge, parent=entity, limit=1000)
    rest = await listed(edge, parent=entity, limit=1000, cursor=page["next"])

    assert (page["total"], len(page["runs"]), len(rest["runs"])) == (1100, 1000, 100)


async def test_a_cursor_or_filter_that_is_none_is_refused(edge: RunningEdge) -> None:
    for query, code in (
        ({"cursor": "odd"}, "bad_cursor"),
        ({"cursor": "é"}, "bad_cursor"),
        ({"domain": "camera"}, "bad_request"),
        ({"limit": "0"}, "bad_request"),
    ):
        answer = await edge.http.get("/runs", params=query)
        assert 400 <= answer.status_code < 500, (query, answer.text)
        if code == "bad_cursor":
            assert answer.json()["code"] == code


async def test_a_status_that_no_run_can_have_is_refused(edge: RunningEdge) -> None:
    answer = await edge.http.get("/runs", params={"status": "running,bogus"})

    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, "bad_parameter", "status")
