"""The address of TanStack AI (`fetchServerSentEvents`): a run is begun by POST; by GET a page asks for its thread, and joins what runs.

Its client speaks AG-UI, and comes back by itself behind the last `id:`. Of a page that was loaded anew (`persistence: true`) it keeps
nothing: it asks `?threadId=` what was said, and joins the run that the answer names by `?runId=`. So what the user says is kept with
the turn that it began.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from edge.dialects.ag_ui import TANSTACK
from edge.dialects.langgraph import message_of
from edge.errors import Problem
from edge.http.body import edge_of, json_answer, read_query
from edge.http.openapi.operation import Answer
from edge.surfaces.ag_ui import Id, RunAgentInput, last_turn, run_agent
from edge.surfaces.agents import START_PROBLEMS
from edge.surfaces.conversations import added_event, read_conversation, with_ids
from edge.surfaces.lives import find_turns, read_life
from edge.surfaces.surface import Reading, StreamSurface, Surface, SurfaceQuery
from router.codec import from_json

# Of what the user says at once; more than a person does.
MAX_KEPT = 20
# A thread and a run.
Run = Annotated[str, Meta(min_length=1, max_length=401)]


class JoinQuery(SurfaceQuery, frozen=True, kw_only=True):
    """What TanStack AI asks for: the run that goes on in a thread, or the events of one."""

    threadId: Annotated[Id | None, Meta(description="The thread. Without `runId` the answer is JSON.")] = None
    runId: Annotated[Run | None, Meta(description="`<thread>:<run>`, or a run of `threadId`.")] = None
    offset: Annotated[str | None, Meta(description="Ignored: a run is read from its beginning.")] = None
    limit: Annotated[str | None, Meta(description="Ignored: the last 50 turns are told.")] = None
    before: Annotated[str | None, Meta(description="As `limit`.")] = None


class ActiveRun(msgspec.Struct, kw_only=True):
    """A run that the client then joins."""

    runId: str


class TextPart(msgspec.Struct, kw_only=True, tag_field="type", tag="text"):
    """A text of a message."""

    content: str


class UIMessage(msgspec.Struct, kw_only=True):
    """A message that has texts."""

    id: str
    role: Literal["user", "assistant", "system"]
    parts: list[TextPart]


class ThreadHydration(msgspec.Struct, kw_only=True):
    """What a page begins with. What the run that goes on says is not in `messages`: its events build it."""

    messages: list[UIMessage]
    activeRun: ActiveRun | None
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
    turns = await find_turns(request, thread)
    said = await read_conversation(request, turns)
    told = [from_json(each) for turn in said for each in (*turn.given, *(turn.made if turn.life.over else ()))]
    active = ActiveRun(runId=f"{thread}:{turns[-1].incarnation}") if turns and not turns[-1].over else None
    return json_answer(ThreadHydration(messages=[made for each in told if (made := _shown(each))], activeRun=active))


_ROLES: Mapping[Any, Literal["user", "assistant", "system"]] = {
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "system": "system",
}


def _shown(message: Mapping[str, Any]) -> UIMessage | None:
    """A message as the client has it; None where there is no text to show."""
    role, content = _ROLES.get(message.get("type")), message.get("content")
    said = [content] if isinstance(content, str) else content if isinstance(content, list) else []
    texts = [each.get("text") if isinstance(each, Mapping) else each for each in said]
    parts = [TextPart(content=text) for text in texts if isinstance(text, str) and text]
    return UIMessage(id=str(message.get("id")), role=role, parts=parts) if role and parts else None


async def _keep(request: Request, thread: str, turn: str, messages: list[Any]) -> None:
    """Keeps what the user has said since the last answer. Raises BrokerError."""
    new: list[Any] = []
    for each in reversed(messages):
        if not isinstance(each, Mapping) or each.get("role") != "user":
            break
        new.append(message_of({name: each[name] for name in ("id", "role", "content") if name in each}, ""))
    broker = edge_of(request).broker
    for message in with_ids(reversed(new[:MAX_KEPT]), turn):
        await broker.publish(added_event(thread, turn, message))


async def _run(request: Request) -> Reading | Response:
    return await run_agent(request, _keep)


ROWS: tuple[Surface, ...] = (
    StreamSurface(
        path="/tanstack/{agent}",
        method="POST",
        name="run_tanstack",
        summary="Run an agent on a thread for TanStack AI; behind Last-Event-ID its run goes on",
        dialect=TANSTACK,
        find=_run,
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
