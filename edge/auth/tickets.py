"""Issues and redeems tickets: short-lived, single-use credentials that a browser can put into a URL.

A browser's WebSocket, EventSource and `<img>` can send no header of the page's choice, and a token in a URL would be
written to logs. So a client with a token requests a ticket for one resource. Redeeming it sets a cookie (the pass) for the
same resource, valid until the token ends: an EventSource reconnects to the same URL, and so with a spent ticket. Both are
stored in LEASES under a hash, so that every replica accepts them and reading the bucket gives nothing usable.

A sign-in ticket hands a token on to another browser: it is exchanged for the token once, by a POST. The token is stored
encrypted with a key that is derived from the ticket, which is not stored.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import secrets
import time
from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge.auth.grants import Grants
from edge.auth.principal import Principal
from edge.auth.verified_tokens import VerifiedTokens
from router.errors import Conflict
from router.nats.bucket import Bucket, WriteGuard
from router.nats.connection import Connection
from router.stored import decoder
from router.topology import LEASES

_FORM = re.compile(r"[A-Za-z0-9_-]{43}\Z")
# A day: a page that is open for longer needs a token again.
MAX_PASS_SECONDS = 86400.0
# How long a spent ticket's marker is kept; no ticket lives longer.
SPENT_SECONDS = 300.0
# How long a pass that was found is not looked up again by this process. Nothing takes one back before its end; who deletes one from
# the bucket waits so long.
KNOWN_SECONDS = 300.0
# How long a sign-in ticket can be exchanged: it is pasted by a person.
SIGN_IN_SECONDS = 120.0
# Each key encrypts once, so that its nonce need not change.
_NONCE = bytes(12)


class _Stored(msgspec.Struct):
    """A ticket or pass as it is stored: its resource, its end, and its principal."""

    resource: str
    until: float
    owner: str | None
    read: list[str]
    operate: bool
    expires: float
    transport: str | None = None


class _Sealed(msgspec.Struct):
    """A token as a sign-in ticket stores it: encrypted, in base64, and when the ticket ends."""

    sealed: str
    until: float


_decode = decoder(_Stored, LEASES)
_decode_sealed = decoder(_Sealed, LEASES)


@dataclass(frozen=True, slots=True)
class Pass:
    """The value of a pass cookie, and for how many seconds it is valid."""

    value: str
    seconds: float


class Tickets:
    """Issues and redeems tickets and passes."""

    def __init__(self, connection: Connection, ttl: float, guard: WriteGuard | None = None) -> None:
        self.ttl = ttl
        self._connection = connection
        self._bucket = Bucket(connection, LEASES, guard)
        # A browser that comes back sends the ticket that it has spent and its pass: neither is looked up each time.
        self._passes: VerifiedTokens[tuple[_Stored, float]] = VerifiedTokens()
        self._spent: VerifiedTokens[bool] = VerifiedTokens()

    async def issue(self, principal: Principal, resource: str, transport: str | None = None) -> str:
        """Issues a ticket for one use of one resource. Raises BrokerError."""
        return await self._issue("ticket", principal, resource, self.ttl, transport)

    async def redeem(self, ticket: str, resource: str, transport: str) -> Principal | None:
        """Redeems a ticket, None where it is not valid; of several concurrent attempts one succeeds. Raises BrokerError."""
        found = None if self._spent.get(ticket) else await self._find("ticket", ticket)
        if found is None:
            return None
        stored, revision = found
        if stored.resource != resource or stored.transport not in (None, transport):
            return None
        try:
            await self._bucket.update(_key("ticket", ticket), b"", revision, SPENT_SECONDS)
        except Conflict:
            return None
        self._spent.put(ticket, True)
        return _principal(stored)

    async def issue_pass(self, principal: Principal, resource: str) -> Pass:
        """Issues a pass for one resource, valid until the token ends. Raises BrokerError."""
        seconds = min(principal.left, MAX_PASS_SECONDS)
        return Pass(await self._issue("pass", principal, resource, seconds, None), seconds)

    async def check_pass(self, value: str, resource: str) -> Principal | None:
        """The principal of a pass; None where it is not valid. Raises BrokerError."""
        stored = self._known_pass(value)
        if stored is None and (found := await self._find("pass", value)) is not None:
            stored, _ = found
            self._passes.put(value, (stored, time.monotonic() + KNOWN_SECONDS))
        return _principal(stored) if stored is not None and stored.resource == resource else None

    def _known_pass(self, value: str) -> _Stored | None:
        """A pass that was looked up lately, and has not ended since."""
        known = self._passes.get(value)
        if known is None:
            return None
        stored, until = known
        return stored if time.monotonic() < until and time.time() < stored.until else None

    async def issue_sign_in(self, token: str) -> str:
        """Issues a ticket that is exchanged for a token once. Raises BrokerError."""
        value = secrets.token_urlsafe(32)
        sealed = base64.b64encode(_cipher(value).encrypt(_NONCE, token.encode(), None)).decode()
        stored = _Sealed(sealed, time.time() + SIGN_IN_SECONDS)
        await self._bucket.create(_key("signin", value), msgspec.json.encode(stored), math.ceil(SIGN_IN_SECONDS) + 1)
        return value

    async def redeem_sign_in(self, ticket: str) -> str | None:
        """The token of a sign-in ticket; None where it is not valid, or spent. Raises BrokerError."""
        if not _FORM.match(ticket):
            return None
        entry = await self._bucket.latest(_key("signin", ticket))
        stored = _decode_sealed("signin", entry.value) if entry is not None and entry.value else None
        if entry is None or stored is None or stored.until <= time.time():
            return None
        try:
            await self._bucket.update(_key("signin", ticket), b"", entry.revision, SPENT_SECONDS)
            return _cipher(ticket).decrypt(_NONCE, base64.b64decode(stored.sealed), None).decode()
        except (Conflict, InvalidTag, ValueError):
            return None

    async def _issue(
        self, kind: str, principal: Principal, resource: str, seconds: float, transport: str | None
    ) -> str:
        value = secrets.token_urlsafe(32)
        stored = _Stored(
            resource,
            time.time() + seconds,
            principal.id,
            list(principal.grants.read),
            principal.grants.operate,
            principal.expires if math.isfinite(principal.expires) else time.time() + MAX_PASS_SECONDS,
            transport,
        )
        # The server's TTL has whole seconds; `until` is exact.
        await self._bucket.create(_key(kind, value), msgspec.json.encode(stored), math.ceil(seconds) + 1)
        return value

    async def _find(self, kind: str, value: str) -> tuple[_Stored, int] | None:
        if not _FORM.match(value):
            return None
        # Read from the stream's leader: a replica that lags might not have a ticket that was just issued.
        entry = await self._bucket.latest(_key(kind, value))
        if entry is None or not entry.value:
            return None
        stored = _decode(kind, entry.value)
        return (stored, entry.revision) if stored is not None and stored.until > time.time() else None


def _key(kind: str, value: str) -> str:
    return f"{kind}.{hashlib.sha256(value.encode()).hexdigest()}"


def _cipher(value: str) -> AESGCM:
    # Another hash than that of `_key`, which anybody can read who reads the bucket.
    return AESGCM(hashlib.blake2b(value.encode(), digest_size=32, person=b"sign-in").digest())


def _principal(stored: _Stored) -> Principal:
    return Principal(stored.owner, Grants(tuple(stored.read), operate=stored.operate), stored.expires)
