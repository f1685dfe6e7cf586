"""Authenticates requests: decides which principal a token, a ticket or a pass proves, and whether a route admits it.

Without keys authentication is off: every request is admitted with all grants, and the edge listens on loopback only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edge.auth.limits import Limits
from edge.auth.principal import EVERYBODY, Principal
from edge.auth.proxies import Proxies
from edge.auth.tickets import Pass, Tickets
from edge.auth.token import Verifier
from edge.errors import Problem
from edge.settings import IdentitySettings, LimitSettings
from router.nats.bucket import WriteGuard
from router.nats.connection import Connection

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="callboard"'}


class Access(Enum):
    """What a route requires of a request."""

    OPEN = "open"  # nothing
    TOKEN = "token"  # a token; the route itself checks the grants
    SESSION = "session"  # the same, and a token for this session alone is enough
    STREAM = "stream"  # a token, or a ticket or pass for this stream: browsers open streams without headers
    OPERATOR = "operator"  # a token with `operate`


@dataclass(frozen=True, slots=True)
class StreamCredentials:
    """What a browser sends to a stream instead of a token: a ticket (query parameter) or a pass (cookie)."""

    ticket: str | None
    pass_value: str | None
    # What the ticket must be bound to, such as `callbacks/sess_…` or `cameras/main`, and the transport that uses it.
    resource: str
    transport: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request sends to prove who makes it, and the client address that it comes from."""

    token: str | None
    address: str
    stream: StreamCredentials | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """The outcome of a request that is admitted; a redeemed ticket is answered with a pass."""

    principal: Principal
    issued: Pass | None = None


class Authenticator:
    """Authenticates the requests of one process."""

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
        """Whether authentication is off."""
        return self.verifier is None

    async def run(self) -> None:
        """Keeps the signing keys fresh until cancelled."""
        if self.verifier and self.verifier.jwks:
            await self.verifier.jwks.run()

    async def admit(self, credentials: Credentials, access: Access) -> Admission:
        """Authenticates a request for a route. Raises Problem 401, 403 or 429, or BrokerError."""
        if self.verifier is None:
            return Admission(EVERYBODY)
        if credentials.token is None:
            if credentials.stream is not None:
                return await self._redeem(credentials.stream, credentials.address)
            raise Problem("token_required", "send Authorization: Bearer <token>", headers=CHALLENGE)
        principal = await self.verify(credentials.token, credentials.address)
        if principal.confined and access is not Access.SESSION:
            raise Problem("not_granted", "the token is for the endpoints of single sessions")
        if access is Access.OPERATOR:
            principal.require_operator()
        return Admission(principal)

    async def verify(self, token: str, address: str) -> Principal:
        """Verifies a token; an address that sends too many invalid ones is refused for a while. Raises Problem."""
        if self.verifier is None:
            return EVERYBODY
        self.limits.check_failures(address)
        try:
            return await self.verifier.verify(token)
        except Problem as refusal:
            self._count_failure(refusal, address)
            raise

    def admit_now(self, token: str | None, address: str) -> Principal | None:
        """The principal of a request for a stream, with the keys already fetched; None where `admit` is to decide. Counts nothing."""
        if self.verifier is None:
            return EVERYBODY
        if token is None:
            return None
        try:
            self.limits.check_failures(address)
            principal = self.verifier.verify_now(token)
        except Problem:
            return None
        return None if principal.confined else principal

    def verify_now(self, token: object, address: str) -> Principal:
        """Verifies a token with the keys already fetched; invalid tokens count as those of requests do. Raises Problem."""
        self.limits.check_failures(address)
        try:
            if self.verifier is None or not isinstance(token, str):
                raise Problem("bad_token", "there is no token to take")
            return self.verifier.verify_now(token)
        except Problem as refusal:
            self._count_failure(refusal, address)
            raise

    def _count_failure(self, refusal: Problem, address: str) -> None:
        if refusal.code == "bad_token":
            self.limits.failed(address)

    async def _redeem(self, sent: StreamCredentials, address: str) -> Admission:
        """Admits a ticket, which is then spent and answered with a pass; or such a pass."""
        if sent.ticket is None and sent.pass_value is None:
            raise Problem("token_required", "send Authorization: Bearer <token>, or a ticket", headers=CHALLENGE)
        self.limits.check_failures(address)
        if sent.ticket is not None:
            principal = await self.tickets.redeem(sent.ticket, sent.resource, sent.transport)
            if principal:
                return Admission(principal, await self.tickets.issue_pass(principal, sent.resource))
        if sent.pass_value is not None and (principal := await self.tickets.check_pass(sent.pass_value, sent.resource)):
            return Admission(principal)
        self.limits.failed(address)
        raise Problem(
            "bad_ticket", "it is spent, expired, or for another resource: request a new one", headers=CHALLENGE
        )

    async def renew_pass(self, value: str | None, resource: str, principal: Principal) -> Pass | None:
        """A pass until the new token ends, where the browser has one of the same principal. Raises BrokerError."""
        if self.open or value is None:
            return None
        before = await self.tickets.check_pass(value, resource)
        if before is None or before.id != principal.id:
            return None
        return await self.tickets.issue_pass(principal, resource)
