"""The addresses of the agent-run streaming guide: runs, threads, their streams, stop and start.

A run of the guide is a run of the domains agent, job or thread, or one turn of a thread, `<thread>:<incarnation>`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from edge.dialects.agent_run import AGENT_RUN
from edge.errors import Problem, read_as
from edge.http.bodies.runs import RunStop
from edge.http.body import json_answer, read_json
from edge.http.openapi.operation import Answer, operation
from edge.http.runs import STOP_PROBLEMS, ask_to_stop
from edge.surfaces.agents import START_PROBLEMS, start_run
from edge.surfaces.lives import RunLife, find_life, find_turns, patterns_of, read_life, unknown_run
from edge.surfaces.surface import CallSurface, Reading, StreamSurface, Surface
from router.codec import rfc3339
from router.event import Event

RunStatus = Literal["running", "stopping", "completed", "failed", "stopped"]


class AgentRunAnswer(msgspec.Struct, kw_only=True):
    """A run as the guide's clients know it."""

    id: str
    threadId: str
    status: RunStatus
    startedAt: str | None
    completedAt: str | None
    error: str | None


class ThreadRun(msgspec.Struct, kw_only=True):
    """A turn of a thread; its `id` is that of `/agent-run/{id}`."""

    id: str
    thread_id: str
    status: RunStatus
    started_at: str | None
    completed_at: str | None
    error: str | None


class ThreadRunsAnswer(msgspec.Struct):
    """The turns of a thread that are still stored, newest first."""

    agent_runs: list[ThreadRun]


class ThreadInfoAnswer(msgspec.Struct, kw_only=True):
    """A thread, and its last turn."""

    thread_id: str
    status: RunStatus
    agent_run_id: Annotated[str, Meta(description="The last turn.")]
    startedAt: str | None
    completedAt: str | None
    error: str | None


class AgentStart(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent is to do. All other fields are handed to it, too."""

    agent: Annotated[str, Meta(description="The actor that serves as the agent; its command `start` is given.")] = (
        "assistant"
    )


class AgentStartedAnswer(msgspec.Struct, kw_only=True):
    """The turn that has begun."""

    agent_run_id: str
    thread_id: str
    status: Literal["running"]


class AgentStopAnswer(msgspec.Struct, kw_only=True):
    """That the producer was asked to stop; the stream says when it has."""

    id: str
    status: str


async def _of_run(request: Request) -> Reading | Response:
    life = await _life(request, request.path_params["run"])
    return await read_life(request, life, {"run": _id_of(life), "thread": _thread_of(life)})


async def _life(request: Request, name: str) -> RunLife:
    life = await find_life(request, name)
    if life is None:
        raise unknown_run(name)
    return life


def _id_of(life: RunLife) -> str:
    return life.name if life.incarnation is None else f"{life.name}:{life.incarnation}"


def _thread_of(life: RunLife) -> str:
    said: Any = None
    if life.start is not None:
        said = life.start.data.get("threadId") or life.start.data.get("thread_id")
    return said if isinstance(said, str) and said else life.name


def _status_of(life: RunLife) -> RunStatus:
    status = life.status
    if status in ("running", "stopping", "completed", "failed"):
        return status  # type: ignore[return-value]
    return "stopped"


def _time_of(event: Event | None) -> str | None:
    return None if event is None else rfc3339(event.time)


def _error_of(life: RunLife) -> str | None:
    if life.status != "failed":
        return None
    said = (life.final.data.get("error") or life.final.data.get("message")) if life.final is not None else None
    return str(said) if said else "the run failed"


@operation(
    "Read a run as the agent-run guide's clients know it",
    Answer(200, "The run", AgentRunAnswer),
    problems=("bad_subject", "not_granted", "run_not_found"),
)
async def read_agent_run(request: Request) -> Response:
    life = await _life(request, request.path_params["run"])
    return json_answer(
        AgentRunAnswer(
            id=_id_of(life),
            threadId=_thread_of(life),
            status=_status_of(life),
            startedAt=_time_of(life.start),
            completedAt=_time_of(life.final),
            error=_error_of(life),
        )
    )


@operation(
    "Ask the producer of a run to stop it",
    Answer(200, "The request is on its way", AgentStopAnswer),
    body=RunStop,
    problems=STOP_PROBLEMS,
)
async def stop_agent_run(request: Request) -> Response:
    asked = read_as(await read_json(request), RunStop)
    life = await _life(request, request.path_params["run"])
    if life.over:
        raise Problem("run_over", f"the run {_id_of(life)[:60]!r} is {life.status}", run_status=life.status)
    said = await ask_to_stop(request, life.name, life.domain, asked.reason)
    return json_answer(AgentStopAnswer(id=_id_of(life), status=said.status))


@operation(
    "Read a thread and its last turn",
    Answer(200, "The thread", ThreadInfoAnswer),
    problems=("bad_subject", "not_granted", "run_not_found"),
)
async def read_thread(request: Request) -> Response:
    thread = request.path_params["thread"]
    turns = await find_turns(request, thread)
    life = turns[-1] if turns else await find_life(request, thread, ("thread",))
    if life is None:
        raise Problem("run_not_found", f"no thread {thread[:60]!r} is known")
    return json_answer(
        ThreadInfoAnswer(
            thread_id=thread,
            status=_status_of(life),
            agent_run_id=_id_of(life),
            startedAt=_time_of(life.start),
            completedAt=_time_of(life.final),
            error=_error_of(life),
        )
    )


@operation(
    "List the turns of a thread", Answer(200, "Its turns", ThreadRunsAnswer), problems=("bad_subject", "not_granted")
)
async def list_thread_runs(request: Request) -> Response:
    thread = request.path_params["thread"]
    runs = [
        ThreadRun(
            id=_id_of(life),
            thread_id=thread,
            status=_status_of(life),
            started_at=_time_of(life.start),
            completed_at=_time_of(life.final),
            error=_error_of(life),
        )
        for life in reversed(await find_turns(request, thread))
    ]
    return json_answer(ThreadRunsAnswer(runs))


@operation(
    "Start an agent on a thread: its turn is the thread's next life",
    Answer(200, "The turn has begun; its events come by `/agent-run/{id}/stream`", AgentStartedAnswer),
    body=AgentStart,
    problems=("bad_subject", *START_PROBLEMS),
)
async def start_agent(request: Request) -> Response:
    thread = request.path_params["thread"]
    patterns_of("thread", thread)
    body = await read_json(request)
    asked = read_as(body, AgentStart)
    given = {name: value for name, value in body.items() if name != "agent"}
    incarnation = await start_run(request, asked.agent, thread, given)
    return json_answer(AgentStartedAnswer(agent_run_id=f"{thread}:{incarnation}", thread_id=thread, status="running"))


ROWS: tuple[Surface, ...] = (
    StreamSurface(
        path="/agent-run/{run}/stream",
        name="stream_agent_run",
        summary="Stream a run as the agent-run guide has it; the stream ends with the run",
        dialect=AGENT_RUN,
        find=_of_run,
        answers=(Answer(204, "The run is over and the client has all of it"),),
        problems=("run_not_found",),
    ),
    CallSurface(path="/agent-run/{run}", handler=read_agent_run),
    CallSurface(path="/agent-run/{run}/stop", handler=stop_agent_run, method="POST"),
    CallSurface(path="/thread/{thread}", handler=read_thread),
    CallSurface(path="/thread/{thread}/agent-runs", handler=list_thread_runs),
    CallSurface(path="/thread/{thread}/agent/start", handler=start_agent, method="POST"),
)
