"""Serves agents without a model behind the addresses that start one: a chat, a council, an evaluation, a render, a campaign.

What they do is real, and what they are is said: the council scores a transcript by heuristics that it names, the campaign is
simulated and each of its events says so, the render computes the frames that it reports.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ops.demo.answers import answer
from router.broker import Broker
from router.event import Event
from router.sdk.agents import AgentFunction, AgentInput, agent
from router.sdk.agents.server import AgentServer
from router.sdk.agents.work import BlockingRun
from router.sdk.run import Run
from router.subject import Subject

Events = AsyncIterator[dict[str, Any]]

# 2 s: a demonstration is not waited for.
GRACE_SECONDS = 2.0
MAX_FRAMES, MAX_SECONDS = 2000, 600.0
FRAME_SIZE = 160


@agent("assistant")
async def assistant(run: Run, input: AgentInput) -> Any:
    """Answers the last message of a chat, without a model."""
    return (await answer(run, input.text))["response"]


class HeuristicVerdict(NamedTuple):
    """What one heuristic says of a text: a score from 0 to 1, and why."""

    heuristic: str
    score: float
    reasoning: str


def verdicts(text: str) -> list[HeuristicVerdict]:
    """What four heuristics say of a transcript."""
    words = re.findall(r"[\w']+", text.lower())
    sentences = [part.strip() for part in re.split(r"[.!?]+", text) if part.strip()]
    opening = (sentences[0] if sentences else "").lower()
    hooks = [name for name, found in (("a question", "?" in text[:120]), ("a number", bool(re.search(r"\d", opening))),
             ("“you”", bool(re.search(r"\byou(r)?\b", opening)))) if found]  # fmt: skip
    urgent = [word for word in words if word in {"now", "today", "limited", "last", "only", "hurry", "free", "new"}]
    length = len(words) / max(1, len(sentences))
    distinct = len(set(words)) / max(1, len(words))
    return [
        HeuristicVerdict(
            "hook", len(hooks) / 3, f"the opening has {', '.join(hooks) or 'no question, number or “you”'}"
        ),
        HeuristicVerdict("clarity", _near(length, 12, 12), f"{length:.1f} words a sentence, where 12 read best"),
        HeuristicVerdict("urgency", min(1.0, len(urgent) / 3), f"words that urge: {', '.join(urgent[:5]) or 'none'}"),
        HeuristicVerdict("variety", round(distinct, 3), f"{len(set(words))} of {len(words)} words are distinct"),
    ]


def _near(value: float, best: float, width: float) -> float:
    return round(math.exp(-(((value - best) / width) ** 2)), 3)


@agent("council")
async def council(run: Run, input: AgentInput) -> Any:
    """Scores a transcript, without a model; each member of the council is a heuristic, and named as one."""
    found = verdicts(str(input.get("transcript") or ""))
    for each in found:
        member = {"stage": each.heuristic, "model": f"heuristic:{each.heuristic}"}
        await run.emit(
            "council_score_stream", {**member, "thinking": f"Looking: {each.reasoning}.", "isComplete": False}
        )
        said = {"score": each.score, "reasoning": each.reasoning, "isComplete": True}
        await run.emit("council_score_stream", {**member, **said})
    by = {each.heuristic: each.score for each in found}
    composite = round(sum(by.values()) / len(by), 3)
    return {
        "finalScore": {
            "composite": composite,
            "psychology": {"composite": by["urgency"]},
            "hookStrength": {"strength": by["hook"]},
            "novelty": {"composite": by["variety"]},
        },
        "method": "heuristics, without a model",
    }


@agent("evaluation")
async def evaluation(run: Run, input: AgentInput) -> Events:
    """Evaluates a text by the same heuristics, in words."""
    for each in verdicts(str(input.get("content") or "")):
        chunk = f"{each.heuristic.capitalize()} {each.score:.2f}: {each.reasoning}. "
        yield {"type": "ai_evaluation_stream", "chunk": chunk, "model": "heuristics", "isComplete": False}


@agent("render", concurrency=2)
def render(run: BlockingRun, input: AgentInput) -> Generator[dict[str, Any], None, dict[str, int]]:
    """Renders a zoom into the Mandelbrot set, frame by frame."""
    frames = min(MAX_FRAMES, max(1, _whole(input.get("frames"), 100)))
    began = time.monotonic()
    for frame in range(1, frames + 1):
        _mandelbrot(1.5 * 0.97**frame)
        seconds = time.monotonic() - began
        yield {
            "type": "video_render_progress", "jobId": run.run, "currentFrame": frame, "totalFrames": frames,
            "progress": frame / frames, "fps": round(frame / seconds, 2),
            "estimatedTimeRemaining": round(seconds / frame * (frames - frame), 2), "stage": "rendering",
        }  # fmt: skip
    return {"frames": frames}


def _mandelbrot(width: float) -> int:
    """Computes a frame; returns how many of its points are in the set."""
    side = np.linspace(-width, width, FRAME_SIZE)
    points = (side[None, :] - 0.745) + 1j * (side[:, None] + 0.113)
    values = np.zeros_like(points)
    inside = np.ones(points.shape, bool)
    for _ in range(60):
        values[inside] = values[inside] ** 2 + points[inside]
        inside &= np.abs(values) < 2
    return int(inside.sum())


async def simulate_campaign(run: Run, input: AgentInput, broker: Broker) -> Any:
    """Simulates the metrics of a campaign, named by the run; each event says that it is simulated."""
    seconds = min(MAX_SECONDS, max(0.0, float(_whole(input.get("seconds"), 60))))
    impressions = clicks = conversions = 0
    spend = 0.0
    subject = Subject.of("metric", str(input.get("campaign") or run.run), "campaign_metrics")
    deadline = time.monotonic() + seconds
    while True:
        seen = random.randint(400, 600)
        clicked = sum(random.random() < 0.05 for _ in range(seen))
        bought = sum(random.random() < 0.1 for _ in range(clicked))
        impressions, clicks, conversions = impressions + seen, clicks + clicked, conversions + bought
        spend = round(spend + clicked * 2.0, 2)
        metrics = {
            "impressions": impressions, "clicks": clicks, "ctr": round(clicks / impressions, 5), "spend": spend,
            "conversions": conversions, "roas": round(conversions * 60 / spend, 3) if spend else 0,
        }  # fmt: skip
        change = {"impressions": seen, "clicks": clicked, "conversions": bought, "spend": clicked * 2.0}
        data = {"campaignId": subject.entity, "metrics": metrics, "change": change, "simulated": True}
        await broker.publish(Event.new(subject, data, source="campaign-simulator"))
        await run.progress(
            message="simulating", progress=1 - max(0.0, deadline - time.monotonic()) / max(seconds, 0.001)
        )
        if time.monotonic() >= deadline:
            return {"simulated": True, "metrics": metrics}
        await asyncio.sleep(min(2.0, max(0.0, deadline - time.monotonic())))


def _whole(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def agents(broker: Broker) -> tuple[AgentFunction, ...]:
    """All of them; the campaign publishes events that are not its run's."""

    @agent("campaign")
    async def campaign(run: Run, input: AgentInput) -> Any:
        """Simulates the metrics of a campaign, and says so."""
        return await simulate_campaign(run, input, broker)

    return assistant, council, evaluation, render, campaign


async def serve_demo(broker: Broker, ready: Callable[[Sequence[AgentFunction]], None], stop: asyncio.Event) -> None:
    """Serves them until `stop`."""
    served = agents(broker)
    await AgentServer(served, broker, grace=GRACE_SECONDS).run(stop, lambda: ready(served))
