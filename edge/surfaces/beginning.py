"""Begins runs of LangGraph's API on threads, of which one at a time goes on: the others are refused, stop it, or wait for its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request

from edge.errors import Problem
from edge.http.body import edge_of
from edge.http.commands import PING_SECONDS, address_of
from edge.http.credentials import principal_of
from edge.http.runs import ask_to_stop
from edge.surfaces.agents import RETRY_AFTER, start_run
from edge.surfaces.conversations import (
    Message,
    added_event,
    as_given,
    given_messages,
    messages_before,
    read_conversation,
    turn_parameters,
    with_ids,
)
from edge.surfaces.joining import until_over
from edge.surfaces.lives import RunLife, find_turns, patterns_of, whole_life
from router.codec import from_json, to_json
from router.errors import NoResponders, Timeout
from router.subject import escape

# 60 s: so long a run waits at the door for the one before it.
ENQUEUE_SECONDS = 60.0
# 15 s, of which a run that is asked to stop may take 10 and more.
INTERRUPT_SECONDS = 15.0
# Between two attempts to begin a run where others are quicker.
PAUSE_SECONDS = 0.1
# New messages of one run.
MAX_GIVEN = 100


class GraphRunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run. Fields that are not named here mean nothing to a run of Callboard, and are passed over."""

    assistant_id: Annotated[str, Meta(min_length=1, max_length=200, description="The agent.")]
    input: Annotated[
        Any, Meta(description="Its fields are given to the agent; `messages` with those of the thread before them.")
    ] = None
    stream_mode: Annotated[
        str | list[str],
        Meta(description="`values messages-tuple messages updates custom tools`; others say nothing."),
    ] = "values"
    multitask_strategy: Annotated[
        Literal["reject", "interrupt", "enqueue"] | None,
        Meta(
            description="Where a run of the thread goes on: 409, stop it first, or wait for its end (`enqueue`, the default)."
        ),
    ] = None
    on_disconnect: Annotated[
        Literal["cancel", "continue"] | None, Meta(description="`cancel`: stop the run where its client leaves.")
    ] = None
    config: Any = None
    context: Any = None
    metadata: Any = None
    command: Any = None
    checkpoint: Any = None
    webhook: Annotated[None, Meta(description="Make a session that is a webhook instead.")] = None
    after_seconds: None = None
    interrupt_before: Annotated[list[str], Meta(max_length=0)] | None = None
    interrupt_after: Annotated[list[str], Meta(max_length=0)] | None = None


async def begin_graph_run(request: Request, thread: str, asked: GraphRunRequest) -> tuple[RunLife, dict[str, str]]:
    """Has an agent begin the next turn of a thread; returns it, and what the dialect begins with. Raises Problem or BrokerError."""
    patterns_of("thread", thread)
    principal_of(request.scope).require_command(address_of(asked.assistant_id, "main", "start"))
    strategy = asked.multitask_strategy or "enqueue"
    deadline = time.monotonic() + (INTERRUPT_SECONDS if strategy == "interrupt" else ENQUEUE_SECONDS)
    while True:
        turns = await _free(request, thread, asked.assistant_id, strategy, deadline)
        try:
            return await _begin_behind(request, thread, asked, turns)
        except Problem as problem:
            # Another one was quicker.
            if problem.code != "busy" or strategy == "reject" or time.monotonic() > deadline:
                raise
        await asyncio.sleep(PAUSE_SECONDS)


async def _begin_behind(
    request: Request, thread: str, asked: GraphRunRequest, turns: Sequence[RunLife]
) -> tuple[RunLife, dict[str, str]]:
    before = messages_before(await read_conversation(request, turns))
    messages = given_messages(asked.input, (from_json(message)["id"] for message in before))
    if len(messages) > MAX_GIVEN:
        raise Problem("bad_body", f"input.messages: at most {MAX_GIVEN} new messages", field="input")
    behind = await edge_of(request).broker.last_place(patterns_of("thread", thread)[0])
    incarnation = await start_run(request, asked.assistant_id, thread, input_of(asked, before, messages))
    given = with_ids(messages, incarnation)
    broker = edge_of(request).broker
    await asyncio.gather(*(broker.publish(added_event(thread, incarnation, message)) for message in given))
    begun = [turn for turn in await find_turns(request, thread) if turn.incarnation == incarnation]
    # An agent that begins it later than it said.
    life = begun[0] if begun else RunLife(domain="thread", name=thread, begin=behind, incarnation=incarnation)
    return life, turn_parameters(life, before, [to_json(message).decode() for message in given])


def input_of(asked: GraphRunRequest, before: Sequence[str], messages: Sequence[Message]) -> dict[str, Any]:
    """What the agent is given: the fields of the input, the messages of the thread, and what else the request has for a graph."""
    given = dict(asked.input) if isinstance(asked.input, Mapping) else {"input": asked.input} if asked.input else {}
    for name in ("config", "context", "metadata", "command", "checkpoint"):
        if (value := getattr(asked, name)) is not None:
            given.setdefault(name, value)
    if before or messages:
        new = ({name: value for name, value in message.items() if name != "id" or value} for message in messages)
        given["messages"] = [as_given(message) for message in (*map(from_json, before), *new)]
    return given


async def _free(request: Request, thread: str, agent: str, strategy: str, deadline: float) -> list[RunLife]:
    """The turns of a thread once none goes on. Raises Problem or BrokerError."""
    while (turns := await find_turns(request, thread)) and not (life := turns[-1]).over:
        left = deadline - time.monotonic()
        if strategy == "reject":
            raise Problem("busy", f"the run {life.incarnation} goes on; its end comes on its stream")
        # Nobody waits, and nothing is stopped, for one that cannot begin.
        await _require_agent(request, agent)
        if strategy == "interrupt":
            await ask_turn_to_stop(request, thread)
        if left <= 0 or not await ends_within(request, life, left):
            raise Problem("busy", f"the run {life.incarnation} still goes on", headers={"Retry-After": "5"})
    return turns


async def _require_agent(request: Request, agent: str) -> None:
    try:
        await edge_of(request).broker.connection.ask(f"$SRV.PING.{escape(agent)}", b"", timeout=PING_SECONDS)
    except (NoResponders, Timeout):
        raise Problem("agent_unavailable", f"no agent {agent!r} serves just now", headers=RETRY_AFTER) from None


async def ask_turn_to_stop(request: Request, thread: str) -> None:
    """Asks for the end of the run of a thread that goes on, if any. Raises Problem or BrokerError."""
    try:
        await ask_to_stop(request, thread, "thread", None)
    except Problem as problem:
        if problem.code != "run_over":
            raise


async def ends_within(request: Request, life: RunLife, seconds: float) -> bool:
    """Waits for the end of a turn. Raises Problem or BrokerError."""
    try:
        async with asyncio.timeout(seconds):
            return await until_over(request, whole_life(request, life, turn_parameters(life, (), ()))) is not None
    except TimeoutError:
        return False
