"""The addresses of assistants in LangGraph's API: an assistant is an agent that serves, and may be started."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from edge.errors import Problem, read_as
from edge.http.body import edge_of, json_answer, read_json
from edge.http.credentials import principal_of
from edge.http.openapi.operation import Answer, operation
from edge.surfaces.surface import CallSurface, Surface
from router.codec import from_json, rfc3339
from router.errors import BadEvent, NoResponders, Timeout
from router.subject import escape
from router.version import VERSION

# So long the agents have to say that they are there.
SEARCH_SECONDS = 0.3
FIND_SECONDS = 1.0
MAX_ASSISTANTS = 1000


class AssistantAnswer(msgspec.Struct, kw_only=True):
    """An agent that serves; nothing is known of its age."""

    assistant_id: str
    graph_id: str
    name: str
    description: str
    created_at: str
    updated_at: str
    version: int
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]


class AssistantSearch(msgspec.Struct, frozen=True, kw_only=True):
    """Which assistants, in pages, by their names."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 10
    offset: Annotated[int, Meta(ge=0, le=10**9)] = 0
    graph_id: str | None = None
    name: str | None = None


class AssistantGraph(msgspec.Struct):
    """What clients may draw: an agent, and the tools that it uses."""

    nodes: list[dict[str, Any]]
    edges: list[dict[str, Any]]


class AssistantSchemas(msgspec.Struct, kw_only=True):
    """Nothing is known of what an agent takes and gives."""

    graph_id: str
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    state_schema: dict[str, Any] | None = None
    config_schema: dict[str, Any] | None = None
    context_schema: dict[str, Any] | None = None


class GraphInfoAnswer(msgspec.Struct):
    """What serves the API."""

    version: str
    server: str = "callboard"


@operation(
    "List the agents that serve",
    Answer(200, "A page of them, by name", list[AssistantAnswer]),
    body=AssistantSearch,
)
async def search_assistants(request: Request) -> Response:
    asked = read_as(await read_json(request), AssistantSearch)
    names = [name for name in (asked.graph_id, asked.name) if name is not None]
    found = {each.name: each for each in await _serving(request) if all(each.name == name for name in names)}
    page = [found[name] for name in sorted(found)][asked.offset : asked.offset + asked.limit]
    return json_answer(page)


_PROBLEMS = ("not_granted", "assistant_not_found")


@operation("Read an agent that serves", Answer(200, "The agent", AssistantAnswer), problems=_PROBLEMS)
async def read_assistant(request: Request) -> Response:
    return json_answer(await _named(request))


@operation("Read the graph of an agent that serves", Answer(200, "The graph", AssistantGraph), problems=_PROBLEMS)
async def read_assistant_graph(request: Request) -> Response:
    await _named(request)
    nodes = [{"id": name, "type": "runnable", "data": {"id": [name], "name": name}} for name in _NODES]
    return json_answer(AssistantGraph(nodes, [{"source": one, "target": other} for one, other in _EDGES]))


@operation("Read the schemas of an agent that serves", Answer(200, "The schemas", AssistantSchemas), problems=_PROBLEMS)
async def read_assistant_schemas(request: Request) -> Response:
    return json_answer(AssistantSchemas(graph_id=(await _named(request)).name))


# As `langgraph_node` of messages says it.
_NODES = ("__start__", "agent", "tools", "__end__")
_EDGES = (("__start__", "agent"), ("agent", "tools"), ("tools", "agent"), ("agent", "__end__"))


async def _named(request: Request) -> AssistantAnswer:
    """The agent of an address. Raises Problem or BrokerError."""
    name = request.path_params["assistant"]
    try:
        reply = await edge_of(request).broker.connection.ask(f"$SRV.INFO.{escape(name)}", b"", timeout=FIND_SECONDS)
        found = _assistant(request, from_json(reply.payload))
    except (NoResponders, Timeout, BadEvent):
        found = None
    if found is None:
        raise Problem("assistant_not_found", f"no agent {name[:60]!r} serves just now that you may start")
    return found


async def _serving(request: Request) -> list[AssistantAnswer]:
    """The agents that answer in time, and that the principal may start."""
    connection = edge_of(request).broker.connection
    found: list[AssistantAnswer] = []

    def answered(_subject: str, _reply: str, payload: bytes, _raw: bytes) -> None:
        try:
            made = _assistant(request, from_json(payload))
        except BadEvent:
            return
        if made is not None and len(found) < MAX_ASSISTANTS:
            found.append(made)

    inbox = connection.expect(answered)
    try:
        await connection.send("$SRV.INFO", b"", reply=inbox)
        await asyncio.sleep(SEARCH_SECONDS)
    finally:
        connection.forget(inbox)
    return found


def _assistant(request: Request, told: Any) -> AssistantAnswer | None:
    """The agent that a service is; None where it is none that may be started."""
    name = told.get("name") if isinstance(told, dict) else None
    endpoints = told.get("endpoints") if isinstance(told, dict) else None
    if not isinstance(name, str) or not isinstance(endpoints, list):
        return None
    start = f"cmd.{name}.main.start"
    if not any(isinstance(each, dict) and each.get("subject") == start for each in endpoints):
        return None
    if not principal_of(request.scope).grants.may_command(start.removeprefix("cmd.")):
        return None
    now = rfc3339(time.time_ns())
    return AssistantAnswer(
        assistant_id=name, graph_id=name, name=name, description=str(told.get("description") or ""), created_at=now,
        updated_at=now, version=1, config={}, context={}, metadata={},
    )  # fmt: skip


@operation("Say what serves this API", Answer(200, "Its name and version", GraphInfoAnswer), store=False)
async def read_graph_info(_request: Request) -> Response:
    return json_answer(GraphInfoAnswer(VERSION))


ROWS: tuple[Surface, ...] = (
    CallSurface(path="/assistants/search", handler=search_assistants, method="POST"),
    CallSurface(path="/assistants/{assistant}", handler=read_assistant),
    CallSurface(path="/assistants/{assistant}/graph", handler=read_assistant_graph),
    CallSurface(path="/assistants/{assistant}/schemas", handler=read_assistant_schemas),
    CallSurface(path="/info", handler=read_graph_info),
)
