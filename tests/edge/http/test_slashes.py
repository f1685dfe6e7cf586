"""An address with a trailing slash is redirected to its route by a relative address."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.http.slashes import SlashRedirect


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
