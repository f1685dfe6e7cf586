"""Handlers of the pages of documentation: the API explorer over OpenAPI, and the reference of events over AsyncAPI."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from edge.http.openapi.operation import Answer, Media, operation
from edge.http.system import CONSOLE, POLICY

# Scalar, which draws the explorer, adds style elements, and sets markup that it has sanitised itself. Scripts stay those of
# files of this server, and connections those to it.
EXPLORER_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'").replace(
    "; require-trusted-types-for 'script'", ""
)


@operation("Show the API explorer", Answer(200, "The page", Media("text/html")))
async def explorer_page(_request: Request) -> Response:
    return _page("explorer.html", EXPLORER_POLICY)


@operation("Show the reference of events", Answer(200, "The page", Media("text/html")))
async def events_page(_request: Request) -> Response:
    return _page("events.html", POLICY)


def _page(name: str, policy: str) -> Response:
    headers = {"Cache-Control": "no-cache", "Content-Security-Policy": policy}
    return FileResponse(CONSOLE / "docs" / name, headers=headers)
