"""Keeps all sessions in step with the bucket SESSIONS, so that any edge process can serve any of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import msgspec

from edge.errors import Problem
from edge.sessions.spec import SessionSpec, view_of
from edge.view import Pace, View
from router.bucket_cache import BucketCache
from router.cursor import Cursor, Start, VectorCursor, parse_cursor
from router.errors import BadInput, BrokerError, Conflict, Refused
from router.nats.bucket import Bucket, Entry, WriteGuard
from router.nats.error_codes import ErrorCode
from router.stored import decoder
from router.topology import SESSIONS

log = logging.getLogger(__name__)

_ID = re.compile(r"sess_[0-9a-z]{16,40}\Z")


class Session:
    """A session in one edge process: its specification and its view."""

    __slots__ = ("revision", "spec", "view")

    def __init__(self, spec: SessionSpec, revision: int, view: View | None = None) -> None:
        """`view` is the specification's view where the caller has it. Raises BadPattern or BadFilter."""
        self.spec = spec
        self.revision = revision
        self.view = view or view_of(spec)

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def pace(self) -> Pace:
        return self.spec.pace

    @property
    def start(self) -> Cursor | VectorCursor:
        return parse_cursor(self.spec.start)

    def start_in(self, epoch: str) -> Cursor | None:
        """Where it begins in one life of one stream of events; None where its start says nothing of that."""
        return next((part for part in self.start.parts if part.epoch == epoch), None)

    @property
    def begin(self) -> Start:
        """Where a reader begins that does not say it."""
        return Start(snapshot=True) if self.spec.snapshot else Start(cursor=parse_cursor(self.spec.start))


def unknown_session(session_id: str) -> Problem:
    """The problem of a session that does not exist or belongs to another principal, which look the same."""
    return Problem("session_not_found", f"no session {session_id[:60]!r}; it may have been deleted")


_spec = decoder(SessionSpec, SESSIONS)


class Registry:
    """All sessions, which follow the bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self._sessions: BucketCache[str, Session] = BucketCache()
        # Views of the sessions whose writes are under way; see `_writing`.
        self._views: dict[str, tuple[SessionSpec, View]] = {}
        self._owned: Counter[str] = Counter()
        self._listeners: list[Callable[[str, Session | None], None]] = []
        self._cleaners: list[Callable[[str], Awaitable[None]]] = []
        self.ready = asyncio.Event()
        self._updates = 0

    @classmethod
    def over(cls, connection: Any, guard: WriteGuard | None = None) -> Registry:
        return cls(Bucket(connection, SESSIONS, guard))

    @property
    def sessions(self) -> Mapping[str, Session]:
        return self._sessions.values

    def owned(self, owner: str | None) -> int:
        """How many sessions a principal has."""
        return self._owned[owner] if owner is not None else 0

    def on_change(self, listener: Callable[[str, Session | None], None]) -> None:
        """Calls listener(session id, session or None where it was deleted) at each change, from the read loop."""
        self._listeners.append(listener)

    def on_delete(self, cleaner: Callable[[str], Awaitable[None]]) -> None:
        """Awaits cleaner(session id) before a session is deleted, in the process that deletes it."""
        self._cleaners.append(cleaner)

    async def run(self) -> None:
        """Follows the bucket until cancelled."""
        await self.bucket.watch(self._updated, "*", ready=self.ready.set, renewed=self._renewed)

    async def loaded(self, timeout: float) -> None:
        """Waits until all sessions are known. Raises TimeoutError after `timeout` seconds without an update."""
        while not self.ready.is_set():
            before = self._updates
            try:
                async with asyncio.timeout(timeout):
                    await self.ready.wait()
            except TimeoutError:
                # Hundreds of thousands of sessions, or of markers of an earlier version, take longer.
                if self._updates == before:
                    raise

    async def create(self, spec: SessionSpec, view: View | None = None) -> Session:
        """Stores a new session and serves it here at once. Raises Problem where there is no room, or BrokerError.

        `view` is the specification's view where the caller has it.
        """
        view = view or view_of(spec)
        with self._writing(spec, view):
            try:
                revision = await self.bucket.create(spec.id, msgspec.json.encode(spec))
            except Refused as refusal:
                if refusal.err_code == ErrorCode.STREAM_STORE_FAILED:
                    raise Problem("session_store_full", "no session can be created until others are deleted") from None
                raise
        session = Session(spec, revision, view)
        self._put(session)
        # Another process may have changed it before the write was answered.
        return self._sessions.get(spec.id) or session

    async def find(self, session_id: str) -> Session:
        """Gives a session; reads the bucket where this process does not know it yet. Raises Problem 404."""
        session = self._sessions.get(session_id)
        if session is None and _ID.match(session_id):
            entry = await self.bucket.get(session_id)
            if entry is not None and entry.value is not None:
                self._updated(entry, True)
                session = self._sessions.get(session_id)
        if session is None:
            raise unknown_session(session_id)
        return session

    async def latest(self, session_id: str) -> Session:
        """Gives a session as the bucket has it now. Raises Problem 404."""
        entry = await self.bucket.get(session_id)
        if entry is None or entry.value is None:
            raise unknown_session(session_id)
        self._updated(entry, True)
        return await self.find(session_id)

    @contextlib.contextmanager
    def _writing(self, spec: SessionSpec, view: View) -> Iterator[None]:
        """Keeps a view while its session is written: the watch may report it before the write is answered."""
        written = self._views[spec.id] = spec, view
        try:
            yield
        finally:
            if self._views.get(spec.id) is written:
                del self._views[spec.id]

    def _view_of(self, spec: SessionSpec) -> View:
        written, view = self._views.get(spec.id, (None, None))
        return view if view is not None and written == spec else view_of(spec)

    async def update(self, session: Session, spec: SessionSpec, view: View | None = None) -> Session:
        """Stores a changed session; its readers go on under it, here and everywhere.

        Raises Conflict where it was changed or deleted meanwhile; this process then knows its current state.
        """
        view = view or view_of(spec)
        with self._writing(spec, view):
            try:
                revision = await self.bucket.update(spec.id, msgspec.json.encode(spec), session.revision)
            except Conflict:
                with contextlib.suppress(BrokerError):
                    await self._read_again(spec.id)
                raise
        changed = Session(spec, revision, view)
        self._put(changed)
        return changed

    async def delete(self, session_id: str) -> None:
        """Deletes a session everywhere; its readers are told and closed. Raises Problem 404."""
        await self.find(session_id)
        for cleaner in self._cleaners:
            await cleaner(session_id)
        self._drop(session_id, await self.bucket.delete(session_id))

    async def _read_again(self, session_id: str) -> None:
        """Reads a session from the bucket's leader. Raises BrokerError."""
        entry = await self.bucket.latest(session_id)
        self._updated(entry or Entry(session_id, None, self._sessions.revision(session_id)), True)

    def _updated(self, entry: Entry, _ready: bool) -> None:
        self._updates += 1
        if entry.value is None:
            self._drop(entry.key, entry.revision)
            return
        if self._sessions.revision(entry.key) >= entry.revision:
            return
        spec = _spec(entry.key, entry.value)
        if spec is None or spec.id != entry.key:
            if spec is not None:
                log.warning("stored session is invalid; not served", extra={"session": entry.key})
            return
        try:
            session = Session(spec, entry.revision, self._view_of(spec))
        except (BadInput, TypeError, ValueError) as fault:
            log.warning("stored session is invalid; not served", extra={"session": entry.key, "fault": str(fault)})
            return
        self._put(session)

    def _renewed(self) -> None:
        # The bucket was deleted, and its sessions with it. Revisions start again, so no known session may stay.
        former = list(self._sessions.values.values())
        self._sessions.clear()
        for session in former:
            self._dropped(session)

    def _put(self, session: Session) -> None:
        """Keeps and announces a session, unless a newer revision or a deletion is known."""
        is_new = session.id not in self._sessions
        if not self._sessions.put(session.id, session, session.revision):
            return
        if is_new and session.spec.owner is not None:
            self._owned[session.spec.owner] += 1
        self._announce(session.id, session)

    def _drop(self, session_id: str, revision: int) -> None:
        """Drops a session and announces it, unless a newer revision is known."""
        session = self._sessions.get(session_id)
        if self._sessions.drop(session_id, revision) and session is not None:
            self._dropped(session)

    def _dropped(self, session: Session) -> None:
        if (owner := session.spec.owner) is not None:
            self._owned[owner] -= 1
            if self._owned[owner] <= 0:
                del self._owned[owner]
        self._announce(session.id, None)

    def _announce(self, session_id: str, session: Session | None) -> None:
        for listener in self._listeners:
            listener(session_id, session)


async def is_deleted(registry: Registry, session_id: str) -> bool:
    """Whether a session was deleted or never existed. Raises BrokerError where that is not known."""
    entry = await registry.bucket.latest(session_id)
    return entry is None or entry.value is None
