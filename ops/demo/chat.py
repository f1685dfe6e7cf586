"""Serves a small chat with the `POST /chat` of the callback guide, to show what gives its callers callbacks: four lines.

There is no language model in it, and each answer says so; the events, their delivery and what the tools do are real.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from ops.demo.answers import WHAT_IT_IS, answer
from router.codec import from_json, to_json
from router.errors import BadInput, RouterError
from router.sdk.callbacks import GRACE_SECONDS, BadCallbackConfig, Callbacks, CallbacksUnavailable

log = logging.getLogger(__name__)

# 100 kB of a message: a chat, no file upload.
MAX_BODY = 100_000
# 100 answers at once; more are told to come back.
MAX_WORKING = 100
_USAGE = {
    "service": "callboard demo chat",
    "what": WHAT_IT_IS,
    "chat": 'POST /chat {"message": "…", "conversation_id": "…", "callback_config": {"delivery_method": "sse"}}',
}


@dataclass(frozen=True)
class ChatSettings:
    """Where the chat listens, and the edge that its callers read from."""

    edge: str
    host: str = "127.0.0.1"
    port: int = 8100
    token: str | None = None
    grace: float = GRACE_SECONDS


class ChatServer:
    """The chat. It needs an edge and nothing else: its runs are published over HTTP."""

    def __init__(self, settings: ChatSettings) -> None:
        self._settings = settings
        self._working: asyncio.TaskGroup
        self._count = 0

    def application(self) -> web.Application:
        """Makes the routes."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_get("/", self.describe)
        app.router.add_post("/chat", self.chat)
        app.cleanup_ctx.append(self._tasks)
        return app

    async def describe(self, request: web.Request) -> web.Response:
        """Says what this is."""
        return _json(_USAGE)

    async def chat(self, request: web.Request) -> web.Response:
        """Answers a message: at once with where to read on, or with the answer where the caller reads no stream."""
        body = await _body(request)
        message, config = body["message"], body.get("callback_config")
        if self._count >= MAX_WORKING:
            return _problem(503, "busy", "too many answers are being written; try again")
        settings = self._settings
        try:
            callbacks = await Callbacks.from_request(
                config, edge=settings.edge, token=settings.token, source="demo", grace=settings.grace
            )
        except BadCallbackConfig as fault:
            return _json(fault.problem, fault.status, "application/problem+json")
        except CallbacksUnavailable as fault:
            return _problem(503, "callbacks_unavailable", str(fault))
        told = {"conversation_id": body.get("conversation_id"), "model": WHAT_IT_IS, **callbacks.answer}
        if callbacks.delivery_method in (None, "webhook"):
            return _json({**told, **await self._answer(callbacks, message)})
        self._working.create_task(self._answer_beside(callbacks, message))
        return _json(told, 202)

    async def _answer(self, callbacks: Callbacks, message: str) -> dict[str, Any]:
        self._count += 1
        try:
            async with callbacks as run:
                result = await answer(run, message)
                await run.complete(result)
                return result
        finally:
            self._count -= 1

    async def _answer_beside(self, callbacks: Callbacks, message: str) -> None:
        """Answers while the caller reads the stream: it is told there what goes wrong, as any reader of the run."""
        try:
            await self._answer(callbacks, message)
        except RouterError as fault:
            log.error("an answer could not be published", extra={"run": callbacks.run_id, "fault": str(fault)})

    async def _tasks(self, _: web.Application) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as self._working:
            yield


async def serve_chat(settings: ChatSettings, ready: Callable[[str], None], stop: asyncio.Event) -> None:
    """Serves until `stop`; calls `ready` with the address."""
    runner = web.AppRunner(ChatServer(settings).application(), access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        host, port = runner.addresses[0][:2]
        ready(f"http://{host}:{port}")
        await stop.wait()
    finally:
        await runner.cleanup()


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = from_json(await request.read())
    except BadInput:
        raise _refused("bad_json", "the body must be JSON") from None
    if not isinstance(body, dict):
        raise _refused("bad_body", "the body must be an object")
    message = body.get("message")
    if not isinstance(message, str) or not message.strip():
        raise _refused("bad_body", "message must be a text", field="message")
    return body


def _refused(code: str, detail: str, **more: Any) -> web.HTTPUnprocessableEntity:
    body = {"title": "Bad request", "status": 422, "code": code, "detail": detail, **more}
    return web.HTTPUnprocessableEntity(text=to_json(body).decode(), content_type="application/problem+json")


def _problem(status: int, code: str, detail: str) -> web.Response:
    body = {"title": code.replace("_", " "), "status": status, "code": code, "detail": detail}
    return _json(body, status, "application/problem+json")


def _json(body: dict[str, Any], status: int = 200, kind: str = "application/json") -> web.Response:
    # A page of another origin may call it: it is a demonstration, and has nothing of anybody.
    return web.Response(
        body=to_json(body), status=status, content_type=kind, headers={"Access-Control-Allow-Origin": "*"}
    )
