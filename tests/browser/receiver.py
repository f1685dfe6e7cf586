"""A real receiver of webhooks for browser tests: keeps what it is posted, and answers with the status that a test says."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class PostBox:
    """What was posted, by its webhook-id, and how it is answered."""

    url: str = ""
    status: int = 204
    text: str = ""
    ids: list[str] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        await request.read()
        self.ids.append(request.headers["webhook-id"])
        return web.Response(status=self.status, text=self.text or None)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[PostBox]:
    """Serves on a free port of loopback."""
    box = PostBox()
    app = web.Application()
    app.router.add_post("/{path:.*}", box.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    box.url = f"http://{host}:{port}/hook"
    try:
        yield box
    finally:
        await runner.cleanup()
