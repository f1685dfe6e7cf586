"""Authorizes open connections: what each may read, until when, and what a new token changes.

A token is checked when a connection opens, and again whenever it could have stopped being valid: when it expires, when the
session changes, when the client sends another. Replayed events are read under the view that the authorization allows, so
revoked grants take effect at once. A client that loses a right is told so, or its connection is closed.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import msgspec

from edge.auth.authenticator import Authenticator
from edge.auth.grants import Grants
from edge.auth.limits import ConnectionSlot
from edge.auth.principal import Principal
from edge.disconnect import EXPIRED, FORBIDDEN
from edge.errors import Problem
from edge.problem import count_refusal
from edge.sessions.registry import Session
from edge.sessions.spec import SessionSpec
from edge.types import Authorized
from edge.view import View
from router.cluster.peers import answer_peer, ask_peers
from router.coalescing import coalesced_sleep
from router.codec import DECODE_FAULTS, rfc3339
from router.nats.connection import Connection
from router.subject import escape

log = logging.getLogger(__name__)

# What the edge processes tell one another: this principal has a new token for this session.
SUBJECT = "edge.refresh"
SWEEP_SECONDS = 1.0


def require_subjects(principal: Principal, spec: SessionSpec) -> None:
    """Raises Problem where a session names subjects that are not granted; those addressed to itself always are."""
    own = f"session.{escape(spec.id)}."
    principal.require_read(*(pattern for pattern in spec.subjects or () if not pattern.startswith(own)))


def granted_view(principal: Principal, session: Session) -> View:
    """The part of a session's view that a principal may read. Raises Problem where the session names more than that."""
    if principal.id is None:
        return session.view
    require_subjects(principal, session.spec)
    return session.view if session.spec.subjects else session.view.within(principal.grants.read)


class ConnectionAuth:
    """The authorization of one open connection."""

    __slots__ = ("_address", "_auths", "_slot", "_warned", "principal", "reader", "session")

    def __init__(
        self, auths: ConnectionAuths, principal: Principal, session: Session, slot: ConnectionSlot, address: str
    ) -> None:
        self.principal = principal
        self.session = session
        self.reader: Authorized | None = None
        self._auths = auths
        self._slot = slot
        self._address = address
        self._warned = False

    def view(self, session: Session) -> View:
        """The part of a session's view that the principal may read. Raises Problem where it names more than that."""
        return granted_view(self.principal, session)

    # Called by the reader and its transport.

    def attach(self, reader: Authorized) -> None:
        """Starts to tell a reader of changes to what it may read."""
        self.reader = reader
        self._auths.attached(self)

    def leave(self) -> None:
        """Detaches the reader and releases the connection's slot; idempotent."""
        self.reader = None
        self._slot.release()
        self._auths.forget(self)

    def done(self) -> None:
        """Ends with the request, unless a reader has taken over the connection."""
        if self.reader is None:
            self.leave()

    def refresh(self, token: object) -> dict[str, Any]:
        """Takes a new token that came over the connection itself; returns the answer to it."""
        try:
            self.take(self._auths.verify(token, self._address))
        except Problem as refusal:
            count_refusal(refusal.code)
            return {"control": "error", "code": refusal.code, "detail": refusal.detail}
        return {"control": "refreshed", "expires_at": self.expires_at}

    # Called by ConnectionAuths.

    def change(self, session: Session) -> None:
        """Puts the reader under the granted view of a changed session, or closes it where nothing is granted."""
        self.session = session
        if self.reader is None:
            return
        try:
            view = self.view(session)
        except Problem:
            self.reader.close(FORBIDDEN)
            return
        self.reader.change(view)

    def take(self, principal: Principal) -> None:
        """Takes a new token of the same principal. Raises Problem, and changes nothing, where it does not grant the session."""
        if principal.id != self.principal.id:
            raise Problem("not_granted", "the token is of another principal")
        before, self.principal = self.principal, principal
        try:
            view = self.view(self.session)
        except Problem:
            self.principal = before
            raise
        self._warned = False
        self._auths.schedule(self)
        if self.reader is not None and principal.grants.read != before.grants.read:
            self.reader.change(view)

    def check_expiry(self, now: float, notice: float) -> float | None:
        """Warns the client `notice` seconds before its token expires, closes it afterwards; returns when to check again."""
        if self.reader is None or math.isinf(self.principal.expires):
            return None
        expires = self.principal.expires
        if now >= expires:
            self.reader.close(EXPIRED)
            return None
        if now >= expires - notice and not self._warned:
            seconds = round(expires - now, 3)
            said = rfc3339(time.time_ns())
            body = {"expires_at": self.expires_at, "seconds": seconds, "refresh": True, "timestamp": said}
            self._warned = self.reader.notify("expiring", body)
        return expires if self._warned else expires - notice

    @property
    def expires_at(self) -> str | None:
        return expires_at(self.principal)


def expires_at(principal: Principal) -> str | None:
    """When a token expires, as the API writes it; None for never."""
    # Calendars end with the year 9999.
    seconds = min(principal.expires, 253402300799.0)
    return None if math.isinf(principal.expires) else rfc3339(int(seconds * 1e9))


class _Renewal(msgspec.Struct):
    """A new token, as one edge process announces it to the others."""

    sender: str
    session: str
    owner: str
    read: list[str]
    operate: bool
    expires: float


class ConnectionAuths:
    """The authorizations of all open connections of one process, in a heap by when each is checked next."""

    def __init__(self, authenticator: Authenticator, connection: Connection, me: str, size: Callable[[], int]) -> None:
        """`me` is this process's id, `size` gives how many edge processes are alive, this one included."""
        self._authenticator = authenticator
        self._connection = connection
        self._me = me
        self._size = size
        self._attached: dict[str, set[ConnectionAuth]] = {}
        self._count = 0
        self._due: list[tuple[float, int, ConnectionAuth]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return self._count

    def open(self, principal: Principal, session: Session, address: str, poll: bool = False) -> ConnectionAuth | None:
        """Authorizes a new connection, or a poll; None where authentication is off. Raises Problem 429."""
        if self._authenticator.open and self._authenticator.limits.key(address) is None:
            return None
        slot = self._authenticator.limits.open(address, principal, handshake=not poll)
        return ConnectionAuth(self, principal, session, slot, address)

    def verify(self, token: object, address: str) -> Principal:
        """Verifies a token that came over a connection, with the keys already fetched. Raises Problem."""
        return self._authenticator.verify_now(token, address)

    def attached(self, auth: ConnectionAuth) -> None:
        """Keeps an authorization whose reader has started."""
        mine = self._attached.setdefault(auth.session.id, set())
        if auth not in mine:
            mine.add(auth)
            self._count += 1
        self.schedule(auth)

    def forget(self, auth: ConnectionAuth) -> None:
        """Drops an authorization whose reader has ended; idempotent."""
        mine = self._attached.get(auth.session.id)
        if mine is None or auth not in mine:
            return
        mine.discard(auth)
        self._count -= 1
        if not mine:
            del self._attached[auth.session.id]

    def change(self, session: Session) -> None:
        """Applies a changed session to each of its connections."""
        for auth in tuple(self._attached.get(session.id, ())):
            auth.change(session)

    def schedule(self, auth: ConnectionAuth) -> None:
        """Schedules the next expiry check of an authorization."""
        if math.isinf(auth.principal.expires) or auth.reader is None:
            return
        # Entries of connections that closed long before their tokens expire must not pile up.
        if len(self._due) > 2 * self._count + 1000:
            self._due = [entry for entry in self._due if entry[2].reader is not None]
            heapq.heapify(self._due)
        at = auth.principal.expires - self._authenticator.settings.expiry_notice
        heapq.heappush(self._due, (at, next(self._order), auth))

    def sweep(self, now: float) -> None:
        """Checks every authorization that is due."""
        while self._due and self._due[0][0] <= now:
            _, _, auth = heapq.heappop(self._due)
            again = auth.check_expiry(now, self._authenticator.settings.expiry_notice)
            if again is not None:
                heapq.heappush(self._due, (max(again, now + 0.001), next(self._order), auth))

    async def run(self) -> None:
        """Checks token expiry and listens for new tokens from other processes, until cancelled."""
        listening = await self._connection.listen(SUBJECT, self._received)
        try:
            while True:
                await coalesced_sleep(SWEEP_SECONDS)
                self.sweep(time.time())
        finally:
            await listening.stop()

    # A new token for the connections of a principal, on every process

    async def renew(self, principal: Principal, session_id: str) -> int:
        """Gives a principal's connections to a session its new token, on every process; returns how many there were.

        Raises Problem where the token does not grant what a connection of this process reads.
        """
        renewed = self._renew(principal, session_id)
        others = self._size() - 1
        if others <= 0 or principal.id is None:
            return renewed
        grants = principal.grants
        renewal = _Renewal(
            self._me, session_id, principal.id, list(grants.read), grants.operate, min(principal.expires, 1e12)
        )
        counts = await ask_peers(self._connection, SUBJECT, msgspec.json.encode(renewal), others, _count)
        return renewed + sum(counts)

    def _renew(self, principal: Principal, session_id: str) -> int:
        mine = [auth for auth in self._attached.get(session_id, ()) if auth.principal.id == principal.id]
        for auth in mine:
            auth.take(principal)
        return len(mine)

    def _received(self, _subject: str, reply: str, payload: bytes, _headers: bytes) -> None:
        try:
            renewal = msgspec.json.decode(payload, type=_Renewal)
        except DECODE_FAULTS:
            log.warning("token renewal from another edge cannot be decoded; its connections here keep their old token")
            return
        if renewal.sender == self._me:
            return
        principal = Principal(renewal.owner, Grants(tuple(renewal.read), operate=renewal.operate), renewal.expires)
        try:
            count = self._renew(principal, renewal.session)
        except Problem:
            count = 0
        if reply:
            answer_peer(self._connection, reply, str(count).encode())


def _count(answer: bytes) -> int | None:
    """How many connections another process renewed, from its answer."""
    return int(answer) if answer.isdigit() else None
