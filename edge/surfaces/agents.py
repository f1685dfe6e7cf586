"""Starts runs of agents: by the command `start` of the actor that has the agent's name.

The actor is given `{run, domain, incarnation, input}`, begins the run (`workflow_start`), under this incarnation or one of its own, which
its answer then names, and answers once that is stored: `{incarnation}`. Or it refuses: by 409 where the run goes on, 422 for input
that it cannot use, 503 where it has no room; another replica of it is asked then. `callboard.agent` serves functions so.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from starlette.requests import Request

from edge.errors import Problem
from edge.http.body import edge_of
from edge.http.commands import CommandRefused, address_of, give
from edge.http.credentials import principal_of
from edge.surfaces.lives import RunLife, find_life, patterns_of
from edge.transports.sse import last_event_id
from router.codec import to_json
from router.event import new_id
from router.timing import full_jitter

# 10 s: an agent that queues answers at once, and begins later.
START_SECONDS = 10.0

# So often an agent is asked whose replicas have no room: each time one of them answers, any.
START_TRIES = 4
PAUSE_SECONDS = 0.1
# 2 s: what `Retry-After` says where no replica has room. An answer of a model takes seconds.
RETRY_AFTER = {"Retry-After": "2"}

START_PROBLEMS = (
    "agent_unavailable",
    "bad_input",
    "busy",
    "bad_parameter",
    "not_granted",
    "command_refused",
    "command_failed",
    "command_unanswered",
)


async def start_run(
    request: Request, agent: str, run: str, input: Any, domain: str = "thread", incarnation: str | None = None
) -> str:
    """Has an agent begin the next life of a run; returns its incarnation, which may be another than it was to have.

    Raises Problem or BrokerError.
    """
    address = address_of(agent, "main", "start")
    principal_of(request.scope).require_command(address)
    incarnation = incarnation or new_id()
    order = {"run": run, "domain": domain, "incarnation": incarnation, "input": input}
    answer = await _asked(request, agent, address, order)
    said = answer.get("incarnation") if isinstance(answer, dict) else None
    return said if isinstance(said, str) and said else incarnation


async def _asked(request: Request, agent: str, address: str, order: dict[str, Any]) -> Any:
    connection = edge_of(request).broker.connection
    for tries in range(1, START_TRIES + 1):
        try:
            return await give(connection, address, order, START_SECONDS)
        except CommandRefused as refused:
            if refused.answered == "409":
                raise Problem("busy", refused.detail) from None
            if refused.answered in ("400", "422"):
                raise Problem("bad_input", refused.detail) from None
            if refused.answered != "503":
                raise
            full = refused.detail
        except Problem as problem:
            if problem.code != "command_not_found":
                raise
            detail = f"no agent {agent!r} serves just now: nothing answers the command {address}"
            raise Problem("agent_unavailable", detail, headers=RETRY_AFTER) from None
        await asyncio.sleep(full_jitter(tries, PAUSE_SECONDS, PAUSE_SECONDS))
    raise Problem("agent_unavailable", full, headers=RETRY_AFTER)


async def joined_run(request: Request, agent: str, key: Any, input: Any) -> RunLife:
    """The run that an address stands for: the living one, the one that its client was reading, or a new one.

    An EventSource repeats its address at each reconnection, and two tabs have the same one: both must not begin it again.
    `key` is what makes the address this one. Raises Problem or BrokerError.
    """
    owner = principal_of(request.scope).id
    name = f"{agent}-{hashlib.sha256(to_json([owner, key])).hexdigest()[:16]}"
    life = await find_life(request, name, ("agent",))
    if life is not None and (not life.over or last_event_id(request)):
        return life
    before = await edge_of(request).broker.last_place(patterns_of("agent", name)[0])
    try:
        await start_run(request, agent, name, input, "agent")
    except Problem as problem:
        # Another tab was faster.
        life = await find_life(request, name, ("agent",)) if problem.code == "busy" else None
        if life is None:
            raise
        return life
    return RunLife(domain="agent", name=name, begin=before)
