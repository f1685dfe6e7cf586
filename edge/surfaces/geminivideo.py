"""The addresses of the geminivideo real-time guide: SSE of renders, entities and evaluations, statistics, and the state of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from edge.auth.authenticator import Access
from edge.dialects.geminivideo import COUNCIL, ENTITY, EVALUATION, RENDER_PROGRESS, progress_of_state, render_of_state
from edge.errors import Problem
from edge.http.body import edge_of, json_answer, read_query
from edge.http.credentials import principal_of
from edge.http.openapi.operation import Answer, operation
from edge.surfaces.agents import START_PROBLEMS, joined_run
from edge.surfaces.client_place import client_place
from edge.surfaces.lives import RunLife, find_life, granted_domains, patterns_of, read_life
from edge.surfaces.surface import CallSurface, Find, Reading, StreamSurface, Surface, SurfaceQuery
from edge.view import Pace
from router.codec import from_json, rfc3339
from router.cursor import Start
from router.errors import BadEvent
from router.subject import Subject

JOB_DOMAINS = ("job", "agent")
# So many readers of this process are named by the statistics.
MAX_NAMED = 100
# A reader that joins late is shown the newest progress, and not all there was.
NEWEST = Pace(conflate=True)


# Renders


async def _render(request: Request) -> Reading | Response:
    job = request.path_params["job"]
    life = await find_life(request, job, JOB_DOMAINS)
    if life is not None:
        return await read_life(request, life, {"run": job})
    # Its address is given out before it begins.
    domains = granted_domains(request, job, JOB_DOMAINS)
    subjects = tuple(pattern for domain in domains for pattern in patterns_of(domain, job))
    return await read_life(request, RunLife(domain=domains[0], name=job), {"run": job}, subjects)


# Entities


def _entity(kind: str, latest: int) -> Find:
    """Reads the events of one type of an entity: for who was not here before, from its last ones on."""

    async def find(request: Request) -> Reading:
        subjects = (str(Subject.of("metric", request.path_params["entity"], kind)),)
        principal_of(request.scope).require_read(*subjects)
        place = await client_place(request, subjects)
        start = Start(last=latest, foreign=place.foreign)
        if place.after is not None:
            start = Start(cursor=edge_of(request).hub.recovery.places.cursor_in(subjects[0], place.after))
        return Reading(subjects=subjects, start=start, types=(kind,))

    return find


# Evaluations: by an agent of this name, which the address starts


class CouncilQuery(SurfaceQuery, frozen=True, kw_only=True):
    """What the council is to score."""

    videoUrl: str
    transcript: str
    features: Annotated[str | None, Meta(description="An object as JSON.")] = None
    userId: str | None = None


class EvaluationQuery(SurfaceQuery, frozen=True, kw_only=True):
    """What is to be evaluated."""

    content: str
    type: str | None = None
    creativeId: str | None = None
    userId: str | None = None


async def _council(request: Request) -> Reading | Response:
    asked = read_query(request, CouncilQuery)
    given = {"videoUrl": asked.videoUrl, "transcript": asked.transcript, "features": _features(asked.features)}
    life = await joined_run(request, "council", given, given)
    return await read_life(request, life, {"run": life.name})


def _features(text: str | None) -> Any:
    if text is None:
        return {}
    try:
        return from_json(text)
    except BadEvent:
        raise Problem("bad_parameter", "features: expected JSON", field="features") from None


async def _evaluation(request: Request) -> Reading | Response:
    asked = read_query(request, EvaluationQuery)
    given = {"content": asked.content, "type": asked.type, "creativeId": asked.creativeId}
    life = await joined_run(request, "evaluation", given, given)
    return await read_life(request, life, {"run": life.name})


# The state of a job, for who still asks for it every two seconds


class JobStatusAnswer(msgspec.Struct, kw_only=True):
    """How far a job is."""

    jobId: str
    status: str
    progress: float
    stage: str
    message: str
    currentFrame: float
    totalFrames: float
    estimatedTimeRemaining: float
    error: str | None
    timestamp: str | None


@operation(
    "Read how far a job is, as the real-time guide's pages asked before they streamed it",
    Answer(200, "The job", JobStatusAnswer),
    problems=("bad_subject", "not_granted", "run_not_found"),
)
async def read_job_status(request: Request) -> Response:
    job = request.path_params["job"]
    life = await find_life(request, job, JOB_DOMAINS)
    if life is None:
        raise Problem("run_not_found", f"no job {job[:60]!r} is known")
    shape = _shape_of(job, life)
    error = life.final.data.get("error") if life.final is not None and life.status == "failed" else None
    over = {"progress": 1.0, "stage": "complete"} if life.status == "completed" else {}
    return json_answer(
        JobStatusAnswer(
            jobId=job,
            status=life.status if life.over else str(shape.get("status") or "processing"),
            progress=over.get("progress", shape.get("progress") or 0),  # type: ignore[arg-type]
            stage=str(over.get("stage", shape.get("stage") or "")),
            message=str(shape.get("message") or ""),
            currentFrame=shape.get("currentFrame") or 0,
            totalFrames=shape.get("totalFrames") or 0,
            estimatedTimeRemaining=0 if life.over else shape.get("estimatedTimeRemaining") or 0,
            error=None if error is None else str(error),
            timestamp=shape.get("timestamp"),
        )
    )


def _shape_of(job: str, life: RunLife) -> Mapping[str, Any]:
    """The last progress of a job: its own, else that of the state that the agent actor keeps of it."""
    for kind in ("video_render_progress", "job_progress", "progress"):
        if (event := life.newest.get(kind)) is not None and ("state" not in life.newest or kind != "progress"):
            return {"timestamp": rfc3339(event.time), **event.data}
    if (state := life.newest.get("state")) is not None:
        return {**progress_of_state(job, state), **render_of_state(job, state)}
    return {}


# Statistics


class ConnectionsAnswer(msgspec.Struct, kw_only=True):
    """The connections of one transport, over all replicas; `clients` are those of the replica that answers, the first 100."""

    totalConnections: int
    totalEvents: Annotated[int, Meta(description="Delivered by all transports.")]
    clients: list[dict[str, Any]]


class ChannelsAnswer(msgspec.Struct, kw_only=True):
    """What the readers of the replica that answers have subscribed to."""

    isConnected: bool
    activeChannels: int
    totalSubscriptions: int
    channels: list[str]


class RealtimeStatsAnswer(msgspec.Struct, kw_only=True):
    """The statistics of the real-time guide."""

    status: Literal["healthy", "degraded"]
    sse: ConnectionsAnswer
    websocket: ConnectionsAnswer
    channels: ChannelsAnswer


@operation("Read the statistics of the real-time guide", Answer(200, "The statistics", RealtimeStatsAnswer))
async def read_realtime_stats(request: Request) -> Response:
    edge = edge_of(request)
    gathered = (await edge.cluster_stats.gather()).values()
    events = sum(stats.delivered for stats in gathered)
    readers = tuple(edge.hub.readers)

    def clients(transport: str) -> list[dict[str, Any]]:
        named = [reader for reader in readers if reader.transport_name == transport]
        return [
            {"session": reader.session_id, "state": reader.state.value, "channels": list(reader.view.patterns)}
            for reader in named[:MAX_NAMED]
        ]

    channels = sorted({pattern for reader in readers for pattern in reader.view.patterns})
    sse, sockets = sum(stats.sses for stats in gathered), sum(stats.websockets for stats in gathered)
    healthy = all(edge.ready.values())
    return json_answer(
        RealtimeStatsAnswer(
            status="healthy" if healthy else "degraded",
            sse=ConnectionsAnswer(totalConnections=sse, totalEvents=events, clients=clients("sse")),
            websocket=ConnectionsAnswer(totalConnections=sockets, totalEvents=events, clients=clients("websocket")),
            channels=ChannelsAnswer(
                isConnected=edge.broker.connection.connected,
                activeChannels=len(channels),
                totalSubscriptions=sum(len(reader.view.patterns) for reader in readers),
                channels=channels[:MAX_NAMED],
            ),
        )
    )


# Whether the server runs


class ServingAnswer(msgspec.Struct):
    """Whether the process can serve; `/readyz` says what is missing."""

    status: Literal["healthy", "degraded"]


@operation(
    "Whether the process can serve, as the guides' readers ask",
    Answer(200, "It can", ServingAnswer),
    Answer(503, "It cannot", ServingAnswer),
)
async def read_health(request: Request) -> Response:
    ready = edge_of(request).readiness["status"] == "ok"
    return json_answer(ServingAnswer("healthy" if ready else "degraded"), 200 if ready else 503)


_OVER = (Answer(204, "It is over and the client has all of it"),)

ROWS: tuple[Surface, ...] = (
    StreamSurface(
        path="/api/stream/render-progress/{job}",
        name="stream_render_progress",
        summary="Stream the progress of a render; `event: complete` or `event: error` is the last",
        dialect=RENDER_PROGRESS,
        find=_render,
        answers=_OVER,
        pace=NEWEST,
    ),
    StreamSurface(
        path="/api/stream/campaign-metrics/{entity}",
        name="stream_campaign_metrics",
        summary="Stream the metrics of a campaign",
        dialect=ENTITY,
        find=_entity("campaign_metrics", 1),
        pace=NEWEST,
    ),
    StreamSurface(
        path="/api/stream/ab-test-results/{entity}",
        name="stream_ab_test_results",
        summary="Stream the results of an A/B test",
        dialect=ENTITY,
        find=_entity("ab_test_result", 20),
        pace=NEWEST,
    ),
    StreamSurface(
        path="/api/stream/council-score",
        name="stream_council_score",
        summary="Have the agent `council` score a transcript, and stream what it thinks",
        dialect=COUNCIL,
        find=_council,
        query=CouncilQuery,
        answers=_OVER,
        problems=(*START_PROBLEMS, "missing_field"),
    ),
    StreamSurface(
        path="/api/stream/evaluate-creative",
        name="stream_creative_evaluation",
        summary="Have the agent `evaluation` evaluate a text, and stream what it says",
        dialect=EVALUATION,
        find=_evaluation,
        query=EvaluationQuery,
        answers=_OVER,
        problems=(*START_PROBLEMS, "missing_field"),
    ),
    CallSurface(path="/api/jobs/{job}/status", handler=read_job_status),
    CallSurface(path="/health", handler=read_health, access=Access.OPEN),
    CallSurface(path="/api/realtime/stats", handler=read_realtime_stats, access=Access.OPERATOR),
)
