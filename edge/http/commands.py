"""Handles POST /commands: asks an actor to do something."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from edge import commands
from edge.http.body import edge_of, json_answer, number, read_json
from edge.identity.door import principal_of


async def give_command(request: Request) -> Response:
    """Asks an actor to do something, such as to stop a run."""
    path = request.path_params
    address = commands.address_of(path["actor"], path["instance"], path["command"])
    principal_of(request.scope).require_command(address)
    patience = number(request, "timeout", commands.PATIENCE, 0.1, commands.MOST_PATIENCE)
    arguments = await read_json(request)
    return json_answer(await commands.give(edge_of(request).broker.connection, address, arguments, patience))
