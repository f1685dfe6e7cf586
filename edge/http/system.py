"""Handlers of the console page, probes, metrics and the OpenAPI document."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import os
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from edge.http.bodies.system import LivezAnswer, ReadyzAnswer, ThroughputAnswer
from edge.http.body import edge_of, json_answer
from edge.http.openapi.operation import Answer, Media, operation
from edge.throughput import EVERY
from router.version import VERSION

CONSOLE = Path(__file__).parents[1] / "console"
# The client's modules, which an npm package has as they are. Their folder lies in the console's, and has an address of its own.
CLIENT = CONSOLE / "client"
# All that `import … from "/client.js"` names; the modules themselves lie beside one another, and are loaded once.
CLIENT_MODULE = 'export * from "./client/index.js";\n'


def inline_source(page: Path) -> str:
    """What lets the inline script of a page run, and no other, as a source of its policy."""
    script = re.findall(r"<script>(.*?)</script>", page.read_text(), re.DOTALL)[0]
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


# Scripts, styles and frames come from this server only. One script is inline, the same in all pages: it asks again for those of files that
# the network failed for, as it might for a file. A video of Media Source Extensions is a blob.
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; style-src 'self'; "
    f"script-src 'self' {inline_source(CONSOLE / 'index.html')}; object-src 'none'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
)


class Console(StaticFiles):
    """The page's files, which browsers revalidate each time (mostly by a 304), so that an upgrade shows at once.

    The addresses of places, such as `/console/runs/job/run-42`, are answered by the page itself.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        if path.split("/", 1)[0] in places():
            return page()
        response = await super().get_response(path, scope)
        if isinstance(response, FileResponse) and response.stat_result and _takes_gzip(scope):
            # The API explorer's library takes 0.2 s.
            return await asyncio.to_thread(_compressed, response, *_key(response.stat_result))
        return response

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        if str(args[0]).endswith(".html"):
            response.headers["Content-Security-Policy"] = POLICY
        if str(args[0]).endswith(".d.ts"):
            # By its suffix it would be a video.
            response.headers["Content-Type"] = "text/plain; charset=utf-8"
        return response


def _takes_gzip(scope: Scope) -> bool:
    return scope["method"] == "GET" and "gzip" in Headers(scope=scope).get("accept-encoding", "")


def _key(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_mtime_ns, stat.st_size


def _compressed(file: FileResponse, changed: int, size: int) -> Response:
    """The same file in a third of the bytes: the page is some seventy modules."""
    response = Response(_gzip(str(file.path), changed, size), media_type=file.media_type)
    for name in ("last-modified", "content-type", "cache-control", "content-security-policy"):
        if name in file.headers:
            response.headers[name] = file.headers[name]
    # Weak: it is not the file byte by byte.
    response.headers["ETag"] = f"W/{file.headers['etag']}"
    response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    return response


# 256: there are about a hundred files.
@lru_cache(maxsize=256)
def _gzip(path: str, _changed: int, _size: int) -> bytes:
    return gzip.compress(Path(path).read_bytes(), 6)


@operation("The JavaScript client", Answer(200, "An ES module", Media("text/javascript")))
async def client_module(_request: Request) -> Response:
    return Response(CLIENT_MODULE, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


@cache
def places() -> frozenset[str]:
    """The places of the console, each of which is a module."""
    return frozenset(file.stem for file in (CONSOLE / "places").glob("*.js"))


def page() -> Response:
    return FileResponse(
        CONSOLE / "index.html",
        headers={
            "Cache-Control": "no-cache",
            "Content-Security-Policy": POLICY,
        },
    )


@operation("The console", Answer(200, "The page", Media("text/html")))
async def console_page(_request: Request) -> Response:
    return page()


@operation(
    "Redirect to the console",
    Answer(307, "The page, by a relative Location", headers={"Location": {"schema": {"type": "string"}}}),
)
async def to_console_page(request: Request) -> Response:
    """Redirects to the page by a relative address: a proxy may serve it under another name, scheme or path."""
    return RedirectResponse("../" if request.url.path.endswith("/") else "./")


@operation("Whether the process lives", Answer(200, "It does", LivezAnswer))
async def livez(_request: Request) -> Response:
    """Answers as long as the event loop runs. NATS is not asked: restarting the edge does not repair a broker."""
    return json_answer({"status": "ok", "version": VERSION})


@operation(
    "Whether the process can serve",
    Answer(200, "It can", ReadyzAnswer),
    Answer(503, "It cannot; `checks` and `store` say why", ReadyzAnswer),
)
async def readyz(request: Request) -> Response:
    readiness = edge_of(request).readiness
    return json_answer(readiness, 200 if readiness["status"] == "ok" else 503)


@operation(
    "Throughput of the last hour, over all replicas", Answer(200, "A sample every ten seconds", ThroughputAnswer)
)
async def read_throughput(request: Request) -> Response:
    edge = edge_of(request)
    broker = edge.broker
    events = await broker.events_state()
    states = await asyncio.gather(*(broker.shard(shard).state() for shard in events.layout.by_stream.values()))
    cursor = edge.hub.recovery.cursor
    return json_answer(
        {
            "every": EVERY,
            "samples": await edge.throughput.gather(),
            "stored": {
                "events": sum(state.messages for state in states),
                "bytes": sum(state.bytes for state in states),
                "first": cursor(events.begin),
                "last": cursor(events.last),
            },
        }
    )


@operation("Prometheus metrics", Answer(200, "Text or OpenMetrics, as asked", Media("text/plain")), store=False)
async def prometheus(request: Request) -> Response:
    encode, kind = choose_encoder(request.headers.get("accept", ""))
    # Thousands of series take longer than the event loop may be blocked.
    return Response(await asyncio.to_thread(encode, REGISTRY), headers={"Content-Type": kind})


@operation("This document", Answer(200, "OpenAPI 3.1", dict[str, Any]))
async def openapi(request: Request) -> Response:
    # Made at the first request, which takes half a second.
    return json_answer(await asyncio.to_thread(request.app.state.document))
