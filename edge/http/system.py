"""Handlers of the console page, probes, metrics and the OpenAPI document."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from edge.http.body import edge_of, json_answer
from edge.http.openapi.document import document

CONSOLE = Path(__file__).parents[1] / "console"
# Nothing that is not from here: no script, style or frame of others, and none in the page itself.
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; object-src 'none'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
)


class Console(StaticFiles):
    """The page's files; asked for anew each time (mostly answered by 304), so that an upgrade is seen at once."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


async def console_page(_request: Request) -> Response:
    return FileResponse(
        CONSOLE / "index.html",
        headers={
            "Cache-Control": "no-cache",
            "Content-Security-Policy": POLICY,
        },
    )


async def to_console_page(request: Request) -> Response:
    """Redirects to the page, relative to where the client asked: a proxy may show us under another name, scheme or path."""
    return RedirectResponse("../" if request.url.path.endswith("/") else "./")


async def livez(_request: Request) -> Response:
    """That this answers is the proof: the event loop turns. NATS is not asked, a broker's fault mends no edge by a restart."""
    return json_answer({"status": "ok"})


async def readyz(request: Request) -> Response:
    readiness = edge_of(request).readiness
    return json_answer(readiness, 200 if readiness["status"] == "ok" else 503)


async def prometheus(request: Request) -> Response:
    encode, kind = choose_encoder(request.headers.get("accept", ""))
    # Thousands of series take longer than an event may wait.
    return Response(await asyncio.to_thread(encode, REGISTRY), headers={"Content-Type": kind})


async def openapi(_request: Request) -> Response:
    return json_answer(document())
