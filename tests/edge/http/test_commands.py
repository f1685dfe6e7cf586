"""Commands to actors over HTTP: answered by the actor itself, refused with a code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from router.broker import Broker
from router.nats.service import Endpoint, Request, Service
from tests.edge.auth.conftest import SecuredFactory
from tests.edge.conftest import RunningEdge

STOCK = {"tea": 4}


@pytest.fixture
async def stock(broker: Broker, entity: str) -> AsyncIterator[str]:
    """An actor's door: it says how much there is, refuses what it does not have, and may stay silent."""

    def level(request: Request) -> None:
        match request.arguments():
            case {"sku": "silence"}:
                pass
            case {"sku": "fire"}:
                request.refuse(500, "the shelf burns")
            case {"sku": str(sku)} if sku in STOCK:
                request.answer(STOCK[sku])
            case given:
                request.refuse(400, f"no such thing: {given}")

    name = f"stock-{entity}"
    endpoint = Endpoint("level", f"cmd.{name}.main.level", level)
    service = Service(broker.connection, name, "1.0.0", description="Counts.", endpoints=[endpoint])
    running = asyncio.ensure_future(service.run())
    await service.serving.wait()
    yield name
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("path", "sku", "status", "said"),
    [
        ("level", "tea", 200, 4),
        ("level", "gold", 409, "command_refused"),
        ("level", "fire", 502, "command_failed"),
        ("level?timeout=0.2", "silence", 504, "command_unanswered"),
        ("level?timeout=soon", "tea", 400, "bad_parameter"),
        ("dance", "tea", 404, "command_not_found"),
        ("le%3Evel", "tea", 400, "bad_parameter"),
        ("level.x", "tea", 400, "bad_parameter"),
    ],
)
async def test_a_command_is_answered_by_the_actor_or_refused_with_a_code(
    edge: RunningEdge, stock: str, path: str, sku: str, status: int, said: object
) -> None:
    answer = await edge.http.post(f"/commands/{stock}/main/{path}", json={"sku": sku})

    assert answer.status_code == status
    assert (answer.json() if status == 200 else answer.json()["code"]) == said


@pytest.mark.parametrize(("body", "code"), [("[1]", "bad_body"), ("{", "bad_json")])
async def test_arguments_that_are_no_object_reach_nobody(edge: RunningEdge, stock: str, body: str, code: str) -> None:
    assert (await edge.http.post(f"/commands/{stock}/main/level", content=body)).json()["code"] == code


async def test_only_who_was_granted_a_command_may_give_it(secured: SecuredFactory, stock: str) -> None:
    async with secured() as edge:
        allowed = edge.as_("alice", command=[f"{stock}.main.*"])
        other = edge.as_("bob", command=["agent.main.stop"], read=[">"])
        path = f"/commands/{stock}/main/level"

        assert (await allowed.http.post(path, json={"sku": "tea"})).json() == 4
        assert (await other.http.post(path, json={"sku": "tea"})).json()["code"] == "not_granted"
        assert (await edge.http.post(path, json={"sku": "tea"})).json()["code"] == "token_required"
