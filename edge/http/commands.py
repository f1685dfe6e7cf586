"""Handles POST /commands: asks an actor to do something."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from edge.errors import Problem
from edge.http.body import edge_of, json_answer, number, read_json
from edge.http.credentials import principal_of
from router.codec import from_json, to_json
from router.errors import BadEvent, NoResponders, Timeout
from router.nats.connection import Connection
from router.nats.headers import header


async def give_command(request: Request) -> Response:
    """Asks an actor to do something, such as to stop a run."""
    path = request.path_params
    address = address_of(path["actor"], path["instance"], path["command"])
    principal_of(request.scope).require_command(address)
    patience = number(request, "timeout", PATIENCE, 0.1, MOST_PATIENCE)
    arguments = await read_json(request)
    return json_answer(await give(edge_of(request).broker.connection, address, arguments, patience))


# A name as actors, instances and commands have them: one token of a subject, and no wildcard.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

PATIENCE, MOST_PATIENCE = 5.0, 30.0

_HEADERS = {"Content-Type": "application/json"}


def address_of(actor: str, instance: str, command: str) -> str:
    """`<actor>.<instance>.<command>`, as grants name it. Raises Problem."""
    for name in (actor, instance, command):
        if not _NAME.fullmatch(name):
            raise Problem("bad_parameter", f"{name[:80]!r} is no name of an actor, an instance or a command")
    return f"{actor}.{instance}.{command}"


async def give(connection: Connection, address: str, arguments: Any, patience: float) -> Any:
    """Gives a command, and returns what the actor answers. Raises Problem or BrokerError.

    One that is not answered in time may have been carried out all the same.
    """
    if not isinstance(arguments, dict):
        raise Problem("bad_body", "the arguments of a command are an object")
    try:
        reply = await connection.ask(f"cmd.{address}", to_json(arguments), _HEADERS, patience)
    except NoResponders:
        raise Problem("command_not_found", f"nobody answers to {address}") from None
    except Timeout:
        raise Problem("command_unanswered", f"{address} did not answer within {patience:g} s") from None
    if code := header(reply.headers, b"Nats-Service-Error-Code"):
        text = header(reply.headers, b"Nats-Service-Error") or "without a reason"
        raise Problem("command_failed" if code.startswith("5") else "command_refused", text)
    try:
        return from_json(reply.payload)
    except BadEvent:
        raise Problem("command_failed", "the answer is not JSON") from None
