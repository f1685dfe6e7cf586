"""An address with a trailing slash is redirected to its route by a relative address."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.http.slashes import SlashRedirect
from tests.edge.conftest import RunningEdge
from tests.edge.transports.raw import get, said


async def here(_request: Request) -> Response:
    return Response("here")


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/a/b", 200, None),
        ("/a/b/", 307, "../b"),
        ("/a/b/?q=1", 307, "../b?q=1"),
        ("/a/b//", 307, "../../b"),
        ("/nope/", 404, None),
        ("/", 404, None),
    ],
)
async def test_only_a_route_that_exists_is_redirected_to(path: str, status: int, location: str | None) -> None:
    app = Starlette(routes=[Route("/a/b", here)])
    app.router.redirect_slashes = False
    app.router.default = SlashRedirect(app.router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge") as http:
        answer = await http.get(path)

    assert (answer.status_code, answer.headers.get("location")) == (status, location)


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        ("/console", "./"), ("/console/", "../"), ("/callbacks/sessions/", "../sessions"),
        ("/callbacks/sessions/?limit=3", "../sessions?limit=3"), ("/livez//", "../../livez"),
    ],
)  # fmt: skip
async def test_redirects_are_relative_so_that_any_proxy_may_stand_before(
    edge: RunningEdge, asked: str, location: str
) -> None:
    status, headers, _ = await said(
        edge.port, get(asked, "X-Forwarded-Proto: https", "X-Forwarded-Host: board.example", "Connection: close")
    )

    assert (status, headers["location"]) == (307, location)


async def test_an_address_that_is_not_there_is_no_redirect(edge: RunningEdge) -> None:
    for path in ("/nothing/", "/nothing", "//", "/consoles/"):
        status, _, _ = await said(edge.port, get(path, "Connection: close"))
        assert status == 404, path
