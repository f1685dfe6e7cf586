"""The addresses of AG-UI: an agent is run by POST, as its `HttpAgent` does, and a run is joined by GET; a run is a turn of a thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from edge.dialects.ag_ui import AG_UI
from edge.errors import Problem, read_as
from edge.http.bodies.runs import RunStop
from edge.http.body import edge_of, json_answer, read_json
from edge.http.openapi.operation import Answer, operation
from edge.http.runs import STOP_PROBLEMS, ask_to_stop
from edge.surfaces.agents import START_PROBLEMS, start_run
from edge.surfaces.lives import RunLife, find_turns, patterns_of, read_life
from edge.surfaces.surface import CallSurface, Reading, StreamSurface, Surface
from edge.transports.sse import last_event_id

Id = Annotated[str, Meta(min_length=1, max_length=200)]


class RunAgentInput(msgspec.Struct, frozen=True, kw_only=True):
    """What an AG-UI client posts. All fields are handed to the agent."""

    threadId: Id
    runId: Id
    messages: list[Any] = []
    state: Any = None


class AgUiStopAnswer(msgspec.Struct, kw_only=True):
    """That the agent was asked to stop; the stream says when it has."""

    threadId: str
    runId: str | None
    status: str


# Given the thread, the turn and the messages of a run that has begun.
Keep = Callable[[Request, str, str, list[Any]], Awaitable[None]]


async def run_agent(request: Request, keep: Keep | None = None) -> Reading | Response:
    """Begins a run, or joins the one that was begun by the same request. Raises Problem or BrokerError."""
    body = await read_json(request)
    asked = read_as(body, RunAgentInput)
    patterns = patterns_of("thread", asked.threadId)
    parameters = {"thread": asked.threadId, "run": asked.runId}
    turns = await find_turns(request, asked.threadId)
    same = [turn for turn in turns if turn.incarnation == asked.runId]
    if last_event_id(request) or (same and not same[-1].over):
        # A client whose connection was cut repeats its request: it joins, and never starts twice.
        return await read_life(request, (same or last_turn(turns, asked.threadId))[-1], parameters)
    before = await edge_of(request).broker.last_place(patterns[0])
    incarnation = await start_run(
        # All that read the run call it as this client does, but one whose ids are not unique.
        request, request.path_params["agent"], asked.threadId, body, incarnation=None if same else asked.runId
    )  # fmt: skip
    if keep is not None:
        await keep(request, asked.threadId, incarnation, asked.messages)
    turns = [turn for turn in await find_turns(request, asked.threadId) if turn.incarnation == incarnation]
    life = turns[0] if turns else RunLife(domain="thread", name=asked.threadId, begin=before, incarnation=incarnation)
    return await read_life(request, life, parameters)


async def _join(request: Request) -> Reading | Response:
    thread = request.path_params["thread"]
    turns = last_turn(await find_turns(request, thread), thread)
    return await read_life(request, turns[-1], {"thread": thread})


def last_turn(turns: list[RunLife], thread: str) -> list[RunLife]:
    """The last turn alone. Raises Problem where there is none."""
    if not turns:
        raise Problem("run_not_found", f"no run of the thread {thread[:60]!r} is known")
    return turns[-1:]


@operation(
    "Ask the agent of an AG-UI thread to stop: its run finishes with a CUSTOM event `cancelled`",
    Answer(200, "The request is on its way", AgUiStopAnswer),
    body=RunStop,
    problems=STOP_PROBLEMS,
)
async def stop_thread(request: Request) -> Response:
    thread = request.path_params["thread"]
    asked = read_as(await read_json(request), RunStop)
    (turn,) = last_turn(await find_turns(request, thread), thread)
    if turn.over:
        raise Problem("run_over", "nothing runs in this thread", run_status=turn.status)
    said = await ask_to_stop(request, thread, "thread", asked.reason)
    return json_answer(AgUiStopAnswer(threadId=thread, runId=turn.incarnation, status=said.status))


ROWS: tuple[Surface, ...] = (
    StreamSurface(
        path="/ag-ui/{agent}",
        method="POST",
        name="run_ag_ui",
        summary="Run an agent on a thread, and stream the run as AG-UI events",
        dialect=AG_UI,
        find=run_agent,
        body=RunAgentInput,
        answers=(Answer(204, "The run is over and the client has all of it"),),
        problems=(*START_PROBLEMS, "run_not_found"),
    ),
    StreamSurface(
        path="/ag-ui/threads/{thread}",
        name="join_ag_ui",
        summary="Join the last run of a thread as AG-UI events, from its beginning or behind Last-Event-ID",
        dialect=AG_UI,
        find=_join,
        answers=(Answer(204, "The run is over and the client has all of it"),),
        problems=("run_not_found",),
    ),
    CallSurface(path="/ag-ui/threads/{thread}/stop", handler=stop_thread, method="POST"),
)
