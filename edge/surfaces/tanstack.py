"""The address of TanStack AI (`fetchServerSentEvents`): a run is begun by POST; by GET a page asks what runs, and joins it.

Its client speaks AG-UI, and comes back by itself behind the last `id:`. Of a page that was loaded anew (`persistence: true`) it asks
`?threadId=`, and joins the run that the answer names by `?runId=`.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from edge.dialects.ag_ui import TANSTACK
from edge.errors import Problem
from edge.http.body import json_answer, read_query
from edge.http.openapi.operation import Answer
from edge.surfaces.ag_ui import Id, RunAgentInput, last_turn, run_agent
from edge.surfaces.agents import START_PROBLEMS
from edge.surfaces.lives import find_turns, read_life
from edge.surfaces.surface import Reading, StreamSurface, Surface, SurfaceQuery

# A thread and a run.
Run = Annotated[str, Meta(min_length=1, max_length=401)]


class JoinQuery(SurfaceQuery, frozen=True, kw_only=True):
    """What TanStack AI asks for: the run that goes on in a thread, or the events of one."""

    threadId: Annotated[Id | None, Meta(description="The thread. Without `runId` the answer is JSON.")] = None
    runId: Annotated[Run | None, Meta(description="`<thread>:<run>`, or a run of `threadId`.")] = None
    offset: Annotated[str | None, Meta(description="Ignored: a run is read from its beginning.")] = None
    limit: Annotated[str | None, Meta(description="Ignored: no transcript is kept.")] = None
    before: Annotated[str | None, Meta(description="As `limit`.")] = None


class ActiveRun(msgspec.Struct, kw_only=True):
    """A run that the client then joins."""

    runId: str


class ThreadHydration(msgspec.Struct, kw_only=True):
    """What a page begins with. `messages` is empty: the answer is in the run, whose events build it."""

    activeRun: ActiveRun | None
    messages: list[Any] = []
    interrupts: None = None


async def _join(request: Request) -> Reading | Response:
    query = read_query(request, JoinQuery)
    if query.runId is None:
        if query.threadId is None:
            raise Problem("bad_parameter", "say which thread (threadId) or which run (runId)")
        return await _hydrate(request, query.threadId)
    thread, colon, run = query.runId.rpartition(":")
    if query.threadId is not None and query.runId != f"{query.threadId}:{run}":
        thread, run = query.threadId, query.runId
    elif not (colon and thread and run):
        raise Problem("run_not_found", f"say which thread (threadId) the run {query.runId[:60]!r} is of")
    turns = [turn for turn in await find_turns(request, thread) if turn.incarnation == run]
    return await read_life(request, last_turn(turns, thread)[0], {"thread": thread})


async def _hydrate(request: Request, thread: str) -> Response:
    """The run that goes on, or the last one where it has an answer."""
    turns = await find_turns(request, thread)
    last = turns[-1] if turns else None
    shown = last is not None and (not last.over or last.status == "completed")
    run = ActiveRun(runId=f"{thread}:{last.incarnation}") if last is not None and shown else None
    return json_answer(ThreadHydration(activeRun=run))


ROWS: tuple[Surface, ...] = (
    StreamSurface(
        path="/tanstack/{agent}",
        method="POST",
        name="run_tanstack",
        summary="Run an agent on a thread for TanStack AI; behind Last-Event-ID its run goes on",
        dialect=TANSTACK,
        find=run_agent,
        body=RunAgentInput,
        answers=(Answer(204, "The run is over and the client has all of it"),),
        problems=(*START_PROBLEMS, "run_not_found"),
    ),
    StreamSurface(
        path="/tanstack/{agent}",
        name="join_tanstack",
        summary="Say what runs in a thread (JSON), or stream a run from its beginning or behind Last-Event-ID, for TanStack AI",
        dialect=TANSTACK,
        find=_join,
        query=JoinQuery,
        answers=(Answer(204, "The run is over and the client has all of it"),),
        problems=("bad_parameter", "run_not_found"),
    ),
)
