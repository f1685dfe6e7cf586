"""Serves the webhook endpoints of the stored data folder at the address that its sessions post to."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from aiohttp import web

from tests.waiting import eventually

# The stored sessions name this address; no other test uses one of 127.77.0.0/16.
HOST, PORT = "127.77.13.1", 28713
ENDPOINTS = ("delivering", "failing", "hanging", "refusing", "recovering", "disabled")


class Post(NamedTuple):
    """One event that an endpoint got, and how it was answered."""

    endpoint: str
    event: dict[str, Any]
    status: int


def _bound() -> socket.socket | None:
    """A socket at the address; None where another process has it."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, PORT))
    except OSError as fault:
        bound.close()
        if fault.errno == errno.EADDRINUSE:
            return None
        raise
    return bound


class Receiver:
    """Answers each endpoint with the status that `answers` has for it; 0 lets the request wait."""

    def __init__(self, **answers: int) -> None:
        self.answers = dict.fromkeys(ENDPOINTS, 204) | answers
        self.posts: list[Post] = []

    def accepted(self, endpoint: str) -> list[int]:
        """The numbers of the events that an endpoint has answered with 204, in the order they came."""
        return [post.event["data"]["n"] for post in self.posts if post.endpoint == endpoint and post.status == 204]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        endpoint = request.path.strip("/")
        event = json.loads(await request.read())
        await eventually(lambda: self.answers[endpoint])
        status = self.answers[endpoint]
        self.posts.append(Post(endpoint, event, status))
        return web.Response(status=status)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Receiver]:
        app = web.Application()
        app.router.add_post("/{endpoint}", self.handle)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        # Another run of the tests on the same machine may have the address just now.
        await web.SockSite(runner, await eventually(_bound)).start()
        try:
            yield self
        finally:
            await runner.cleanup()
