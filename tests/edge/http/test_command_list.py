"""The list of the actors' commands, and in whose name a command reaches its actor."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from msgspec import Meta

from actors.system.actor import Actor, command
from actors.system.caller import caller
from router.broker import Broker
from router.nats.service import Endpoint, Request, Service
from tests.actors.system.running import running_actor
from tests.edge.auth.conftest import SecuredFactory
from tests.edge.conftest import RunningEdge
from tests.waiting import eventually


def counting(entity: str) -> type[Actor]:
    class Counting(Actor):
        """Counts."""

        name = f"counting-{entity}"

        @command
        async def count(self, upto: Annotated[int, Meta(ge=1)], by: Literal["ones", "tens"] = "ones") -> str:
            """Counts up to a number.

            Not part of what is listed."""
            return f"{upto} by {by}"

        @command
        async def who(self) -> str | None:
            """Says who asks."""
            return caller()

    return Counting


def listed(answer: Any, actor: str) -> dict[str, Any]:
    return {each["name"]: each for each in answer.json()["commands"] if each["actor"] == actor}


async def are_listed(edge: RunningEdge, actor: str) -> dict[str, Any]:
    answer = await edge.http.get("/commands")
    assert answer.status_code == 200, answer.text
    return listed(answer, actor)


async def test_the_commands_that_serve_are_listed_with_their_schemas(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    async with running_actor(counting(entity), broker, instance="ea.st"):
        # Who is slow to answer is left out.
        found = await eventually(lambda: are_listed(edge, f"counting-{entity}"))

    assert found["count"] == {
        "actor": f"counting-{entity}",
        "instance": "ea.st",
        "name": "count",
        "about": "Counts up to a number.",
        "schema": {
            "type": "object",
            "properties": {
                "upto": {"type": "integer", "minimum": 1},
                "by": {"enum": ["ones", "tens"], "default": "ones"},
            },
            "required": ["upto"],
            "additionalProperties": False,
        },
    }
    assert found["who"]["schema"] == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }
    assert listed(await edge.http.get("/commands"), f"counting-{entity}") == {}


async def test_only_commands_that_the_token_grants_are_listed(
    secured: SecuredFactory, broker: Broker, entity: str
) -> None:
    async with secured() as edge, running_actor(counting(entity), broker):
        some = edge.as_("alice", command=["*.*.who"])
        none = edge.as_("bob", read=[">"])

        assert list(await eventually(lambda: are_listed(some, f"counting-{entity}"))) == ["who"]
        assert (await none.http.get("/commands")).json() == {"commands": []}
        assert (await edge.http.get("/commands")).status_code == 401


@asynccontextmanager
async def strange_service(broker: Broker, name: str, metadata: dict[str, str]) -> AsyncIterator[None]:
    def called(request: Request) -> None:
        request.answer(None)

    endpoints = [
        Endpoint("go", f"cmd.{name}.main.go", called, metadata),
        Endpoint("elsewhere", f"elsewhere.{name}.main", called, {"schema": "{}"}),
    ]
    service = Service(broker.connection, name, "1.0.0", description="Strange.", endpoints=endpoints)
    running = asyncio.ensure_future(service.run())
    await service.serving.wait()
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_service_that_tells_no_schema_is_listed_without_one(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    for metadata in ({}, {"schema": "{"}, {"schema": "[1]"}, {"schema": json.dumps("text")}):
        async with strange_service(broker, f"strange-{entity}", metadata):
            assert await eventually(lambda: are_listed(edge, f"strange-{entity}")) == {
                "go": {
                    "actor": f"strange-{entity}",
                    "instance": "main",
                    "name": "go",
                    "about": "",
                    "schema": None,
                }
            }


async def test_an_actor_is_told_who_gives_a_command_and_no_header_of_a_client_forges_it(
    secured: SecuredFactory, edge: RunningEdge, broker: Broker, entity: str
) -> None:
    path = f"/commands/counting-{entity}/main/who"
    forged = {"Callboard-Principal": "mallory", "callboard-principal": "mallory"}
    async with running_actor(counting(entity), broker):
        async with secured() as closed:
            zoe = closed.as_("Zoë", command=["*.*.*"])
            assert (await zoe.http.post(path, json={}, headers=forged)).json() == "Zoë"
        # Without authentication there is no name to pass on.
        assert (await edge.http.post(path, json={}, headers=forged)).json() is None
