"""Authenticates requests: middleware between the route table and the handlers."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.auth.authenticator import PASS, PRINCIPAL, Access, Authenticator, path_of
from edge.auth.subprotocol import selecting


class AuthMiddleware:
    """Middleware that authenticates each request of one route before the route sees it."""

    def __init__(self, app: ASGIApp, access: Access, authenticator: Authenticator) -> None:
        self._app = app
        self.access = access
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        send = selecting(scope, send)
        if self.access is not Access.OPEN:
            scope[PRINCIPAL] = await self._authenticator.admit(scope, self.access)
            if given := scope.get(PASS):
                header = self._authenticator.cookie(scope, path_of(scope), *given)
                send = _with_header(send, (b"set-cookie", header.encode("latin-1")))
        await self._app(scope, receive, send)


def _with_header(send: Send, header: tuple[bytes, bytes]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            message = {**message, "headers": [*message.get("headers", ()), header]}
        await send(message)

    return sending
