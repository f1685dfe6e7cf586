"""Authenticates requests: middleware between the route table and the handlers."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.auth.authenticator import Access, Authenticator
from edge.auth.principal import EVERYBODY
from edge.http.credentials import PRINCIPAL, SUBPROTOCOL, credentials_of, pass_cookie


class AuthMiddleware:
    """Authenticates each request of one route before the route sees it."""

    def __init__(self, app: ASGIApp, access: Access, authenticator: Authenticator) -> None:
        self._app = app
        self.access = access
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        send = _select_subprotocol(scope, send)
        await self._app(scope, receive, await admitted(scope, send, self._authenticator, self.access))


async def admitted(scope: Scope, send: Send, authenticator: Authenticator, access: Access) -> Send:
    """Authenticates a request and notes its principal in its scope; returns what to send its answer with.

    Raises Problem 401, 403 or 429, or BrokerError.
    """
    if access is Access.OPEN:
        return send
    if authenticator.open:
        scope[PRINCIPAL] = EVERYBODY
        return send
    admission = await authenticator.admit(credentials_of(scope, authenticator, access), access)
    scope[PRINCIPAL] = admission.principal
    if admission.issued is None:
        return send
    cookie = pass_cookie(scope, authenticator.proxies, admission.issued)
    return _with_header(send, (b"set-cookie", cookie.encode("latin-1")))


def _select_subprotocol(scope: Scope, send: Send) -> Send:
    """Selects our WebSocket subprotocol where the client offers it and its address selects no other; unknown ones are ignored."""
    if SUBPROTOCOL not in scope.get("subprotocols", ()):
        return send

    async def sending(message: Message) -> None:
        if message["type"] == "websocket.accept" and not message.get("subprotocol"):
            message = {**message, "subprotocol": SUBPROTOCOL}
        await send(message)

    return sending


def _with_header(send: Send, header: tuple[bytes, bytes]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            message = {**message, "headers": [*message.get("headers", ()), header]}
        await send(message)

    return sending
