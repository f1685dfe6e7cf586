"""Runs, cameras and Octanes are answered with their latest state."""

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


async def test_runs_show_the_latest_state(edge: RunningEdge, store: Broker, entity: str) -> None:
    for progress in (0.1, 0.6):
        await store.publish(Event.new(f"job.{entity}.state", {"status": "running", "progress": progress}))

    run = (await edge.http.get(f"/runs/{entity}")).json()

    assert (run["run"], run["domain"], run["progress"]) == (entity, "job", 0.6)
    assert entity in [each["run"] for each in (await edge.http.get("/runs?limit=1000")).json()["runs"]]
