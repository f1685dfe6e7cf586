"""Tests the route table, and that a route without a named access is for operators."""

from __future__ import annotations

from starlette.routing import Mount, Route, WebSocketRoute

from edge.app import ACCESS, openapi, routes
from edge.auth.authenticator import Access
from tests.edge.conftest import RunningEdge


def test_every_route_that_is_named_exists_and_the_others_are_for_operators() -> None:
    paths = {route.path for route in routes() if isinstance(route, (Route, WebSocketRoute, Mount))}

    assert set(ACCESS) <= paths
    assert paths - set(ACCESS) >= {"/metrics", "/callbacks/stats"}
    assert {path for path, access in ACCESS.items() if access is Access.OPEN} == {
        "/", "/client", "/client.js", "/console", "/console/", "/console/types.js", "/docs", "/docs/events",
        "/health", "/livez", "/readyz", "/openapi.json",
        # The page alone: what it shows it asks for with its token.
        "/portal/{session_id}",
        # The ticket is the proof: whoever has a token asked for it.
        "/tickets/redeem",
        # The receiver of a webhook signs its call with the session's secret.
        "/callbacks/sessions/{session_id}/alerts",
        # A link to it is signed; without a signature its handler asks for a principal that may read the run.
        "/runs/{run}/picture",
    }  # fmt: skip


def test_no_two_routes_answer_the_same_method_of_the_same_path() -> None:
    seen = [
        (route.path, method)
        for route in routes()
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    ]

    assert len(seen) == len(set(seen))


def test_the_document_describes_no_path_that_is_not_routed() -> None:
    paths = {route.path for route in routes() if isinstance(route, (Route, WebSocketRoute, Mount))}

    assert set(openapi()["paths"]) <= paths


async def test_unknown_paths_and_methods_are_problems(edge: RunningEdge) -> None:
    missing = await edge.http.get("/nope")
    wrong = await edge.http.put("/events")

    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
