"""This file is where browsers get what they can put into an address: a ticket that is good once, for one thing, and soon not.

A browser's WebSocket, EventSource and `<img>` can send no header of the page's choice, and a token in an address is
written into logs. So who has a token asks for a ticket. The first use of it gives a cookie for the same thing, which is
good until the token ends: an EventSource that reconnects, with the same address and so with a spent ticket, is let in by
that. Both lie in LEASES under a hash, so that any replica takes them and nobody who reads the bucket can use them.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import time

import msgspec

from edge.auth.grants import Grants
from edge.auth.principal import Principal
from router.errors import Conflict
from router.nats.bucket import Bucket, WriteGuard
from router.nats.connection import Connection
from router.stored import decoder
from router.topology import LEASES

_FORM = re.compile(r"[A-Za-z0-9_-]{43}\Z")
# A day: who leaves a page open for longer comes back with a token.
MAX_PASS_SECONDS = 86400.0
# As long as the mark of a used ticket stays; no ticket lives longer.
SPENT_SECONDS = 300.0


class _Kept(msgspec.Struct):
    """What lies in the bucket: for what it is good, until when, and for whom."""

    resource: str
    until: float
    owner: str | None
    read: list[str]
    operate: bool
    expires: float
    transport: str | None = None


_kept = decoder(_Kept, LEASES)


class Tickets:
    """Gives out tickets and passes, and takes them."""

    def __init__(self, connection: Connection, ttl: float, guard: WriteGuard | None = None) -> None:
        self.ttl = ttl
        self._connection = connection
        self._bucket = Bucket(connection, LEASES, guard)

    async def give(self, principal: Principal, resource: str, transport: str | None = None) -> str:
        """Makes a ticket: good once, for one resource. Raises BrokerError."""
        return await self._give("ticket", principal, resource, self.ttl, transport)

    async def spend(self, ticket: str, resource: str, transport: str) -> Principal | None:
        """Takes a ticket; None where it is not good. Of all who try at once, one is let in. Raises BrokerError."""
        found = await self._find("ticket", ticket)
        if found is None:
            return None
        kept, revision = found
        if kept.resource != resource or kept.transport not in (None, transport):
            return None
        try:
            await self._bucket.update(_key("ticket", ticket), b"", revision, SPENT_SECONDS)
        except Conflict:
            return None
        return _principal(kept)

    async def give_pass(self, principal: Principal, resource: str) -> tuple[str, float]:
        """Makes what a cookie holds: good for one resource until the token ends, and for how long. Raises BrokerError."""
        seconds = min(principal.left, MAX_PASS_SECONDS)
        return await self._give("pass", principal, resource, seconds, None), seconds

    async def look(self, value: str, resource: str) -> Principal | None:
        """Says whom a pass lets in; None where it is not good. Raises BrokerError."""
        found = await self._find("pass", value)
        return _principal(found[0]) if found and found[0].resource == resource else None

    async def _give(self, kind: str, principal: Principal, resource: str, seconds: float, transport: str | None) -> str:
        value = secrets.token_urlsafe(32)
        kept = _Kept(
            resource,
            time.time() + seconds,
            principal.id,
            list(principal.grants.read),
            principal.grants.operate,
            principal.expires if math.isfinite(principal.expires) else time.time() + MAX_PASS_SECONDS,
            transport,
        )
        # The server forgets it in whole seconds; `until` says it exactly.
        await self._bucket.create(_key(kind, value), msgspec.json.encode(kept), math.ceil(seconds) + 1)
        return value

    async def _find(self, kind: str, value: str) -> tuple[_Kept, int] | None:
        if not _FORM.match(value):
            return None
        # Asked of the stream's leader: a replica that lags might not know yet what was just given out.
        entry = await self._bucket.latest(_key(kind, value))
        if entry is None or not entry.value:
            return None
        kept = _kept(kind, entry.value)
        return (kept, entry.revision) if kept is not None and kept.until > time.time() else None


def _key(kind: str, value: str) -> str:
    return f"{kind}.{hashlib.sha256(value.encode()).hexdigest()}"


def _principal(kept: _Kept) -> Principal:
    return Principal(kept.owner, Grants(tuple(kept.read), operate=kept.operate), kept.expires)
