"""Handles GET /commands: lists the commands of the actors that serve now, with the JSON Schemas of their arguments."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from edge.auth.grants import Grants
from edge.http.bodies.commands import CommandsAnswer, ListedCommand
from edge.http.body import edge_of, json_answer
from edge.http.credentials import principal_of
from edge.http.openapi.operation import Answer, operation
from router.codec import from_json
from router.errors import BadEvent
from router.nats.connection import Connection
from router.subject import unescape

# Services do not say how many they are: the list is complete once none has answered for a while.
QUIET_SECONDS = 0.2
LONGEST_SECONDS = 1.5
# 5000: more than any system has; what answers is not ours alone.
MAX_COMMANDS = 5000


@operation(
    "List the commands of all actors that serve now and that the token may command",
    Answer(200, "Each with the JSON Schema of its arguments", CommandsAnswer),
)
async def list_commands(request: Request) -> Response:
    grants = principal_of(request.scope).grants
    found: dict[str, ListedCommand] = {}
    for told in await services(edge_of(request).broker.connection):
        for address, listed in _commands_of(told, grants):
            if len(found) < MAX_COMMANDS:
                # Several processes may serve one command, as replicas.
                found.setdefault(address, listed)
    return json_answer(CommandsAnswer([found[address] for address in sorted(found)]))


async def services(connection: Connection, verb: str = "INFO") -> list[Any]:
    """What all micro services say of themselves (`INFO`, `STATS`), as far as it is JSON. Raises BrokerError."""
    told: list[Any] = []
    heard = asyncio.Event()

    def answered(_subject: str, _reply: str, payload: bytes, _raw: bytes) -> None:
        try:
            told.append(from_json(payload))
        except BadEvent:
            return
        heard.set()

    inbox = connection.expect(answered)
    try:
        await connection.send(f"$SRV.{verb}", b"", reply=inbox)
        async with asyncio.timeout(LONGEST_SECONDS):
            while True:
                heard.clear()
                async with asyncio.timeout(QUIET_SECONDS):
                    await heard.wait()
    except TimeoutError:
        return told
    finally:
        connection.forget(inbox)


def _commands_of(told: Any, grants: Grants) -> Iterator[tuple[str, ListedCommand]]:
    """The commands of one service that may be given, by their addresses."""
    endpoints = told.get("endpoints") if isinstance(told, dict) else None
    for endpoint in endpoints if isinstance(endpoints, list) else ():
        match endpoint:
            case {"subject": str(subject), "metadata": dict(metadata)}:
                pass
            case _:
                continue
        prefix, *tokens = subject.split(".")
        address = subject.removeprefix("cmd.")
        if prefix != "cmd" or len(tokens) != 3 or not grants.may_command(address):
            continue
        actor, instance, name = map(unescape, tokens)
        yield address, ListedCommand(actor, instance, name, str(metadata.get("about") or ""), _schema(metadata))


def _schema(metadata: dict[Any, Any]) -> dict[str, Any] | None:
    """The schema that an endpoint's metadata carry; None where they carry none."""
    text = metadata.get("schema")
    if not isinstance(text, str):
        return None
    try:
        schema = from_json(text.encode())
    except BadEvent:
        return None
    return schema if isinstance(schema, dict) else None
