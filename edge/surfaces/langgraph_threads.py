"""The addresses of threads in LangGraph's API, as far as its clients need them to start, to show and to resume.

A thread is its runs: nothing is stored before the first one, so any id that may be read is that of a thread, and only its runs make it
something that can be listed. A checkpoint is the end of a run.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from edge.dialects.langgraph import error_of
from edge.errors import Problem, read_as
from edge.http.body import edge_of, json_answer, read_json
from edge.http.credentials import principal_of
from edge.http.openapi.operation import Answer, operation
from edge.surfaces.conversations import SaidTurn, messages_before, read_conversation
from edge.surfaces.langgraph import agent_of
from edge.surfaces.lives import RunLife, find_turns
from edge.surfaces.surface import CallSurface, Surface
from router.codec import from_json, rfc3339
from router.subject import unescape

# 500 states are decoded in a few milliseconds; then others have their turn.
AT_ONCE = 500

GraphThreadStatus = Literal["idle", "busy", "interrupted", "error"]
_STATUSES: Mapping[str, GraphThreadStatus] = {"running": "busy", "stopping": "busy", "failed": "error"}

Limit = Annotated[int, Meta(ge=1, le=1000)]
Offset = Annotated[int, Meta(ge=0, le=10**9)]


class GraphThreadRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A thread that is to be. Of its fields only the id is kept."""

    thread_id: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None
    supersteps: Annotated[list[Any], Meta(max_length=0)] | None = None


class GraphThreadAnswer(msgspec.Struct, kw_only=True):
    """A thread. `values` are null in lists."""

    thread_id: str
    created_at: str
    updated_at: str
    state_updated_at: str
    metadata: dict[str, Any]
    status: GraphThreadStatus
    values: dict[str, Any] | None
    interrupts: dict[str, Any]
    config: dict[str, Any]
    error: str | None


class GraphCheckpoint(msgspec.Struct, kw_only=True):
    """The end of a run, or where it is now."""

    thread_id: str
    checkpoint_id: str
    checkpoint_ns: str = ""
    checkpoint_map: dict[str, Any] | None = None


class GraphTask(msgspec.Struct, kw_only=True):
    """What a run that failed came to."""

    id: str
    name: str
    error: str
    interrupts: list[Any] = []
    checkpoint: None = None
    state: None = None
    result: None = None


class GraphStateAnswer(msgspec.Struct, kw_only=True):
    """The state of a thread at a checkpoint; of one without runs it is empty."""

    values: dict[str, Any]
    next: list[str]
    checkpoint: GraphCheckpoint | None
    metadata: dict[str, Any]
    created_at: str | None
    parent_checkpoint: GraphCheckpoint | None
    tasks: list[GraphTask]
    interrupts: list[Any]


class GraphHistoryRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the states of a thread, newest first."""

    limit: Limit = 10
    before: Annotated[Any, Meta(description="A checkpoint, or its id: only those before it.")] = None


class GraphCheckpointRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which state."""

    checkpoint: dict[str, Any]


class GraphThreadSearch(msgspec.Struct, frozen=True, kw_only=True):
    """Which threads, in pages; those heard of last come first."""

    limit: Limit = 10
    offset: Offset = 0
    status: str | None = None
    metadata: Annotated[
        dict[str, Any] | None, Meta(description="`graph_id` or `assistant_id`: only threads of this agent.")
    ] = None
    ids: list[str] | None = None


# States


def _checkpoint(life: RunLife) -> GraphCheckpoint:
    return GraphCheckpoint(thread_id=life.name, checkpoint_id=life.incarnation or "")


def _values(said: Sequence[SaidTurn]) -> dict[str, Any]:
    values: dict[str, Any] = {"messages": [from_json(message) for message in messages_before(said)]}
    if said and said[-1].result is not None:
        values["result"] = from_json(said[-1].result)
    return values


def _state(said: Sequence[SaidTurn]) -> GraphStateAnswer:
    """The state behind the last of some turns."""
    if not said:
        return GraphStateAnswer(
            values={}, next=[], checkpoint=None, metadata={}, created_at=None, parent_checkpoint=None, tasks=[],
            interrupts=[],
        )  # fmt: skip
    life = said[-1].life
    event = life.final or life.start
    error = _error(life)
    return GraphStateAnswer(
        values=_values(said),
        next=[],
        checkpoint=_checkpoint(life),
        metadata={"run_id": life.incarnation, "step": len(said), "source": "loop"},
        created_at=None if event is None else rfc3339(event.time),
        parent_checkpoint=_checkpoint(said[-2].life) if len(said) > 1 else None,
        tasks=[GraphTask(id=life.incarnation or "", name=agent_of(life), error=error)] if error else [],
        interrupts=[],
    )


def _error(life: RunLife) -> str | None:
    if life.final is None or life.status != "failed":
        return None
    error = error_of(life.final.data)
    return f"{error['error']}: {error['message']}"


async def _conversation(request: Request) -> list[SaidTurn]:
    return await read_conversation(request, await find_turns(request, request.path_params["thread"]))


def _upto(said: list[SaidTurn], thread: str, checkpoint: object) -> list[SaidTurn]:
    for place, turn in enumerate(said, 1):
        if turn.life.incarnation == checkpoint:
            return said[:place]
    raise Problem("run_not_found", f"the thread {thread[:60]!r} has no checkpoint {str(checkpoint)[:60]!r}")


_STATE = Answer(200, "The state", GraphStateAnswer)


@operation("Read the state of a thread", _STATE, problems=("bad_subject", "not_granted"))
async def read_graph_state(request: Request) -> Response:
    return json_answer(_state(await _conversation(request)))


@operation(
    "Read the state of a thread behind one of its runs",
    _STATE,
    problems=("bad_subject", "not_granted", "run_not_found"),
)
async def read_graph_checkpoint(request: Request) -> Response:
    thread, checkpoint = request.path_params["thread"], request.path_params["checkpoint"]
    return json_answer(_state(_upto(await _conversation(request), thread, checkpoint)))


@operation(
    "The same, with the checkpoint in the body",
    _STATE,
    body=GraphCheckpointRequest,
    problems=("bad_subject", "not_granted", "run_not_found"),
)
async def find_graph_checkpoint(request: Request) -> Response:
    asked = read_as(await read_json(request), GraphCheckpointRequest)
    said = await _conversation(request)
    checkpoint = asked.checkpoint.get("checkpoint_id")
    return json_answer(_state(said if checkpoint is None else _upto(said, request.path_params["thread"], checkpoint)))


@operation(
    "List the states of a thread behind each of its runs, newest first",
    Answer(200, "A page of them", list[GraphStateAnswer]),
    body=GraphHistoryRequest,
    problems=("bad_subject", "not_granted", "run_not_found"),
)
async def list_graph_states(request: Request) -> Response:
    asked = read_as(await read_json(request), GraphHistoryRequest)
    said = await _conversation(request)
    before = asked.before
    if isinstance(before, Mapping):
        inner = before.get("configurable")
        before = (inner if isinstance(inner, Mapping) else before).get("checkpoint_id")
    if before is not None:
        said = _upto(said, request.path_params["thread"], before)[:-1]
    first = max(0, len(said) - asked.limit)
    return json_answer([_state(said[:place]) for place in range(len(said), first, -1)])


# Threads


@operation(
    "Name a thread; it is stored with its first run",
    Answer(200, "The thread", GraphThreadAnswer),
    body=GraphThreadRequest,
    problems=("bad_subject", "not_granted", "thread_exists"),
)
async def create_graph_thread(request: Request) -> Response:
    asked = read_as(await read_json(request), GraphThreadRequest)
    thread = asked.thread_id or str(uuid.uuid4())
    turns = await find_turns(request, thread)
    if turns and asked.if_exists != "do_nothing":
        raise Problem("thread_exists", f"the thread {thread[:60]!r} has runs")
    return json_answer(await _thread(request, thread, turns))


@operation("Read a thread", Answer(200, "The thread", GraphThreadAnswer), problems=("bad_subject", "not_granted"))
async def read_graph_thread(request: Request) -> Response:
    thread = request.path_params["thread"]
    return json_answer(await _thread(request, thread, await find_turns(request, thread)))


async def _thread(request: Request, thread: str, turns: Sequence[RunLife]) -> GraphThreadAnswer:
    if not turns:
        now = rfc3339(time.time_ns())
        return _thread_answer(thread, now, now, {}, "idle")
    last = turns[-1]
    begun, event = turns[0].start, last.final or last.start
    assert begun is not None and event is not None
    agent = agent_of(last)
    answer = _thread_answer(
        thread, rfc3339(begun.time), rfc3339(event.time), _of_agent(agent), _STATUSES.get(last.status, "idle")
    )
    answer.values = _values(await read_conversation(request, turns))
    answer.error = _error(last)
    return answer


def _thread_answer(
    thread: str, created: str, updated: str, metadata: dict[str, Any], status: GraphThreadStatus
) -> GraphThreadAnswer:
    return GraphThreadAnswer(
        thread_id=thread, created_at=created, updated_at=updated, state_updated_at=updated, metadata=metadata,
        status=status, values=None, interrupts={}, config={}, error=None,
    )  # fmt: skip


def _of_agent(agent: str) -> dict[str, Any]:
    return {"graph_id": agent, "assistant_id": agent}


@operation(
    "List the threads that had runs",
    Answer(200, "A page of them, without values", list[GraphThreadAnswer]),
    body=GraphThreadSearch,
)
async def search_graph_threads(request: Request) -> Response:
    asked = read_as(await read_json(request), GraphThreadSearch)
    grants = principal_of(request.scope).grants
    records = await edge_of(request).broker.latest(["thread.*.state"])
    found: list[GraphThreadAnswer] = []
    for at in range(0, len(records), AT_ONCE):
        for record in records[at : at + AT_ONCE]:
            if record.event is not None and grants.may_read(record.subject):
                data, when = record.event.data, rfc3339(record.event.time)
                answer = _thread_answer(
                    unescape(record.event.subject.entity),
                    str(data.get("started") or when),
                    str(data.get("updated") or when),
                    _of_agent(str(data.get("name") or "agent")),
                    _STATUSES.get(str(data.get("status")), "idle"),
                )
                answer.error = data["error"] if isinstance(data.get("error"), str) else None
                if _is_asked(answer, asked):
                    found.append(answer)
        await asyncio.sleep(0)
    found.sort(key=lambda each: each.updated_at, reverse=True)
    return json_answer(found[asked.offset : asked.offset + asked.limit])


def _is_asked(thread: GraphThreadAnswer, asked: GraphThreadSearch) -> bool:
    return (
        asked.status in (None, thread.status)
        and (asked.ids is None or thread.thread_id in asked.ids)
        and all(
            thread.metadata.get(name) == value for name, value in (asked.metadata or {}).items() if value is not None
        )
    )


_THREAD = "/threads/{thread}"

ROWS: tuple[Surface, ...] = (
    CallSurface(path="/threads", handler=create_graph_thread, method="POST"),
    CallSurface(path="/threads/search", handler=search_graph_threads, method="POST"),
    CallSurface(path=_THREAD, handler=read_graph_thread),
    CallSurface(path=f"{_THREAD}/state", handler=read_graph_state),
    CallSurface(path=f"{_THREAD}/state/checkpoint", handler=find_graph_checkpoint, method="POST"),
    CallSurface(path=f"{_THREAD}/state/{{checkpoint}}", handler=read_graph_checkpoint),
    CallSurface(path=f"{_THREAD}/history", handler=list_graph_states, method="POST"),
)
