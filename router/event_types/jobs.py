"""Declares the events of jobs and AI streams, as the real-time guide has them: camelCase fields."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from router.event_types.declaration import CANCELLED, COMPLETED, FAILED, Delivery, EventType, Terminal
from router.event_types.fields import SHARES, Amount, Shares

JobStatus = Literal[
    "queued", "pending", "processing", "running", "paused", "stopping",
    "completed", "failed", "error", "cancelled", "canceled", "stopped",
]  # fmt: skip

_BY_STATUS: dict[str | bool, str] = {
    "completed": COMPLETED,
    "failed": FAILED,
    "error": FAILED,
    "cancelled": CANCELLED,
    "canceled": CANCELLED,
    "stopped": CANCELLED,
}


class JobProgressData(Shares, gc=False, kw_only=True):
    """How far a job is; a `status` of completed, failed or cancelled ends it."""

    jobId: str | None = None
    status: JobStatus | None = None
    error: str | None = None
    current_step: Annotated[float, Meta(ge=0)] | str | None = None
    total_steps: Amount | None = None
    metadata: dict[Any, Any] | None = None


class VideoRenderProgressData(Shares, gc=False, kw_only=True):
    """How far the rendering of a video is; the stage `complete` ends it. `estimatedTimeRemaining` in seconds."""

    jobId: str | None = None
    status: JobStatus | None = None
    error: str | None = None
    currentFrame: Amount | None = None
    totalFrames: Amount | None = None
    fps: Amount | None = None
    estimatedTimeRemaining: Amount | None = None


class StreamMetadata(msgspec.Struct, gc=False, kw_only=True):
    """What a piece of a stream cost. `thinkingTime` as the producer counts it."""

    tokensUsed: Amount | None = None
    thinkingTime: Amount | None = None


class AIStreamChunkData(msgspec.Struct, gc=False, kw_only=True):
    """A piece of what a model says; the last one has `isComplete`."""

    chunk: str
    model: str | None = None
    isComplete: bool | None = None
    metadata: StreamMetadata | None = None


class CouncilFinalScore(msgspec.Struct, gc=False, kw_only=True):
    """The score of all models together."""

    composite: float
    psychology: Any = None
    hookStrength: Any = None
    novelty: Any = None


class CouncilScoreData(msgspec.Struct, gc=False, kw_only=True):
    """What a model of the council thinks, its score, and in the stage `complete` the score of all."""

    stage: str
    model: str | None = None
    thinking: str | None = None
    score: float | None = None
    reasoning: str | None = None
    isComplete: bool | None = None
    finalScore: CouncilFinalScore | None = None


class AIEvaluationData(msgspec.Struct, gc=False, kw_only=True):
    """A piece of an evaluation; the last one has `isComplete`."""

    chunk: str
    evaluationType: str | None = None
    model: str | None = None
    isComplete: bool | None = None


_WHEN_COMPLETE = Terminal({"isComplete": {True: COMPLETED}})

JOB_TYPES: tuple[EventType, ...] = (
    EventType(
        "job_progress",
        "How far a job is, and its end.",
        schema=JobProgressData,
        delivery=Delivery.LATEST,
        key=("jobId",),
        intermediate=True,
        progress=True,
        terminal=Terminal({"status": _BY_STATUS}),
        either=("status", "progress", "percent", "current", "current_step", "stage", "message"),
        conditions=SHARES,
    ),
    EventType(
        "video_render_progress",
        "How far the rendering of a video is, and its end.",
        schema=VideoRenderProgressData,
        delivery=Delivery.LATEST,
        key=("jobId",),
        intermediate=True,
        progress=True,
        terminal=Terminal({"status": _BY_STATUS, "stage": {"complete": COMPLETED}}),
        either=("progress", "percent", "currentFrame", "current", "status", "stage"),
        conditions=SHARES,
    ),
    EventType(
        "ai_stream_chunk",
        "A piece of what a model says.",
        schema=AIStreamChunkData,
        delivery=Delivery.APPEND,
        key=("model",),
        text="chunk",
        intermediate=True,
        reduce={"chunk": "concat"},
        terminal=_WHEN_COMPLETE,
    ),
    EventType(
        "council_score_stream",
        "What the models of a council think, and their score.",
        schema=CouncilScoreData,
        delivery=Delivery.APPEND,
        key=("stage", "model"),
        text="thinking",
        intermediate=True,
        reduce={"thinking": "concat"},
        terminal=Terminal({"stage": {"complete": COMPLETED}}),
    ),
    EventType(
        "ai_evaluation_stream",
        "A piece of an evaluation.",
        schema=AIEvaluationData,
        delivery=Delivery.APPEND,
        key=("evaluationType", "model"),
        text="chunk",
        intermediate=True,
        reduce={"chunk": "concat"},
        terminal=_WHEN_COMPLETE,
    ),
)
