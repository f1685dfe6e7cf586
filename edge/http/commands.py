"""Handles POST /commands: sends an actor a command and waits for its answer."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from edge.errors import Problem
from edge.http.bodies.system import CommandQuery
from edge.http.body import edge_of, json_answer, read_json, read_query
from edge.http.credentials import principal_of
from edge.http.openapi.operation import Answer, operation
from router.codec import from_json, to_json
from router.errors import BadEvent, NoResponders, Timeout
from router.nats.connection import Connection
from router.nats.headers import header
from router.subject import escape


@operation(
    'Give an actor a command, such as `agent/main/stop` with `{"run":"run-42"}`',
    Answer(200, "What the actor answers", Any),
    query=CommandQuery,
    body=dict[str, Any],
    problems=("not_granted", "command_not_found", "command_refused", "command_failed", "command_unanswered"),
)
async def give_command(request: Request) -> Response:
    path = request.path_params
    address = address_of(path["actor"], path["instance"], path["command"])
    principal = principal_of(request.scope)
    principal.require_command(address)
    timeout = read_query(request, CommandQuery).timeout
    arguments = await read_json(request)
    connection = edge_of(request).broker.connection
    return json_answer(await give(connection, address, arguments, timeout, principal.user))


# The name of an actor, an instance or a command: one token of a subject, and no wildcard.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

_HEADERS = {"Content-Type": "application/json"}
# Tells the actor who gives the command. What a client sends under this name is not passed on.
_PRINCIPAL = "Callboard-Principal"


# How long the services of an actor have to say where they are, in seconds.
PING_SECONDS = 1.0


def address_of(actor: str, instance: str, command: str) -> str:
    """`<actor>.<instance>.<command>`, as grants name it. Raises Problem."""
    for name in (actor, instance, command):
        if not _NAME.fullmatch(name):
            raise Problem(
                "bad_parameter",
                f"{name[:80]!r} is no valid name: it has letters, digits, _ and -",
            )
    return f"{actor}.{instance}.{command}"


class CommandRefused(Problem):
    """an actor answered a command with an error"""

    def __init__(self, answered: str, text: str) -> None:
        """`answered` is the error's code, as the actor gave it."""
        super().__init__("command_failed" if answered.startswith("5") else "command_refused", text)
        self.answered = answered


async def give(
    connection: Connection, address: str, arguments: Any, timeout: float, principal: str | None = None
) -> Any:
    """Sends a command, in the name of a principal, and returns what the actor answers. Raises Problem or BrokerError.

    A command that is not answered in time may have been carried out all the same.
    """
    if not isinstance(arguments, dict):
        raise Problem("bad_body", "the arguments of a command must be an object")
    try:
        reply = await connection.ask(f"cmd.{address}", to_json(arguments), _headers(principal), timeout)
    except NoResponders:
        raise Problem("command_not_found", f"no actor serves {address}") from None
    except Timeout:
        raise Problem("command_unanswered", f"{address} did not answer within {timeout:g} s") from None
    if code := header(reply.headers, b"Nats-Service-Error-Code"):
        raise CommandRefused(code, header(reply.headers, b"Nats-Service-Error") or "without a reason")
    try:
        return from_json(reply.payload)
    except BadEvent:
        raise Problem("command_failed", "the answer is not JSON") from None


def _headers(principal: str | None) -> dict[str, str]:
    """The headers of a command. The principal's name comes from a token, so it is made one short line."""
    name = " ".join((principal or "").split())[:200]
    return _HEADERS | {_PRINCIPAL: name} if name else _HEADERS


async def give_any(connection: Connection, actor: str, command: str, arguments: Any, timeout: float) -> Any:
    """Sends a command to whichever instance of an actor serves, `main` first. Raises Problem or BrokerError.

    For actors of which each instance knows the same: every agent knows all runs.
    """
    try:
        return await give(connection, f"{actor}.main.{command}", arguments, timeout)
    except Problem as problem:
        instance = await _serving(connection, actor) if problem.code == "command_not_found" else None
        if instance is None:
            raise
    return await give(connection, f"{actor}.{instance}.{command}", arguments, timeout)


async def _serving(connection: Connection, actor: str) -> str | None:
    """The instance of an actor that answers first, by the services that NATS knows; None where none does."""
    try:
        reply = await connection.ask(f"$SRV.PING.{actor}", b"", timeout=PING_SECONDS)
        told = from_json(reply.payload)
    except (NoResponders, Timeout, BadEvent):
        return None
    metadata = told.get("metadata") if isinstance(told, dict) else None
    instance = metadata.get("instance") if isinstance(metadata, dict) else None
    return escape(instance) if isinstance(instance, str) and instance else None
