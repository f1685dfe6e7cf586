"""This file is where everybody comes in: who asks is found out before any route answers, and what is not open is closed.

Without keys everybody is let in and may do everything; the edge then listens on loopback only.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers, QueryParams
from starlette.types import Scope

from edge.auth.limits import Limits
from edge.auth.principal import EVERYBODY, NOBODY, Principal
from edge.auth.proxies import Proxies
from edge.auth.subprotocol import offered_tokens
from edge.auth.tickets import Tickets
from edge.auth.token import Verifier
from edge.errors import Problem
from edge.settings import IdentitySettings, LimitSettings
from router.nats.bucket import WriteGuard
from router.nats.connection import Connection

COOKIE = "callboard_pass"
PRINCIPAL = "callboard.principal"
PASS = "callboard.pass"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="callboard"'}


class Access(Enum):
    """Whom a route is for."""

    OPEN = "open"  # everybody, also without a token
    TOKEN = "token"  # who has a token; the route itself looks what for
    STREAM = "stream"  # the same, and who has a ticket or a pass for it: what browsers open by themselves
    OPERATOR = "operator"  # who operates the system


class Authenticator:
    """Finds out who asks. One per process."""

    def __init__(
        self,
        identity: IdentitySettings,
        limits: LimitSettings,
        proxies: tuple[str, ...],
        connection: Connection,
        guard: WriteGuard | None = None,
    ) -> None:
        """Raises BadKey or ValueError where the settings are wrong."""
        self.settings = identity
        self.limits = Limits(limits)
        self.proxies = Proxies(proxies)
        self.tickets = Tickets(connection, identity.ticket_ttl, guard)
        self.verifier = Verifier(identity) if identity.configured else None

    @property
    def open(self) -> bool:
        """Whether everybody is let in."""
        return self.verifier is None

    async def run(self) -> None:
        """Keeps the keys fresh until cancelled."""
        if self.verifier and self.verifier.jwks:
            await self.verifier.jwks.run()

    def address(self, scope: Scope) -> str:
        """Where a request comes from."""
        return self.proxies.address(scope)

    async def verify(self, token: str, address: str) -> Principal:
        """Says who a token proves; who offers too many that prove nobody is refused for a while. Raises Problem."""
        if self.verifier is None:
            return EVERYBODY
        self.limits.check_failures(address)
        try:
            return await self.verifier.verify(token)
        except Problem as refusal:
            if refusal.code == "bad_token":
                self.limits.failed(address)
            raise

    async def admit(self, scope: Scope, access: Access) -> Principal:
        """Says who asks for a route. Raises Problem 401, 403 or 429, or BrokerError."""
        if self.verifier is None:
            return EVERYBODY
        token = self._token(scope)
        if token is not None:
            principal = await self.verify(token, self.address(scope))
        elif access is Access.STREAM:
            principal = await self._by_ticket(scope)
        else:
            raise Problem("token_required", "send Authorization: Bearer <token>", headers=CHALLENGE)
        if access is Access.OPERATOR:
            principal.require_operator()
        return principal

    def _token(self, scope: Scope) -> str | None:
        """The token of a request; two of them are one too many."""
        said = Headers(scope=scope).getlist("authorization")
        query = QueryParams(scope.get("query_string", b""))
        asked = [value for name in ("token", "access_token") for value in query.getlist(name)]
        if asked and not self.settings.token_in_query:
            raise Problem(
                "token_in_query",
                "an address is written into logs: send Authorization: Bearer, or a ticket of POST /tickets",
                headers=CHALLENGE,
            )
        offered = offered_tokens(scope)
        if len(said) + len(asked) + len(offered) > 1:
            raise Problem("bad_token", "more than one token was sent", headers=CHALLENGE)
        if not said:
            return next(iter((*asked, *offered)), None)
        scheme, _, token = said[0].partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Problem("bad_token", "Authorization must be Bearer and a token", headers=CHALLENGE)
        return token.strip()

    async def _by_ticket(self, scope: Scope) -> Principal:
        """Lets in who has a ticket, or the pass that its first use was answered with."""
        resource = resource_of(scope)
        ticket = QueryParams(scope.get("query_string", b"")).get("ticket")
        value = _cookie(scope)
        if ticket is None and value is None:
            raise Problem("token_required", "send Authorization: Bearer <token>, or a ticket", headers=CHALLENGE)
        address = self.address(scope)
        self.limits.check_failures(address)
        if ticket is not None and (principal := await self.tickets.spend(ticket, resource, _transport(scope))):
            scope[PASS] = await self.tickets.give_pass(principal, resource)
            return principal
        if value is not None and (principal := await self.tickets.look(value, resource)):
            return principal
        self.limits.failed(address)
        raise Problem("bad_ticket", "it is spent, too old, or for something else: ask for another", headers=CHALLENGE)

    async def renew_pass(self, scope: Scope, principal: Principal) -> tuple[str, float] | None:
        """A pass until the new token ends, for a browser that has one of the same principal. Raises BrokerError."""
        value = _cookie(scope)
        if self.open or value is None:
            return None
        resource = resource_of(scope)
        before = await self.tickets.look(value, resource)
        if before is None or before.id != principal.id:
            return None
        return await self.tickets.give_pass(principal, resource)

    def cookie(self, scope: Scope, path: str, value: str, seconds: float) -> str:
        """The header that gives a browser its pass: for this one stream, unseen by scripts, kept from other sites."""
        secure = "; Secure" if self.proxies.secure(scope) else ""
        return f"{COOKIE}={value}; Path={path}; Max-Age={max(1, int(seconds))}; HttpOnly; SameSite=Strict{secure}"


def principal_of(scope: Mapping[str, Any]) -> Principal:
    """Who asks, on a route that was admitted to; nobody in particular on one that is open."""
    found: Principal = scope.get(PRINCIPAL, NOBODY)
    return found


# What has a ticket of its own: by the first part of its path, and the parameter that names it.
_RESOURCES = {"callbacks": "session_id", "cameras": "entity", "octane": "entity"}


def resource_of(scope: Mapping[str, Any]) -> str:
    """What a ticket for this route is bound to, such as `callbacks/sess_…` or `cameras/main`."""
    kind = scope["path"].lstrip("/").partition("/")[0]
    return f"{kind}/{scope['path_params'][_RESOURCES[kind]]}"


def path_of(scope: Mapping[str, Any]) -> str:
    """The path under which a pass for this route is sent again."""
    kind, _, name = resource_of(scope).partition("/")
    return f"/callbacks/sessions/{quote(name, safe='')}" if kind == "callbacks" else f"/{kind}/{quote(name, safe='')}"


def _transport(scope: Mapping[str, Any]) -> str:
    last: str = scope["path"].rpartition("/")[2]
    return {"ws": "websocket"}.get(last, last)


def _cookie(scope: Scope) -> str | None:
    """The pass that a browser sent; of cookies that cannot be read there is none."""
    jar: SimpleCookie = SimpleCookie()
    for header in Headers(scope=scope).getlist("cookie"):
        try:
            jar.load(header)
        except CookieError:
            continue
    return jar[COOKIE].value if COOKIE in jar else None
