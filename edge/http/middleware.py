"""Lets those in whom a route is for."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.auth.authenticator import PASS, PRINCIPAL, Access, Door, path_of
from edge.auth.subprotocol import selecting


class Admitted:
    """A route that is asked only by those whom it is for."""

    def __init__(self, app: ASGIApp, access: Access, door: Door) -> None:
        self._app = app
        self.access = access
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        send = selecting(scope, send)
        if self.access is not Access.OPEN:
            scope[PRINCIPAL] = await self._door.admit(scope, self.access)
            if given := scope.get(PASS):
                header = self._door.cookie(scope, path_of(scope), *given)
                send = _with_header(send, (b"set-cookie", header.encode("latin-1")))
        await self._app(scope, receive, send)


def _with_header(send: Send, header: tuple[bytes, bytes]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            message = {**message, "headers": [*message.get("headers", ()), header]}
        await send(message)

    return sending
