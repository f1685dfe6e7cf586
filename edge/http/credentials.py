"""Reads from an ASGI scope what proves who makes a request: tokens, tickets, passes, and the client's address.

A browser's WebSocket can send no headers, only subprotocols (RFC 6455 §1.9), so a token may travel as one:
`new WebSocket(url, ["callboard.v1", "bearer.<token>"])`. Only `callboard.v1` is ever selected, so a token is not sent back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.types import Scope
from starlette.websockets import WebSocket

from edge.auth.authenticator import CHALLENGE, Access, Authenticator, Credentials, StreamCredentials
from edge.auth.principal import NOBODY, Principal
from edge.auth.proxies import Proxies
from edge.auth.tickets import Pass
from edge.errors import Problem
from edge.http.body import edge_of

COOKIE = "callboard_pass"
PRINCIPAL = "callboard.principal"
SUBPROTOCOL = "callboard.v1"
_BEARER = "bearer."


def principal_of(scope: Mapping[str, Any]) -> Principal:
    """The principal of an authenticated request; NOBODY on an open route."""
    found: Principal = scope.get(PRINCIPAL, NOBODY)
    return found


def credentials_of(scope: Scope, authenticator: Authenticator, access: Access) -> Credentials:
    """What a request sends to prove who makes it. Raises Problem for more than one token, or one in a forbidden place."""
    token = _token(scope, authenticator.settings.token_in_query)
    address = client_address(scope, authenticator.proxies)
    if token is not None or access is not Access.STREAM:
        return Credentials(token, address)
    ticket = QueryParams(scope.get("query_string", b"")).get("ticket")
    return Credentials(None, address, StreamCredentials(ticket, pass_of(scope), resource_of(scope), _transport(scope)))


def _token(scope: Scope, in_query: bool) -> str | None:
    """The one token of a request, from the Authorization header, a subprotocol or (where allowed) the query."""
    headers = Headers(scope=scope).getlist("authorization")
    query = QueryParams(scope.get("query_string", b""))
    queried = [value for name in ("token", "access_token") for value in query.getlist(name)]
    if queried and not in_query:
        raise Problem(
            "token_in_query",
            "URLs are written to logs: send Authorization: Bearer, or a ticket of POST /tickets",
            headers=CHALLENGE,
        )
    offered = offered_tokens(scope.get("subprotocols", ()))
    if len(headers) + len(queried) + len(offered) > 1:
        raise Problem("bad_token", "more than one token was sent", headers=CHALLENGE)
    if not headers:
        return next(iter((*queried, *offered)), None)
    return bearer_token(headers[0])


def bearer_token(header: str) -> str:
    """The token of an Authorization header. Raises Problem."""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Problem("bad_token", "Authorization must be Bearer and a token", headers=CHALLENGE)
    return token.strip()


def offered_tokens(subprotocols: Iterable[str]) -> list[str]:
    """The tokens among the subprotocols that a WebSocket's client offers."""
    return [name.removeprefix(_BEARER) for name in subprotocols if name.startswith(_BEARER)]


def client_address(scope: Scope, proxies: Proxies) -> str:
    """The address of the client, behind trusted proxies; "" where it is not known."""
    peer = _peer(scope)
    if not proxies.trusts(peer):
        return peer
    return proxies.client_address(peer, Headers(scope=scope).getlist("x-forwarded-for"))


def address_of(connection: Request | WebSocket) -> str:
    """The address of the client of a request or WebSocket."""
    return client_address(connection.scope, edge_of(connection).authenticator.proxies)


def _peer(scope: Scope) -> str:
    client: Any = scope.get("client")
    return str(client[0]) if client else ""


# Which resources have tickets: by the first part of the path, and the parameter that names the resource.
_RESOURCES = {"callbacks": "session_id", "cameras": "entity", "octane": "entity"}


def resource_of(scope: Mapping[str, Any]) -> str:
    """What a ticket for this route is bound to, such as `callbacks/sess_…` or `cameras/main`; of a surface, its path."""
    path: str = scope["path"]
    kind = path.lstrip("/").partition("/")[0]
    return f"{kind}/{scope['path_params'][_RESOURCES[kind]]}" if kind in _RESOURCES else path_resource(path)


def path_resource(path: str) -> str:
    """What a ticket for one address is bound to."""
    return f"path/{path.lstrip('/')}"


def _transport(scope: Mapping[str, Any]) -> str:
    if scope["type"] == "websocket":
        return "websocket"
    last: str = scope["path"].rpartition("/")[2]
    if last in ("snapshot", "still.jpg", "still.png"):
        return "snapshot"
    return {"mjpeg": "mjpeg", "whep": "whep", "stream.mp4": "mp4"}.get(last, "sse")


def pass_of(scope: Scope) -> str | None:
    """The pass in a request's cookies; unreadable cookies are ignored."""
    jar: SimpleCookie = SimpleCookie()
    for header in Headers(scope=scope).getlist("cookie"):
        try:
            jar.load(header)
        except CookieError:
            continue
    return jar[COOKIE].value if COOKIE in jar else None


def pass_cookie(scope: Scope, proxies: Proxies, issued: Pass) -> str:
    """The Set-Cookie header of a pass: for this one stream, hidden from scripts, not sent across sites."""
    kind, _, name = resource_of(scope).partition("/")
    path = {
        "callbacks": f"/callbacks/sessions/{quote(name, safe='')}",
        # Of what is served: behind a proxy that strips a prefix, its client knows another path.
        "path": f"/{quote(name)}",
    }.get(kind, f"/{kind}/{quote(name, safe='')}")
    secure = "; Secure" if _is_secure(scope, proxies) else ""
    age = max(1, int(issued.seconds))
    return f"{COOKIE}={issued.value}; Path={path}; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"


def _is_secure(scope: Scope, proxies: Proxies) -> bool:
    """Whether the client speaks TLS, with us or with a trusted proxy."""
    if scope.get("scheme") in ("https", "wss"):
        return True
    forwarded = Headers(scope=scope).get("x-forwarded-proto", "")
    return forwarded.strip().lower() in ("https", "wss") and proxies.trusts(_peer(scope))
