"""The index of routes leads to the route that a walk of the whole table finds."""

from __future__ import annotations

import random

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount, Route, WebSocketRoute
from starlette.types import Message, Scope

from edge.app import routes
from edge.http.routing import IndexedRouter, RouteIndex


def scope_of(path: str, method: str = "GET", kind: str = "http") -> Scope:
    return {"type": kind, "path": path, "method": method, "root_path": "", "headers": [], "query_string": b""}


def matching(table: list[BaseRoute] | tuple[BaseRoute, ...], scope: Scope) -> list[BaseRoute]:
    return [route for route in table if route.matches(scope)[0] is not Match.NONE]


def addresses(table: list[BaseRoute], chance: random.Random) -> list[str]:
    """Addresses of all routes, with other values of their parameters, with parts more and less, and of none."""
    paths = [route.path for route in table if isinstance(route, (Route, WebSocketRoute, Mount))]
    words = ["", "a", "a.mp4", "3.jpg", *{part for path in paths for part in path.split("/") if "{" not in part}]
    made = ["", "/", "//", "*"]
    for path in paths:
        for _ in range(20):
            parts = [
                chance.choice(words) if "{" in part or chance.random() < 0.1 else part for part in path.split("/")[1:]
            ]
            if chance.random() < 0.2:
                parts.append(chance.choice(words))
            if chance.random() < 0.1:
                parts.pop()
            made.append("/" + "/".join(parts))
    return made


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_the_index_leaves_out_no_route_that_matches_and_keeps_their_order(kind: str) -> None:
    table = routes()
    index = RouteIndex(table)

    for path in addresses(table, random.Random(19)):
        scope = scope_of(path, kind=kind)
        assert matching(index.candidates(path), scope) == matching(table, scope), path


def test_few_routes_are_tried_and_unknown_addresses_do_not_let_the_index_grow() -> None:
    table = routes()
    index = RouteIndex(table)

    assert len(index.candidates("/events")) == 2
    assert len(index.candidates("/callbacks/sessions/sess_1/ws")) < 8
    for number in range(1000):
        index.candidates(f"/unknown/{number}")
        index.candidates("/x" * number)
    assert len(index._found) < 30


async def test_a_route_of_another_method_answers_where_none_has_the_method() -> None:
    async def read(_request: Request) -> Response:
        return Response("read")

    async def change(_request: Request) -> Response:
        return Response("changed")

    router = IndexedRouter(
        [Route("/things/{id}", read, methods=["GET"]), Route("/things/{id}", change, methods=["PUT"])]
    )
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    for method in ("GET", "PUT", "DELETE"):
        await router(scope_of("/things/1", method), receive, send)
    await router(scope_of("/others", "GET"), receive, send)

    assert [message["status"] for message in sent if "status" in message] == [200, 200, 405, 404]
