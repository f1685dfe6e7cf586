"""The addresses of Vercel's AI SDK (`useChat` with its default transport): a chat is a thread, a message of the assistant one turn."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from edge.dialects.ai_sdk import AI_SDK
from edge.errors import Problem, read_as
from edge.http.bodies.runs import RunStop
from edge.http.body import edge_of, json_answer, read_json
from edge.http.openapi.operation import Answer, operation
from edge.http.runs import STOP_PROBLEMS, ask_to_stop
from edge.surfaces.agents import START_PROBLEMS, start_run
from edge.surfaces.lives import RunLife, find_turns, patterns_of, read_life
from edge.surfaces.surface import CallSurface, Reading, StreamSurface, Surface


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What `useChat` posts. All fields are handed to the agent."""

    id: Annotated[str, Meta(min_length=1, max_length=200, description="The chat.")]
    messages: list[Any]
    agent: Annotated[str, Meta(description="The actor that answers.")] = "assistant"


class ChatStopAnswer(msgspec.Struct, kw_only=True):
    """That the agent was asked to stop; the stream says when it has."""

    id: str
    status: str


async def _send(request: Request) -> Reading | Response:
    body = await read_json(request)
    asked = read_as(body, ChatRequest)
    before = await edge_of(request).broker.last_place(patterns_of("thread", asked.id)[0])
    given = {name: value for name, value in body.items() if name not in ("id", "agent")}
    incarnation = await start_run(request, asked.agent, asked.id, given)
    turns = [turn for turn in await find_turns(request, asked.id) if turn.incarnation == incarnation]
    # An agent that begins it later than it said.
    life = turns[0] if turns else RunLife(domain="thread", name=asked.id, begin=before, incarnation=incarnation)
    return await read_life(request, life, {"run": asked.id})


async def _resume(request: Request) -> Reading | Response:
    chat = request.path_params["chat"]
    turns = await find_turns(request, chat)
    if not turns or turns[-1].over:
        return Response(status_code=204)
    return await read_life(request, turns[-1], {"run": chat})


@operation(
    "Ask the agent of a chat to stop",
    Answer(200, "The request is on its way", ChatStopAnswer),
    body=RunStop,
    problems=STOP_PROBLEMS,
)
async def stop_chat(request: Request) -> Response:
    chat = request.path_params["chat"]
    asked = read_as(await read_json(request), RunStop)
    turns = await find_turns(request, chat)
    if not turns:
        raise Problem("run_not_found", f"no chat {chat[:60]!r} is known")
    if turns[-1].over:
        raise Problem("run_over", "nothing runs in this chat", run_status=turns[-1].status)
    said = await ask_to_stop(request, chat, "thread", asked.reason)
    return json_answer(ChatStopAnswer(id=chat, status=said.status))


ROWS: tuple[Surface, ...] = (
    StreamSurface(
        path="/api/chat",
        method="POST",
        name="send_chat",
        summary="Have an agent answer a chat, and stream the message as the AI SDK's UI message stream",
        dialect=AI_SDK,
        find=_send,
        body=ChatRequest,
        problems=START_PROBLEMS,
    ),
    StreamSurface(
        path="/api/chat/{chat}/stream",
        name="resume_chat",
        summary="Stream the message that is being written in a chat, from its beginning",
        dialect=AI_SDK,
        find=_resume,
        answers=(Answer(204, "Nothing is being written"),),
    ),
    CallSurface(path="/api/chat/{chat}/stop", handler=stop_chat, method="POST"),
)
