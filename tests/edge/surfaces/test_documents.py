"""Every address of the real-time guide and the agent-run guide, asked by the tools that they name: `curl -N` and `wscat`."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ops.demo.agents import serve_demo
from router.broker import Broker
from tests.edge.conftest import RunningEdge
from tests.npm import node_with
from tests.waiting import in_time

pytestmark = pytest.mark.slow

# How long curl listens to what has no end, in seconds; its exit code then.
LISTENING, TIMED_OUT = 3, 28

DATA: dict[str, dict[str, Any]] = {
    "campaign_metrics": {"metrics": {"impressions": 12000, "clicks": 340, "ctr": 0.0283, "roas": 3.1}, "change": {}},
    "ab_test_result": {"testId": "t", "variantId": "B", "metrics": {"impressions": 9000, "conversions": 41}},
}


@pytest.fixture
async def agents(store: Broker) -> AsyncIterator[None]:
    """The demonstration's agents."""
    stop, ready = asyncio.Event(), asyncio.Event()
    serving = asyncio.ensure_future(serve_demo(store, lambda _served: ready.set(), stop))
    await ready.wait()
    yield
    stop.set()
    await serving


async def run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        out, _ = await in_time(process.communicate())
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, out.decode()


class Curl:
    """`curl -N` at an edge."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __call__(self, path: str, *options: str, code: int = 0) -> str:
        ended, said = await run("curl", "-sN", *options, self._url + path)
        assert ended == code, said
        return said

    async def json(self, path: str, *options: str) -> Any:
        return json.loads(await self(path, *options))


def told(said: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in said.splitlines() if line.startswith("data: ")]


async def test_every_address_of_the_agent_run_guide_answers_curl(edge: RunningEdge, agents: None, entity: str) -> None:
    curl = Curl(edge.url)

    started = await curl.json(f"/thread/{entity}/agent/start", "-d", '{"message":"How do webhooks work?"}')
    run_id = started["agent_run_id"]
    head = await curl(f"/agent-run/{run_id}/stream", "-i")
    ended = await curl.json(f"/agent-run/{run_id}")
    thread = await curl.json(f"/thread/{entity}")
    runs = await curl.json(f"/thread/{entity}/agent-runs")
    stopped = await curl.json(f"/agent-run/{run_id}/stop", "-X", "POST")

    fields, _, said = head.replace("\r\n", "\n").partition("\n\n")
    for field in (
        "content-type: text/event-stream",
        "cache-control: no-cache, no-transform",
        "connection: keep-alive",
        "x-accel-buffering: no",
    ):
        assert field in fields.lower()
    assert said.startswith("event: open\n") and said.rstrip().endswith("event: close\ndata: {}")
    events = [each for each in told(said) if each]
    assert all(set(each) == {"type", "threadId", "content", "ts"} for each in events)
    assert {each["type"] for each in events} >= {"token", "status", "delta", "done"} and events[-1]["type"] == "done"
    assert {each["threadId"] for each in events} == {entity}
    assert (ended["id"], ended["status"], thread["agent_run_id"]) == (run_id, "completed", run_id)
    assert [each["id"] for each in runs["agent_runs"]] == [run_id]
    assert stopped["code"] == "run_over"


async def test_every_address_of_the_real_time_guide_answers_curl(edge: RunningEdge, agents: None, entity: str) -> None:
    curl = Curl(edge.url)

    assert await curl.json("/health") == {"status": "healthy"}
    council = told(await curl(f"/api/stream/council-score?videoUrl=test&transcript=hello+{entity}"))
    assert council[0]["type"] == "connected" and council[-1]["type"] == "complete"
    assert {each.get("type") for each in council[1:-1]} == {"council_score_stream"}
    evaluation = told(await curl(f"/api/stream/evaluate-creative?content=hello+{entity}"))
    assert evaluation[-1]["type"] == "complete" and evaluation[1]["chunk"]

    order = {"run": f"job-{entity}", "domain": "job", "input": {"frames": 5}}
    await curl("/commands/render/main/start", "-d", json.dumps(order))
    render = told(await curl(f"/api/stream/render-progress/job-{entity}"))
    assert (render[-2]["currentFrame"], render[-2]["totalFrames"]) == (5, 5) and render[-1]["type"] == "complete"
    assert (await curl.json(f"/api/jobs/job-{entity}/status"))["progress"] == 1.0

    listening = ("--max-time", str(LISTENING))
    for kind, event in (("campaign-metrics", "campaign_metrics"), ("ab-test-results", "ab_test_result")):
        await edge.publish({"subject": f"metric.{entity}.{event}", "data": DATA[event]})
        said = told(await curl(f"/api/stream/{kind}/{entity}", *listening, code=TIMED_OUT))
        assert [each["type"] for each in said] == ["connected", event]

    stats = await curl.json("/api/realtime/stats")
    assert stats["status"] == "healthy" and stats["channels"]["isConnected"]


async def test_wscat_subscribes_and_is_told(edge: RunningEdge, entity: str, tmp_path: Path) -> None:
    node = node_with(tmp_path, "wscat@6")
    await edge.publish({"subject": f"job.{entity}.job_progress", "data": {"progress": 0.5, "status": "processing"}})
    subscribe = json.dumps({"type": "subscribe", "channel": {"type": "job_progress", "id": entity}})
    leave = json.dumps({"type": "unsubscribe", "channel": {"type": "job_progress", "id": entity}})

    said = []
    for message in (subscribe, leave, '{"type":"ping"}', "nonsense"):
        address = f"ws://127.0.0.1:{edge.port}/ws?userId=test"
        command = (str(tmp_path / "node_modules/wscat/bin/wscat"), "-c", address, "-x", message, "-w", "2")
        _, out = await run(node, *command)
        lines = [line.removeprefix("< ") for line in out.splitlines()]
        said.append([json.loads(line) for line in lines if line.startswith("{")])

    assert all(messages[0]["message"] == "Connected to real-time service" for messages in said)
    assert [[each["type"] for each in messages[1:]] for messages in said] == [
        ["subscribed", "job_progress"],
        ["unsubscribed"],
        ["pong"],
        ["error"],
    ]
    assert said[0][2]["progress"] == 0.5
