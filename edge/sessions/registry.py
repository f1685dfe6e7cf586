"""This file is where sessions are kept: in a JetStream bucket, so that any edge process can serve any of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from edge.errors import UNCHANGEABLE, Problem, json_object
from edge.sessions.endpoint import settings as endpoints
from edge.sessions.endpoint.settings import EndpointSettings
from edge.settings import DEFAULT_RETRY_ATTEMPTS
from edge.view import MAX_PATTERNS, MAX_TYPES, Pace, View
from router.clock import wall
from router.codec import rfc3339
from router.cursor import Cursor, parse_start
from router.errors import BadInput, BrokerError, Conflict, Refused
from router.mirror import Mirror
from router.nats.bucket import Bucket, Entry, WriteGuard
from router.nats.error_codes import ErrorCode
from router.stored import decoder
from router.topology import SESSIONS

log = logging.getLogger(__name__)

DeliveryMethod = Literal["websocket", "sse", "polling", "webhook"]
METHODS = ("websocket", "sse", "polling", "webhook")

_TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_ID = re.compile(r"sess_[0-9a-z]{16,40}\Z")


class SessionSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a session is, as it lies in the bucket. `start` is the cursor at which its first reader begins."""

    id: str
    delivery_method: DeliveryMethod
    created: int
    start: str
    events: list[str] | None = None
    subjects: list[str] | None = None
    filter: str | None = None
    include_intermediate_results: bool = True
    dialect: str = "callback"
    name: str | None = None
    conflate: bool = False
    max_rate: float | None = None
    ttl: float | None = None
    webhook: EndpointSettings | None = None
    # Whose it is, and what that principal might read when the session was made or last changed; None for everything.
    owner: str | None = None
    granted: list[str] | None = None


def view_of(spec: SessionSpec) -> View:
    """What a session may see; raises BadPattern or BadFilter where its definition is not valid."""
    granted = tuple(spec.granted) if spec.granted is not None else None
    return View.of(
        spec.id, spec.subjects, spec.events, spec.filter, spec.include_intermediate_results, granted, spec.owner
    )


class Session:
    """A session as one edge process knows it: its definition and its view."""

    __slots__ = ("revision", "spec", "view")

    def __init__(self, spec: SessionSpec, revision: int, view: View | None = None) -> None:
        """`view` is that of the specification, where it has been made already. Raises BadPattern or BadFilter."""
        self.spec = spec
        self.revision = revision
        self.view = view or view_of(spec)

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def pace(self) -> Pace:
        return Pace(self.spec.conflate, self.spec.max_rate)

    @property
    def start(self) -> Cursor:
        return Cursor.parse(self.spec.start)

    def describe(self) -> dict[str, Any]:
        """The session as the API shows it; secrets are left out."""
        spec = self.spec
        base = f"/callbacks/sessions/{spec.id}"
        shown: dict[str, Any] = {
            "session_id": spec.id,
            "name": spec.name,
            "delivery_method": spec.delivery_method,
            "events": spec.events,
            "subjects": spec.subjects,
            "filter": spec.filter,
            "include_intermediate_results": spec.include_intermediate_results,
            "conflate": spec.conflate,
            "max_rate": spec.max_rate,
            "ttl": spec.ttl,
            "dialect": spec.dialect,
            "owner": spec.owner,
            "created_at": rfc3339(spec.created),
            "cursor": spec.start,
            "urls": {
                "self": base,
                "stats": f"{base}/stats",
                "events": f"{base}/events",
                "sse": f"{base}/sse",
                "ws": f"{base}/ws",
                "test": f"{base}/test",
            },
        }
        if spec.webhook:
            shown |= spec.webhook.describe()
            shown["urls"] |= {name: f"{base}/{name}" for name in ("health", "attempts", "recoveries")}
        return shown


def unknown_session(session_id: str) -> Problem:
    """The answer to who asks for a session that is not there, or not theirs: nobody can tell which."""
    return Problem("session_not_found", f"no session {session_id[:60]!r}; it may have been deleted")


_spec = decoder(SessionSpec, SESSIONS)


class Registry:
    """All sessions, kept in step with the bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self._sessions: Mirror[str, Session] = Mirror()
        # Views of the sessions that are being written; see `_writing`.
        self._views: dict[str, tuple[SessionSpec, View]] = {}
        self._owned: Counter[str] = Counter()
        self._listeners: list[Callable[[str, Session | None], None]] = []
        self._cleaners: list[Callable[[str], Awaitable[None]]] = []
        self.ready = asyncio.Event()
        self._heard_of = 0

    @classmethod
    def over(cls, connection: Any, guard: WriteGuard | None = None) -> Registry:
        return cls(Bucket(connection, SESSIONS, guard))

    @property
    def sessions(self) -> Mapping[str, Session]:
        return self._sessions.values

    def owned(self, owner: str | None) -> int:
        """How many sessions somebody has."""
        return self._owned[owner] if owner is not None else 0

    def on_change(self, listener: Callable[[str, Session | None], None]) -> None:
        """Calls listener(session id, session or None where it was deleted) at each change, from the read loop."""
        self._listeners.append(listener)

    def on_delete(self, cleaner: Callable[[str], Awaitable[None]]) -> None:
        """Awaits cleaner(session id) before a session is deleted, in the process that deletes it."""
        self._cleaners.append(cleaner)

    async def run(self) -> None:
        """Keeps in step with the bucket until cancelled."""
        await self.bucket.watch(self._heard, "*", ready=self.ready.set, renewed=self._renewed)

    async def loaded(self, timeout: float) -> None:
        """Waits until all sessions are known. Raises TimeoutError where nothing was heard for `timeout` seconds."""
        while not self.ready.is_set():
            before = self._heard_of
            try:
                async with asyncio.timeout(timeout):
                    await self.ready.wait()
            except TimeoutError:
                # Hundreds of thousands of sessions, or of markers of an earlier version, take their time.
                if self._heard_of == before:
                    raise

    async def create(self, spec: SessionSpec, view: View | None = None) -> Session:
        """Stores a new session and serves it here at once. Raises Problem where there is no room, or BrokerError.

        `view` is that of the specification, where it has been made already.
        """
        view = view or view_of(spec)
        with self._writing(spec, view):
            try:
                revision = await self.bucket.create(spec.id, msgspec.json.encode(spec))
            except Refused as refusal:
                if refusal.err_code == ErrorCode.STREAM_STORE_FAILED:
                    raise Problem("session_store_full", "no session can be made until others are deleted") from None
                raise
        session = Session(spec, revision, view)
        self._put(session)
        # Another process may have changed it before the answer came.
        return self._sessions.get(spec.id) or session

    async def find(self, session_id: str) -> Session:
        """Gives a session, from the bucket where this process has not heard of it yet. Raises Problem 404."""
        session = self._sessions.get(session_id)
        if session is None and _ID.match(session_id):
            entry = await self.bucket.get(session_id)
            if entry is not None and entry.value is not None:
                self._heard(entry, True)
                session = self._sessions.get(session_id)
        if session is None:
            raise unknown_session(session_id)
        return session

    async def latest(self, session_id: str) -> Session:
        """Gives a session as the bucket has it now, which this process may not have heard of yet. Raises Problem 404."""
        entry = await self.bucket.get(session_id)
        if entry is None or entry.value is None:
            raise unknown_session(session_id)
        self._heard(entry, True)
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

        Raises Conflict where it was changed or deleted meanwhile; what it is now is then known here.
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
        """Reads a session as the bucket's leader has it. Raises BrokerError."""
        entry = await self.bucket.latest(session_id)
        self._heard(entry or Entry(session_id, None, self._sessions.revision(session_id)), True)

    def _heard(self, entry: Entry, _ready: bool) -> None:
        self._heard_of += 1
        if entry.value is None:
            self._drop(entry.key, entry.revision)
            return
        if self._sessions.revision(entry.key) >= entry.revision:
            return
        spec = _spec(entry.key, entry.value)
        if spec is None or spec.id != entry.key or spec.delivery_method not in METHODS:
            if spec is not None:
                log.warning("a stored session cannot be served", extra={"session": entry.key})
            return
        try:
            session = Session(spec, entry.revision, self._view_of(spec))
        except (BadInput, TypeError, ValueError) as fault:
            log.warning("a stored session cannot be served", extra={"session": entry.key, "fault": str(fault)})
            return
        self._put(session)

    def _renewed(self) -> None:
        # Whoever deleted the bucket deleted its sessions. Revisions begin anew, so none of those known may stay.
        former = list(self._sessions.values.values())
        self._sessions.clear()
        for session in former:
            self._dropped(session)

    def _put(self, session: Session) -> None:
        """Takes a session unless a newer one is known, or a deletion."""
        is_new = session.id not in self._sessions
        if not self._sessions.put(session.id, session, session.revision):
            return
        if is_new and session.spec.owner is not None:
            self._owned[session.spec.owner] += 1
        self._tell(session.id, session)

    def _drop(self, session_id: str, revision: int) -> None:
        """Takes a deletion unless the session is newer."""
        session = self._sessions.get(session_id)
        if self._sessions.drop(session_id, revision) and session is not None:
            self._dropped(session)

    def _dropped(self, session: Session) -> None:
        if (owner := session.spec.owner) is not None:
            self._owned[owner] -= 1
            if self._owned[owner] <= 0:
                del self._owned[owner]
        self._tell(session.id, None)

    def _tell(self, session_id: str, session: Session | None) -> None:
        for listener in self._listeners:
            listener(session_id, session)


# What may be changed of a session that lives; its delivery method and its beginning are what it is.
CHANGEABLE = frozenset(
    {"events", "subjects", "filter", "include_intermediate_results", "name", "conflate", "max_rate", "ttl"}
    | set(endpoints.FIELDS)
)
_FIELDS = {
    "delivery_method", "events", "subjects", "filter", "include_intermediate_results", "dialect", "name",
    "cursor", "since", "last", "conflate", "max_rate", "ttl", *endpoints.FIELDS,
}  # fmt: skip


def parse_session(
    body: Any, dialects: frozenset[str], retries: int = DEFAULT_RETRY_ATTEMPTS
) -> tuple[SessionSpec, Any]:
    """Reads the body of a session's creation: the specification (its `start` still empty) and where it wants to begin.

    `retries` counts the retries of a webhook that says nothing about them. `view_of` checks subjects and filter.

    Raises Problem with a code that says which field is wrong, or a BadInput of the router.
    """
    body = json_object(body, _FIELDS)
    method = body.get("delivery_method", "websocket")
    if method not in METHODS:
        raise Problem("bad_body", f"delivery_method must be one of {', '.join(METHODS)}")
    events = _strings(body, "events", MAX_TYPES)
    if events and (bad := next((kind for kind in events if not _TYPE.match(kind)), None)):
        raise Problem("bad_body", f"events: {bad[:60]!r} is no event type (lower-case letters, digits and _)")
    intermediate = body.get("include_intermediate_results", True)
    if not isinstance(intermediate, bool):
        raise Problem("bad_body", "include_intermediate_results must be true or false")
    conflate = body.get("conflate", False)
    if not isinstance(conflate, bool):
        raise Problem("bad_body", "conflate must be true or false")
    for field, longest in (("filter", 2000), ("name", 200)):
        value = body.get(field)
        if value is not None and (not isinstance(value, str) or len(value) > longest):
            raise Problem("bad_body", f"{field} must be a text of at most {longest} characters")
    dialect = body.get("dialect", "callback")
    if not isinstance(dialect, str) or dialect not in dialects:
        raise Problem("bad_body", f"dialect must be one of {', '.join(sorted(dialects))}")
    if dialect == "cloudevents-binary" and method != "webhook":
        raise Problem("bad_body", "the dialect cloudevents-binary is for webhooks; a stream has cloudevents")
    rate, ttl = _rate(body.get("max_rate")), _ttl(body.get("ttl"))
    if method == "webhook":
        endpoints.refuse_reader_fields(conflate, rate, ttl)
    start = parse_start(_text(body, "cursor"), _text(body, "since"), body.get("last"))
    session_id = f"sess_{secrets.token_hex(12)}"
    spec = SessionSpec(
        id=session_id,
        delivery_method=method,
        created=wall.now_ns(),
        start="",
        events=events,
        subjects=_strings(body, "subjects", MAX_PATTERNS),
        filter=body.get("filter") or None,
        include_intermediate_results=intermediate,
        dialect=dialect,
        name=body.get("name"),
        conflate=conflate,
        max_rate=rate,
        ttl=ttl,
        # Webhook settings may stand in any session's body, as in the guide; they are checked only where they are used.
        webhook=endpoints.parse_endpoint(body, dialect, retries) if method == "webhook" else None,
    )
    return spec, start


# From one write in ten seconds, for a wall display, to a thousand, past which pacing means nothing.
MIN_RATE, MAX_RATE = 0.1, 1000.0


def _rate(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not MIN_RATE <= value <= MAX_RATE:
        raise Problem("bad_body", f"max_rate must be a number from {MIN_RATE:g} to {MAX_RATE:g}")
    return float(value)


# A year: longer than any retention, so a number past it is a mistake (milliseconds, say).
MAX_TTL = 366 * 86400.0


def _ttl(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (value == 0 or 1 <= value <= MAX_TTL):
        raise Problem("bad_body", f"ttl must be seconds of idleness from 1 to {MAX_TTL:.0f}, or 0 for no end")
    return float(value)


def parse_change(body: Any, spec: SessionSpec, retries: int = DEFAULT_RETRY_ATTEMPTS) -> SessionSpec:
    """Reads the body of a change; a field that is null goes back to its default. Raises Problem or BadInput.

    `view_of` checks subjects and filter.
    """
    body = json_object(body, CHANGEABLE, UNCHANGEABLE)
    given: dict[str, Any] = {
        "delivery_method": spec.delivery_method,
        "events": spec.events,
        "subjects": spec.subjects,
        "filter": spec.filter,
        "include_intermediate_results": spec.include_intermediate_results,
        "name": spec.name,
        "conflate": spec.conflate,
        "max_rate": spec.max_rate,
        "ttl": spec.ttl,
        "dialect": spec.dialect,
    }
    webhook = spec.webhook
    if webhook is not None:
        # It is changed by itself: what is known of it beyond its settings must stay.
        webhook = endpoints.parse_change(webhook, body, spec.dialect, retries)
        given["webhook_url"] = webhook.url
        # Earlier versions took these and did nothing with them.
        given |= {"conflate": None, "max_rate": None, "ttl": None}
        body = {name: value for name, value in body.items() if name not in endpoints.FIELDS}
    elif any(name in body for name in endpoints.FIELDS):
        raise Problem("bad_body", "only a webhook session has webhook settings")
    merged = {name: value for name, value in {**given, **body}.items() if value is not None}
    changed, _ = parse_session(merged, frozenset({spec.dialect}))
    return msgspec.structs.replace(
        changed,
        id=spec.id,
        created=spec.created,
        start=spec.start,
        owner=spec.owner,
        granted=spec.granted,
        webhook=webhook,
    )


def _strings(body: dict[str, Any], field: str, most: int) -> list[str] | None:
    value = body.get(field)
    if value is None or value == []:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Problem("bad_body", f"{field} must be a list of texts")
    if len(value) > most:
        raise Problem("bad_body", f"{field} may name at most {most}")
    return value


def _text(body: dict[str, Any], field: str) -> str | None:
    value = body.get(field)
    if value is not None and not isinstance(value, str):
        raise Problem("bad_body", f"{field} must be a text")
    return value


async def is_deleted(registry: Registry, session_id: str) -> bool:
    """Whether a session was deleted, or never was. Raises BrokerError where that is not known."""
    entry = await registry.bucket.latest(session_id)
    return entry is None or entry.value is None
