"""This file is where a live connection keeps who reads it: what that may see, until when, and what a new token changes.

A token is looked at when a connection opens, and again whenever it could have stopped being true: when it ends, when the
session changes, when the client brings another. Each replayed event is read under the view that the auth allows, so what
is not granted any more is not sent. Nothing is taken away in silence: who loses a right is told, or closed.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from edge.auth.authenticator import Authenticator
from edge.auth.grants import Grants
from edge.auth.limits import ConnectionSlot
from edge.auth.principal import Principal
from edge.disconnect import EXPIRED, FORBIDDEN
from edge.errors import Problem
from edge.problem import count_refusal
from edge.types import Authorized
from router.cluster.peers import answer_peer, ask_peers
from router.codec import DECODE_FAULTS, rfc3339
from router.nats.connection import Connection
from router.subject import escape

if TYPE_CHECKING:
    from edge.sessions.registry import Session
    from edge.sessions.spec import SessionSpec
    from edge.view import View

log = logging.getLogger(__name__)

# What the edge processes tell one another: this principal has a new token for this session.
SUBJECT = "edge.refresh"
SWEEP_SECONDS = 1.0


def require_subjects(principal: Principal, spec: SessionSpec) -> None:
    """Raises Problem where a session asks for subjects that are not granted; what is addressed to itself always is."""
    own = f"session.{escape(spec.id)}."
    principal.require_read(*(pattern for pattern in spec.subjects or () if not pattern.startswith(own)))


class ConnectionAuth:
    """Who reads one connection."""

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
        """What of a session may be seen by who reads. Raises Problem where the session asks for more by name."""
        if self.principal.id is None:
            return session.view
        require_subjects(self.principal, session.spec)
        return session.view if session.spec.subjects else session.view.within(self.principal.grants.read)

    # Called by the reader, and by what serves it.

    def attach(self, reader: Authorized) -> None:
        """The reader has begun; from now on it is told what changes."""
        self.reader = reader
        self._auths.attached(self)

    def leave(self) -> None:
        """The reader has ended. Harmless the second time."""
        self.reader = None
        self._slot.release()
        self._auths.forget(self)

    def done(self) -> None:
        """The request is over; where no reader goes on with the connection, so is that."""
        if self.reader is None:
            self.leave()

    def refresh(self, token: object) -> dict[str, Any]:
        """Takes a new token over the connection itself; returns what to answer."""
        try:
            self.take(self._auths.read(token, self._address))
        except Problem as refusal:
            count_refusal(refusal.code)
            return {"control": "error", "code": refusal.code, "detail": refusal.detail}
        return {"control": "refreshed", "expires_at": self.expires_at}

    # Called by the auths and the hub.

    def change(self, session: Session) -> None:
        """The session was changed: its reader goes on under what of it is granted, or not at all."""
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
        """A new token of the same principal. Raises Problem, and changes nothing, where it does not grant the session."""
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

    def look(self, now: float, notice: float) -> float | None:
        """Says what is due of `expiring` and the end; returns when to look again."""
        if self.reader is None or math.isinf(self.principal.expires):
            return None
        expires = self.principal.expires
        if now >= expires:
            self.reader.close(EXPIRED)
            return None
        if now >= expires - notice and not self._warned:
            told = {"expires_at": self.expires_at, "seconds": round(expires - now, 3), "refresh": True}
            self._warned = self.reader.say("expiring", told)
        return expires if self._warned else expires - notice

    @property
    def expires_at(self) -> str | None:
        return expires_at(self.principal)


def expires_at(principal: Principal) -> str | None:
    """When a token ends, as the API writes it; None for never."""
    # A year 9999 is the last that a calendar has.
    seconds = min(principal.expires, 253402300799.0)
    return None if math.isinf(principal.expires) else rfc3339(int(seconds * 1e9))


class _Renewal(msgspec.Struct):
    """What one edge process tells the others."""

    sender: str
    session: str
    owner: str
    read: list[str]
    operate: bool
    expires: float


class ConnectionAuths:
    """All auths of one process, by when they must be looked at next."""

    def __init__(
        self, authenticator: Authenticator, connection: Connection, me: str, others: Callable[[], int]
    ) -> None:
        self._authenticator = authenticator
        self._connection = connection
        self._me = me
        self._others = others
        self._attached: dict[str, set[ConnectionAuth]] = {}
        self._count = 0
        self._due: list[tuple[float, int, ConnectionAuth]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return self._count

    def issue(self, principal: Principal, session: Session, address: str, poll: bool = False) -> ConnectionAuth | None:
        """Makes a auth for a connection that opens, or a poll; None where nobody is told apart. Raises Problem 429."""
        if self._authenticator.open and self._authenticator.limits.key(address) is None:
            return None
        slot = self._authenticator.limits.open(address, principal, handshake=not poll)
        return ConnectionAuth(self, principal, session, slot, address)

    def read(self, token: object, address: str) -> Principal:
        """Says who a token proves, by the keys at hand; tries are counted as those of requests are. Raises Problem."""
        verifier, limits = self._authenticator.verifier, self._authenticator.limits
        limits.check_failures(address)
        try:
            if verifier is None or not isinstance(token, str):
                raise Problem("bad_token", "there is no token to take")
            return verifier.verify_now(token)
        except Problem as refusal:
            if refusal.code == "bad_token":
                limits.failed(address)
            raise

    def attached(self, auth: ConnectionAuth) -> None:
        mine = self._attached.setdefault(auth.session.id, set())
        if auth not in mine:
            mine.add(auth)
            self._count += 1
        self.schedule(auth)

    def forget(self, auth: ConnectionAuth) -> None:
        mine = self._attached.get(auth.session.id)
        if mine is None or auth not in mine:
            return
        mine.discard(auth)
        self._count -= 1
        if not mine:
            del self._attached[auth.session.id]

    def change(self, session: Session) -> None:
        """A session was changed: each of its connections sees as much of it as is granted to who reads."""
        for auth in tuple(self._attached.get(session.id, ())):
            auth.change(session)

    def schedule(self, auth: ConnectionAuth) -> None:
        """Has a auth looked at when its token nears its end."""
        if math.isinf(auth.principal.expires) or auth.reader is None:
            return
        # The auths of who left long before their tokens end must not pile up.
        if len(self._due) > 2 * self._count + 1000:
            self._due = [entry for entry in self._due if entry[2].reader is not None]
            heapq.heapify(self._due)
        at = auth.principal.expires - self._authenticator.settings.expiry_notice
        heapq.heappush(self._due, (at, next(self._order), auth))

    def sweep(self, now: float) -> None:
        """Looks at every auth that is due."""
        while self._due and self._due[0][0] <= now:
            _, _, auth = heapq.heappop(self._due)
            again = auth.look(now, self._authenticator.settings.expiry_notice)
            if again is not None:
                heapq.heappush(self._due, (max(again, now + 0.001), next(self._order), auth))

    async def run(self) -> None:
        """Tells connections that their tokens end, and hears of new tokens, until cancelled."""
        listening = await self._connection.listen(SUBJECT, self._heard)
        try:
            while True:
                await asyncio.sleep(SWEEP_SECONDS)
                self.sweep(time.time())
        finally:
            await listening.stop()

    # A new token, for connections wherever they are

    async def renew(self, principal: Principal, session_id: str) -> int:
        """Gives a principal's connections to a session its new token, on every replica; returns how many there were.

        Raises Problem where a connection here is not granted by it any more.
        """
        renewed = self._renew(principal, session_id)
        others = self._others() - 1
        if others <= 0 or principal.id is None:
            return renewed
        grants = principal.grants
        told = _Renewal(
            self._me, session_id, principal.id, list(grants.read), grants.operate, min(principal.expires, 1e12)
        )
        counts = await ask_peers(self._connection, SUBJECT, msgspec.json.encode(told), others, _count)
        return renewed + sum(counts)

    def _renew(self, principal: Principal, session_id: str) -> int:
        mine = [auth for auth in self._attached.get(session_id, ()) if auth.principal.id == principal.id]
        for auth in mine:
            auth.take(principal)
        return len(mine)

    def _heard(self, _subject: str, reply: str, payload: bytes, _headers: bytes) -> None:
        try:
            told = msgspec.json.decode(payload, type=_Renewal)
        except DECODE_FAULTS:
            log.warning("a new token from another edge process cannot be read")
            return
        if told.sender == self._me:
            return
        principal = Principal(told.owner, Grants(tuple(told.read), operate=told.operate), told.expires)
        try:
            count = self._renew(principal, told.session)
        except Problem:
            count = 0
        if reply:
            answer_peer(self._connection, reply, str(count).encode())


def _count(answer: bytes) -> int | None:
    """How many connections another process has renewed, as it says."""
    return int(answer) if answer.isdigit() else None
