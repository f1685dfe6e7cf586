"""The agents without a model behind the edge's addresses: what they do is real, and what they are is said."""

# ruff: noqa: F811

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from ops.demo.agents import serve_demo, verdicts
from router.broker import Broker
from router.sdk.agents import AgentFunction
from tests.edge.conftest import RunningEdge, edge, edge_factory, store  # noqa: F401
from tests.edge.surfaces.conftest import streaming
from tests.waiting import eventually


@pytest.fixture
async def agents(store: Broker) -> AsyncIterator[list[str]]:
    stop, ready, names = asyncio.Event(), asyncio.Event(), list[str]()

    def serves(served: Sequence[AgentFunction]) -> None:
        names.extend(each.name for each in served)
        ready.set()

    serving = asyncio.ensure_future(serve_demo(store, serves, stop))
    await ready.wait()
    yield names
    stop.set()
    await serving


def told(said: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in said.decode().split("\n") if line.startswith("data: {")]


def test_a_council_of_heuristics_gives_its_reasons() -> None:
    found = {each.heuristic: each for each in verdicts("Do you want 3 new ideas? Get them now.")}

    assert found["hook"].score == 1.0 and "a question" in found["hook"].reasoning
    assert found["urgency"].reasoning == "words that urge: new, now"
    assert all(0 <= each.score <= 1 for each in verdicts(""))


async def test_the_council_is_streamed_to_its_final_score(edge: RunningEdge, entity: str, agents: list[str]) -> None:
    async with streaming(edge, f"/api/stream/council-score?videoUrl=test&transcript={entity}") as stream:
        _, *said, complete = told(await stream.rest())

    assert {each["model"] for each in said if "model" in each} >= {"heuristic:hook", "heuristic:clarity"}
    assert (said[-1]["stage"], said[-1]["isComplete"]) == ("complete", True)
    assert complete["data"] == said[-1]["finalScore"] and 0 <= complete["data"]["composite"] <= 1


async def test_an_evaluation_is_streamed_in_words(edge: RunningEdge, entity: str, agents: list[str]) -> None:
    async with streaming(edge, f"/api/stream/evaluate-creative?content={entity}") as stream:
        _, *said, complete = told(await stream.rest())

    assert "".join(each["chunk"] for each in said).startswith("Hook 0.")
    assert complete["type"] == "complete"


async def test_a_chat_of_the_ai_sdk_is_answered(edge: RunningEdge, entity: str, agents: list[str]) -> None:
    messages = [{"role": "user", "parts": [{"type": "text", "text": "How do webhooks work?"}]}]
    async with streaming(edge, "/api/chat", method="POST", json={"id": entity, "messages": messages}) as stream:
        said = told(await stream.rest())

    assert "Webhooks" in "".join(each["delta"] for each in said if each["type"] == "text-delta")
    assert {"reasoning-delta", "tool-input-available", "tool-output-available", "finish"} <= {
        each["type"] for each in said
    }


async def test_a_render_and_a_campaign_are_started_by_command(
    edge: RunningEdge, entity: str, agents: list[str]
) -> None:
    render = {"run": entity, "domain": "job", "input": {"frames": 3}}
    campaign = {"run": f"{entity}-c", "domain": "job", "input": {"campaign": entity, "seconds": 0}}
    async with streaming(edge, f"/api/stream/render-progress/{entity}") as stream:
        for name, body in (("render", render), ("campaign", campaign)):
            assert (await edge.http.post(f"/commands/{name}/main/start", json=body)).status_code == 200
        *_, last, complete = told(await stream.rest())

    assert (last["totalFrames"], last["stage"], complete["type"]) == (3, "complete", "complete")

    async def measured() -> bool:
        async with streaming(edge, f"/api/stream/campaign-metrics/{entity}") as stream:
            return told(await stream.until(b"campaign_metrics"))[-1]["simulated"] is True

    assert await eventually(measured)


async def test_what_no_agent_can_begin_is_refused(edge: RunningEdge, agents: list[str]) -> None:
    answers = [
        await edge.http.post("/commands/render/main/start", json=body)
        for body in ({}, {"run": 7}, {"run": "a", "input": []}, {"run": "a" * 300})
    ]

    assert {answer.json()["code"] for answer in answers} == {"command_refused"}
    assert set(agents) == {"assistant", "council", "evaluation", "render", "campaign"}
