"""Runs, alerts, cameras and Octanes are answered with their latest state."""

from __future__ import annotations

from router.broker import Broker
from router.event import Event
from tests.edge.conftest import RunningEdge


async def test_an_unknown_camera_or_run_is_a_404(edge: RunningEdge) -> None:
    for path, code in (
        ("/cameras/nope/snapshot", "camera_not_found"),
        ("/octane/nope/mjpeg", "octane_not_found"),
        ("/runs/nope", "run_not_found"),
    ):
        answer = await edge.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, code)


async def test_runs_and_alerts_show_the_latest_state(edge: RunningEdge, store: Broker, entity: str) -> None:
    for progress in (0.1, 0.6):
        await store.publish(Event.new(f"job.{entity}.state", {"status": "running", "progress": progress}))
    await store.publish(Event.new(f"alert.{entity}.firing", {"severity": "warning", "title": "Too hot"}))

    run = (await edge.http.get(f"/runs/{entity}")).json()
    alerts = (await edge.http.get("/alerts")).json()["alerts"]

    assert (run["run"], run["domain"], run["progress"]) == (entity, "job", 0.6)
    assert entity in [each["run"] for each in (await edge.http.get("/runs?limit=1000")).json()["runs"]]
    assert next(a for a in alerts if a["rule"] == entity)["status"] == "firing"


async def test_alerts_of_one_rule_about_two_entities_are_both_shown(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    for about, kind in (("left", "firing"), ("right", "firing"), ("left", "resolved")):
        await store.publish(Event.new(f"alert.{entity}.{kind}", {"entity": about, "severity": "info"}))

    alerts = [a for a in (await edge.http.get("/alerts?limit=1000")).json()["alerts"] if a["rule"] == entity]

    assert [(a["entity"], a["status"]) for a in alerts] == [("left", "resolved"), ("right", "firing")]
