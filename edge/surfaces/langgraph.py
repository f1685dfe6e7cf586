"""The addresses of runs in LangGraph's API: started on a thread, streamed, joined, waited for, cancelled. A run is a turn of a thread."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from edge.dialects.dialect import Headers
from edge.dialects.langgraph import JOINED, LANGGRAPH
from edge.errors import Problem, read_as
from edge.http.body import json_answer, read_json, read_query
from edge.http.openapi.operation import Answer, operation
from edge.http.runs import STOP_PROBLEMS, ask_to_stop
from edge.surfaces.agents import START_PROBLEMS
from edge.surfaces.beginning import (
    ENQUEUE_SECONDS,
    GraphRunRequest,
    ask_turn_to_stop,
    begin_graph_run,
    ends_within,
)
from edge.surfaces.conversations import messages_before, read_conversation, turn_parameters
from edge.surfaces.joining import joined
from edge.surfaces.lives import RunLife, find_turns, read_life, whole_life
from edge.surfaces.surface import CallSurface, Reading, StreamSurface, Surface, SurfaceQuery
from router.codec import rfc3339

GraphStatus = Literal["pending", "running", "success", "error", "interrupted"]
_STATUSES: Mapping[str, GraphStatus] = {
    "running": "running", "stopping": "running", "completed": "success", "failed": "error", "cancelled": "interrupted",
}  # fmt: skip


class GraphRunAnswer(msgspec.Struct, kw_only=True):
    """A run as LangGraph's clients know it."""

    run_id: str
    thread_id: str
    assistant_id: str
    created_at: str
    updated_at: str
    status: GraphStatus
    metadata: dict[str, Any]
    multitask_strategy: str


class GraphRunsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the runs of a thread, newest first."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 10
    offset: Annotated[int, Meta(ge=0, le=10**9)] = 0
    status: str | None = None


class GraphJoinQuery(SurfaceQuery, frozen=True, kw_only=True):
    """How a run is joined."""

    stream_mode: Annotated[str | None, Meta(description="May occur several times; without it, all but `messages`.")] = (
        None
    )
    cancel_on_disconnect: bool = False


class GraphCancelQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is cancelled. Nothing of it is deleted."""

    wait: Annotated[bool, Meta(description="Answer once it has ended, for a minute at most.")] = False
    action: Literal["interrupt"] = "interrupt"


# Reading


async def _turn(request: Request) -> tuple[RunLife, list[RunLife]]:
    """The run of an address, and the turns before it. Raises Problem."""
    thread, run = request.path_params["thread"], request.path_params["run"]
    turns = await find_turns(request, thread)
    for place, turn in enumerate(turns):
        if turn.incarnation == run:
            return turn, turns[:place]
    raise Problem("run_not_found", f"no run {run[:60]!r} of the thread {thread[:60]!r} is known")


async def _parameters(request: Request, life: RunLife, before: Sequence[RunLife]) -> dict[str, str]:
    said = await read_conversation(request, [*before, life])
    return turn_parameters(life, messages_before(said[:-1]), said[-1].given)


def _addresses(life: RunLife, modes: Iterable[str] = (), way: str = "stream") -> Headers:
    """The headers that tell clients where the run is, and where they come back to."""
    run = f"/threads/{quote(life.name, safe='')}/runs/{quote(life.incarnation or '', safe='')}"
    query = "&".join(f"stream_mode={quote(mode, safe='')}" for mode in modes)
    back = f"{run}/{way}{'?' if query else ''}{query}"
    return ((b"content-location", run.encode()), (b"location", back.encode()))


def _abandoned(request: Request, thread: str) -> Any:
    return lambda: ask_turn_to_stop(request, thread)


async def _stream(request: Request, thread: str) -> Reading | Response:
    asked = read_as(await read_json(request), GraphRunRequest)
    modes = [asked.stream_mode] if isinstance(asked.stream_mode, str) else asked.stream_mode
    life, parameters = await begin_graph_run(request, thread, asked)
    reading = whole_life(request, life, {**parameters, "modes": ",".join(modes)})
    cancels = asked.on_disconnect == "cancel"
    return replace(reading, headers=_addresses(life, modes), abandoned=_abandoned(request, thread) if cancels else None)


async def _stream_on_thread(request: Request) -> Reading | Response:
    return await _stream(request, request.path_params["thread"])


async def _stream_alone(request: Request) -> Reading | Response:
    return await _stream(request, str(uuid.uuid4()))


async def _join(request: Request) -> Reading | Response:
    query = read_query(request, GraphJoinQuery)
    named = [mode for text in request.query_params.getlist("stream_mode") for mode in text.split(",") if mode]
    life, before = await _turn(request)
    parameters = await _parameters(request, life, before)
    reading = await read_life(request, life, {**parameters, "modes": ",".join(named or JOINED)})
    if isinstance(reading, Response):
        # The client has all of it: a stream without events, since its clients take 204 for a fault.
        return Response(b"", media_type="text/event-stream", headers={"Cache-Control": "no-store"})
    cancels = _abandoned(request, life.name) if query.cancel_on_disconnect else None
    return replace(reading, headers=_addresses(life, named), abandoned=cancels)


# Calls


def agent_of(life: RunLife) -> str:
    """The agent of a turn, as far as its start names one."""
    begun = life.start
    said = (begun.data.get("agent") or begun.data.get("name") or begun.source) if begun is not None else None
    return str(said or "agent")


def run_answer(life: RunLife) -> GraphRunAnswer:
    """A turn as a run."""
    begun, final = life.start, life.final
    status = "interrupted" if life.over and final is None else _STATUSES.get(life.status, "success")
    created = rfc3339(begun.time) if begun is not None else ""
    return GraphRunAnswer(
        run_id=life.incarnation or "",
        thread_id=life.name,
        assistant_id=agent_of(life),
        created_at=created,
        updated_at=rfc3339(final.time) if final is not None else created,
        status=status,
        metadata={},
        multitask_strategy="enqueue",
    )


async def _create(request: Request, thread: str) -> Response:
    asked = read_as(await read_json(request), GraphRunRequest)
    life, _ = await begin_graph_run(request, thread, asked)
    headers = {name.decode(): value.decode() for name, value in _addresses(life)}
    if life.start is None:
        # It waits for its turn at the agent.
        now = rfc3339(time.time_ns())
        made = GraphRunAnswer(
            run_id=life.incarnation or "", thread_id=thread, assistant_id=asked.assistant_id, created_at=now,
            updated_at=now, status="pending", metadata={}, multitask_strategy="enqueue",
        )  # fmt: skip
        return json_answer(made, headers=headers)
    return json_answer(run_answer(life), headers=headers)


@operation(
    "Have an agent begin a run on a thread",
    Answer(200, "The run has begun", GraphRunAnswer),
    body=GraphRunRequest,
    problems=("bad_subject", *START_PROBLEMS, *STOP_PROBLEMS),
)
async def create_graph_run(request: Request) -> Response:
    return await _create(request, request.path_params["thread"])


@operation(
    "Have an agent begin a run on a thread of its own",
    Answer(200, "The run has begun; its `thread_id` says where", GraphRunAnswer),
    body=GraphRunRequest,
    problems=START_PROBLEMS,
)
async def create_graph_run_alone(request: Request) -> Response:
    return await _create(request, str(uuid.uuid4()))


async def _wait(request: Request, thread: str) -> ASGIApp:
    asked = read_as(await read_json(request), GraphRunRequest)
    life, parameters = await begin_graph_run(request, thread, asked)
    cancels = _abandoned(request, thread) if asked.on_disconnect == "cancel" else None
    reading = replace(whole_life(request, life, parameters), headers=_addresses(life, way="join"), abandoned=cancels)
    return joined(request, thread, life.incarnation or "", reading)


_VALUES = Answer(
    200, "The values of the thread at the end of the run, with `__error__` where it failed", dict[str, Any]
)


@operation(
    "Run an agent on a thread, and wait for its end",
    _VALUES,
    body=GraphRunRequest,
    problems=("bad_subject", *START_PROBLEMS, *STOP_PROBLEMS),
)
async def wait_graph_run(request: Request) -> ASGIApp:
    return await _wait(request, request.path_params["thread"])


@operation(
    "Run an agent on a thread of its own, and wait for its end", _VALUES, body=GraphRunRequest, problems=START_PROBLEMS
)
async def wait_graph_run_alone(request: Request) -> ASGIApp:
    return await _wait(request, str(uuid.uuid4()))


@operation("Wait for the end of a run", _VALUES, query=GraphJoinQuery, problems=("not_granted", "run_not_found"))
async def join_graph_run(request: Request) -> ASGIApp:
    query = read_query(request, GraphJoinQuery)
    life, before = await _turn(request)
    parameters = await _parameters(request, life, before)
    cancels = _abandoned(request, life.name) if query.cancel_on_disconnect else None
    reading = replace(whole_life(request, life, parameters), headers=_addresses(life, way="join"), abandoned=cancels)
    return joined(request, life.name, life.incarnation or "", reading)


@operation(
    "List the runs of a thread that are still stored, newest first",
    Answer(200, "A page of them", list[GraphRunAnswer]),
    query=GraphRunsQuery,
    problems=("bad_subject", "not_granted"),
)
async def list_graph_runs(request: Request) -> Response:
    asked = read_query(request, GraphRunsQuery)
    turns = await find_turns(request, request.path_params["thread"])
    answers = [run_answer(turn) for turn in reversed(turns)]
    found = [answer for answer in answers if asked.status in (None, answer.status)]
    return json_answer(found[asked.offset : asked.offset + asked.limit])


@operation("Read a run", Answer(200, "The run", GraphRunAnswer), problems=("not_granted", "run_not_found"))
async def read_graph_run(request: Request) -> Response:
    life, _ = await _turn(request)
    return json_answer(run_answer(life))


@operation(
    "Cancel a run",
    Answer(202, "The request is on its way; with `wait`, the run has ended"),
    query=GraphCancelQuery,
    problems=STOP_PROBLEMS,
)
async def cancel_graph_run(request: Request) -> Response:
    asked = read_query(request, GraphCancelQuery)
    life, _ = await _turn(request)
    if life.over:
        raise Problem("run_over", f"the run {life.incarnation} is {life.status}", run_status=life.status)
    await ask_to_stop(request, life.name, "thread", None)
    if asked.wait:
        await ends_within(request, life, ENQUEUE_SECONDS)
    return Response(status_code=202)


_RUNS = "/threads/{thread}/runs"
_RUN = f"{_RUNS}/{{run}}"

ROWS: tuple[Surface, ...] = (
    StreamSurface(
        path=f"{_RUNS}/stream",
        method="POST",
        name="stream_new_graph_run",
        summary="Run an agent on a thread, and stream the run in LangGraph's stream modes",
        dialect=LANGGRAPH,
        find=_stream_on_thread,
        body=GraphRunRequest,
        problems=(*START_PROBLEMS, *STOP_PROBLEMS),
    ),
    StreamSurface(
        path="/runs/stream",
        method="POST",
        name="stream_new_graph_run_alone",
        summary="Run an agent on a thread of its own, and stream the run in LangGraph's stream modes",
        dialect=LANGGRAPH,
        find=_stream_alone,
        body=GraphRunRequest,
        problems=START_PROBLEMS,
    ),
    StreamSurface(
        path=f"{_RUN}/stream",
        name="stream_graph_run",
        summary="Join a run in LangGraph's stream modes, from its beginning or behind Last-Event-ID",
        dialect=LANGGRAPH,
        find=_join,
        query=GraphJoinQuery,
        problems=("run_not_found",),
    ),
    CallSurface(path=f"{_RUNS}/wait", handler=wait_graph_run, method="POST"),
    CallSurface(path=_RUNS, handler=create_graph_run, method="POST"),
    CallSurface(path=_RUNS, handler=list_graph_runs),
    CallSurface(path=_RUN, handler=read_graph_run),
    CallSurface(path=f"{_RUN}/join", handler=join_graph_run),
    CallSurface(path=f"{_RUN}/cancel", handler=cancel_graph_run, method="POST"),
    CallSurface(path="/runs", handler=create_graph_run_alone, method="POST"),
    CallSurface(path="/runs/wait", handler=wait_graph_run_alone, method="POST"),
)
