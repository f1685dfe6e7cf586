"""The addresses of the real-time guide: renders, entities, evaluations, the state of a job, statistics."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.broker import Broker
from router.event import Event
from tests.edge.auth.conftest import SecuredFactory
from tests.edge.conftest import RunningEdge
from tests.edge.surfaces.conftest import Serving, streaming


def told(said: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in said.decode().split("\n") if line.startswith("data: ")]


async def render(edge: RunningEdge, job: str, **data: Any) -> str:
    (cursor,) = await edge.publish({"subject": f"job.{job}.video_render_progress", "data": data})
    return cursor


async def test_a_render_is_streamed_from_before_it_begins_until_it_completes(either: RunningEdge, entity: str) -> None:
    async with streaming(either, f"/api/stream/render-progress/{entity}") as stream:
        await stream.until(b'"connected"')
        await render(either, entity, progress=0.5, currentFrame=500, totalFrames=1000)
        await stream.until(b"500")
        await render(either, entity, progress=1, stage="complete")
        said = await stream.rest()

    connected, half, whole, complete = told(said)
    assert (connected["type"], connected["message"]) == ("connected", "SSE connection established")
    assert (half["type"], half["jobId"], half["progress"]) == ("video_render_progress", entity, 0.5)
    assert (whole["stage"], complete["type"], complete["data"]["status"]) == ("complete", "complete", "completed")
    assert said.rstrip().split(b"\n\n")[-1].startswith(b"event: complete\n")
    assert stream.answer.headers["x-accel-buffering"] == "no"


async def test_who_joins_late_is_shown_the_newest_progress_and_who_was_there_goes_on(
    edge: RunningEdge, entity: str
) -> None:
    path = f"/api/stream/render-progress/{entity}"
    cursors = [await render(edge, entity, progress=n / 10, currentFrame=n) for n in range(1, 6)]
    async with streaming(edge, path) as stream:
        late = told(await stream.until(b'"progress":0.5'))
    await render(edge, entity, status="failed", error="no disk")
    async with streaming(edge, path, last=cursors[4]) as stream:
        failed = told(await stream.rest())
    over = await edge.http.get(path, headers={"Last-Event-ID": stream.said.decode().rpartition("id: ")[2].strip()})

    assert [each.get("progress") for each in late[1:]] == [0.5]
    assert [(each["type"], each.get("error")) for each in failed[1:]] == [
        ("video_render_progress", "no disk"), ("error", "no disk")
    ]  # fmt: skip
    assert over.status_code == 204


async def test_the_metrics_of_an_entity_begin_with_the_last_ones_and_have_their_change(
    edge: RunningEdge, entity: str
) -> None:
    async def measure(clicks: int) -> None:
        await edge.publish(
            {
                "subject": f"metric.{entity}.campaign_metrics",
                "data": {"campaignId": entity, "metrics": {"clicks": clicks}},
            }
        )

    await measure(5)
    await measure(7)
    async with streaming(edge, f"/api/stream/campaign-metrics/{entity}") as stream:
        await stream.until(b'"clicks":7')
        await measure(8)
        _, first, second = told(await stream.until(b'"clicks":8'))

    assert (first["metrics"], first["change"], first["type"]) == ({"clicks": 7}, {"clicks": 2}, "campaign_metrics")
    assert second["change"] == {"clicks": 1}


async def test_the_variants_of_a_test_are_shown_as_they_are_now(edge: RunningEdge, entity: str) -> None:
    for variant, clicks in (("A", 1), ("B", 2), ("A", 3)):
        data = {"testId": entity, "variantId": variant, "metrics": {"clicks": clicks, "impressions": 10}}
        await edge.publish({"subject": f"metric.{entity}.ab_test_result", "data": data})

    async with streaming(edge, f"/api/stream/ab-test-results/{entity}") as stream:
        said = told(await stream.until(b'"clicks":3'))

    assert [(each["variantId"], each["metrics"]["clicks"]) for each in said[1:]] == [("B", 2), ("A", 3)]


async def test_the_council_scores_once_for_all_tabs_and_a_reconnection_does_not_ask_again(
    edge: RunningEdge, entity: str, serving: Serving
) -> None:
    path = f"/api/stream/council-score?videoUrl=v&transcript={entity}"
    async with serving("council") as council, streaming(edge, path) as one:
        await one.until(b'"connected"')
        run = str(council.asked[0]["run"])
        await council.emit("agent", run, "council_score_stream", stage="gemini", model="gemini", thinking="hm")
        said = await one.until(b'"hm"')
        last = said.decode().rpartition("id: ")[2].strip()
        async with streaming(edge, path) as two:
            await two.until(b'"hm"')
            final = {"stage": "complete", "finalScore": {"composite": 0.8}, "isComplete": True}
            await council.emit("agent", run, "council_score_stream", **final)
            assert told(await two.rest())[-1]["data"] == {"composite": 0.8}
        async with streaming(edge, path, last=last) as again:
            assert [each["type"] for each in told(await again.rest())] == [
                "connected",
                "council_score_stream",
                "complete",
            ]
        asked = len(council.asked)
        async with streaming(edge, path) as anew:
            await anew.until(b'"connected"')
            assert b"composite" not in anew.said

        assert (asked, len(council.asked)) == (1, 2)
        assert council.asked[0]["input"] == {"videoUrl": "v", "transcript": entity, "features": {}}


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("evaluate-creative?content=nobody-serves", 503, "agent_unavailable"),
        ("evaluate-creative", 422, "missing_field"),
        ("council-score?videoUrl=v&transcript=t&features=%7B", 400, "bad_parameter"),
    ],
)
async def test_what_nobody_evaluates_is_refused_and_never_made_up(
    edge: RunningEdge, query: str, status: int, code: str
) -> None:
    answer = await edge.http.get(f"/api/stream/{query}")

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_the_state_of_a_job_is_answered_to_who_asks_for_it(edge: RunningEdge, store: Broker, entity: str) -> None:
    path = f"/api/jobs/{entity}/status"
    unknown = await edge.http.get(path)
    await store.publish(Event.new(f"job.{entity}.workflow_start", {}))
    steps = {"current": 5, "total": 20}
    await store.publish(Event.new(f"job.{entity}.state", {"status": "running", "progress": 0.25, "steps": steps}))
    going = (await edge.http.get(path)).json()
    await store.publish(Event.new(f"job.{entity}.completion", {"success": True}))
    over = (await edge.http.get(path)).json()

    assert (unknown.status_code, unknown.json()["code"]) == (404, "run_not_found")
    assert (going["status"], going["progress"], going["currentFrame"]) == ("processing", 0.25, 5)
    assert (over["status"], over["progress"], over["stage"]) == ("completed", 1.0, "complete")


async def test_the_statistics_have_the_guide_s_fields_and_true_counts(edge: RunningEdge, entity: str) -> None:
    async with streaming(edge, f"/api/stream/campaign-metrics/{entity}") as stream:
        await stream.until(b'"connected"')
        stats = (await edge.http.get("/api/realtime/stats")).json()

    assert (stats["status"], stats["channels"]["isConnected"]) == ("healthy", True)
    assert stats["sse"]["totalConnections"] == 1
    assert f"metric.{entity}.campaign_metrics" in stats["channels"]["channels"]


async def test_a_council_needs_the_right_to_start_it_and_to_read_its_run(
    secured: SecuredFactory, serving: Serving, entity: str
) -> None:
    path = f"/api/stream/council-score?videoUrl=v&transcript={entity}"
    start = "council.main.start"
    async with secured() as edge, serving("council") as council:
        for rights in ({"read": ["agent.>"]}, {"command": [start]}, {"command": [start], "read": ["job.>"]}):
            refused = await edge.as_("alice", **rights).http.get(path)
            assert (refused.status_code, refused.json()["code"]) == (403, "not_granted")
        assert council.asked == []
        async with streaming(edge.as_("alice", command=[start], read=["agent.>"]), path) as stream:
            await stream.until(b'"connected"')

    assert [asked["domain"] for asked in council.asked] == ["agent"]
