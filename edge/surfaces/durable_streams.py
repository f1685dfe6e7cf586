"""The read path of the Durable Streams protocol: a run, or what has a subject, as a stream with offsets.

Offsets are our cursors. A stream of a run is its last life and is closed with it; one of a subject pattern has all that is stored
and is never closed. Streams are written by `POST /events` and by producers over NATS, and not here.
"""

from __future__ import annotations

import asyncio
import copy
import gzip
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from edge.auth.authenticator import Access
from edge.dialects.durable_streams import DURABLE_STREAMS, PROTECTION, array, control, stream_cursor
from edge.errors import Problem
from edge.http.body import draining_problem, edge_of
from edge.http.credentials import address_of, principal_of
from edge.http.openapi.operation import Answer, header, operation
from edge.http.streams import stream_answer, time_left
from edge.sessions.registry import Session
from edge.surfaces.lives import START, LifeEnding, RunLife, begin_of, find_life, patterns_of, unknown_run
from edge.surfaces.serving import session_of_surface
from edge.surfaces.surface import CallSurface, Reading, Surface
from edge.transports import polling
from edge.transports.durable_sse import Belongs, DurableEncoder, always
from edge.types import ReadRequest
from edge.view import FULL, View
from router.cursor import Cursor, Start, VectorCursor, parse_cursor
from router.event_place import BEFORE_ALL, PlaceNumber, place_in, reached
from router.record import Record
from router.subject import check_pattern

BEGINNING, NOW = "-1", "now"
LONG_POLL, SSE = "long-poll", "sse"
# 20 s: of a client's long poll that says nothing of it; `timeout` is at most that of our own polls.
WAIT = 20.0
# A page that is followed by more never changes.
_FULL_PAGE = "private, max-age=60, stale-while-revalidate=300"
_AT_TAIL = "private, no-cache"
_NEVER = "no-store"


class DurableStreamQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a stream. Parameters of other names are passed over."""

    offset: Annotated[
        str | None,
        Meta(description="`-1` (the beginning, the default), `now`, or a Stream-Next-Offset; needed with `live`."),
    ] = None
    live: Annotated[str | None, Meta(description="`long-poll` or `sse`.")] = None
    cursor: Annotated[str | None, Meta(description="The last Stream-Cursor.")] = None
    timeout: Annotated[str | None, Meta(description="How many seconds a long poll waits, at most 50.")] = None
    ticket: Annotated[str | None, Meta(description="From `POST /tickets`, where no Authorization can be sent.")] = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request asks for; without `place` it is the beginning, or now."""

    place: Cursor | VectorCursor | None = None
    now: bool = False
    live: str = ""
    cursor: str = ""
    wait: float = WAIT


@dataclass(frozen=True, kw_only=True)
class DurableStream:
    """What an address names: subject patterns, and of a run its life."""

    name: str
    subjects: tuple[str, ...]
    life: RunLife | None = None

    @property
    def begin(self) -> PlaceNumber:
        """The place before its first event; `BEFORE_ALL` where it has all that is stored."""
        return self.life.begin if self.life is not None else BEFORE_ALL

    @property
    def end(self) -> PlaceNumber:
        """The place behind which it is closed; `BEFORE_ALL` while it is open."""
        return self.life.end if self.life is not None else BEFORE_ALL

    @property
    def is_turn(self) -> bool:
        """Whether it is one turn of a thread, which has nothing of the others."""
        return self.life is not None and self.life.domain == "thread" and self.life.incarnation is not None

    def has(self, record: Record) -> bool:
        """Says whether an event up to the end belongs to it: what ends a turn may be the start of the next one."""
        if not self.end:
            return True
        place = place_in(record.shard, record.sequence)
        unsaid = self.life is not None and self.life.final is None
        return place < self.end or (place == self.end and not (unsaid and self.is_turn and _starts(record)))


def _starts(record: Record) -> bool:
    return record.event is not None and record.event.type == START


def _one(request: Request, name: str) -> str | None:
    """A parameter. Raises Problem where it is there more than once, or says nothing."""
    found = request.query_params.getlist(name)
    if len(found) > 1 or "" in found:
        raise Problem("bad_parameter", f"{name} must be said once, and have a value", field=name)
    return found[0] if found else None


def read_asked(request: Request) -> Asked:
    """Reads what a request asks for. Raises Problem or BadCursor."""
    offset, live = _one(request, "offset"), _one(request, "live") or ""
    if live not in ("", LONG_POLL, SSE):
        raise Problem("bad_parameter", f"live must be {LONG_POLL} or {SSE}", field="live")
    if live and offset is None:
        raise Problem("bad_parameter", "live needs an offset", field="offset")
    said = _one(request, "timeout")
    try:
        wait = WAIT if said is None else float(said)
    except ValueError:
        wait = -1.0
    if not 0 <= wait <= polling.MAX_WAIT:
        raise Problem("bad_parameter", f"timeout must be from 0 to {polling.MAX_WAIT:g}", field="timeout")
    place = None if offset in (None, BEGINNING, NOW) else parse_cursor(str(offset))
    cursor = request.query_params.get("cursor", "")
    return Asked(place=place, now=offset == NOW, live=live, cursor=cursor, wait=wait)


def _headers(offset: str, cache: str, *, up_to_date: bool = False, closed: bool = False) -> dict[str, str]:
    made = {
        "Stream-Next-Offset": offset,
        "Cache-Control": cache,
        "Vary": "Authorization, Accept-Encoding",
        **PROTECTION,
    }
    if up_to_date:
        made["Stream-Up-To-Date"] = "true"
    if closed:
        made["Stream-Closed"] = "true"
    return made


async def _served(request: Request, stream: DurableStream) -> Response | ASGIApp:
    """Answers a request for a stream. Raises Problem, BadInput or BrokerError."""
    if request.method == "HEAD":
        offset = await _offset(request, stream.end) if stream.end else await _tail(request, stream)
        headers = _headers(offset, _NEVER, closed=stream.end > 0)
        return Response(headers=headers, media_type="application/json")
    asked = read_asked(request)
    if asked.live and edge_of(request).draining:
        raise draining_problem()
    if stream.end and (asked.now or (asked.place is not None and _is_behind(request, stream, asked.place))):
        # Behind the end there are offsets, too: a client may have been led there before it was known.
        place = max(stream.end, _place(request, stream, asked.place) or BEFORE_ALL)
        return _over(asked, await _offset(request, place))
    if asked.live == SSE:
        return await _streamed(request, stream, asked)
    if asked.now and not asked.live:
        headers = _headers(await _tail(request, stream), _NEVER, up_to_date=True)
        return Response(b"[]", headers=headers, media_type="application/json")
    return await _polled(request, stream, asked)


async def _offset(request: Request, place: PlaceNumber) -> str:
    """The offset of a place in the shard that holds it."""
    recovery = edge_of(request).hub.recovery
    return await recovery.find_cursor(recovery.places.position(place))


def _place(request: Request, stream: DurableStream, offset: Cursor | VectorCursor | None) -> PlaceNumber | None:
    """Up to which place an offset says that the stream of a run was read; None where it says none."""
    return None if offset is None else edge_of(request).hub.recovery.places.read(stream.subjects[0], offset)


def _is_behind(request: Request, stream: DurableStream, offset: Cursor | VectorCursor) -> bool:
    place = _place(request, stream, offset)
    return place is not None and place >= stream.end


async def _tail(request: Request, stream: DurableStream) -> str:
    """The offset behind all that is stored."""
    recovery = edge_of(request).hub.recovery
    place = await recovery.begin(Start(now=True), View.of("", list(stream.subjects), None, None))
    return await recovery.find_cursor(place.after)


def _over(asked: Asked, offset: str) -> Response:
    """The answer behind the end of a stream."""
    if asked.live == SSE:
        headers = {name.decode(): value.decode() for name, value in DURABLE_STREAMS.headers}
        return Response(control(offset, "", closed=True), headers=headers)
    headers = _headers(offset, _NEVER if asked.now or asked.live else _AT_TAIL, up_to_date=True, closed=True)
    if asked.live == LONG_POLL:
        return Response(status_code=204, headers=headers)
    if not asked.now:
        headers["ETag"] = f'"{offset}:{offset}:c"'
    return Response(b"[]", headers=headers, media_type="application/json")


def _start(request: Request, stream: DurableStream, asked: Asked) -> Start:
    if asked.now:
        return Start(now=True)
    begin = Start(earliest=True) if stream.life is None else begin_of(request, stream.life)
    if asked.place is None:
        return begin
    # Who was in an earlier life of a run reads on through the end of that; a turn of a thread has nothing of another one.
    place = _place(request, stream, asked.place) if stream.is_turn else None
    return begin if place is not None and place < stream.begin else Start(cursor=asked.place)


def _gone() -> Problem:
    return Problem(
        "offset_gone", f"events behind this offset are no longer stored: begin at offset={BEGINNING}, or at {NOW}"
    )


def _session(stream: DurableStream) -> Session:
    reading = Reading(subjects=stream.subjects, start=Start())
    return session_of_surface(stream.name, reading)


async def _polled(request: Request, stream: DurableStream, asked: Asked) -> Response:
    """One page; a long poll waits for the next event."""
    edge = edge_of(request)
    session = _session(stream)
    stats = edge.cluster_stats.of(session.id)
    stats.served += 1
    auth = edge.connection_auths.open(principal_of(request.scope), session, address_of(request), poll=True)
    try:
        view = session.view if auth is None else auth.view(session)
        wait = min(asked.wait, time_left(request)) if asked.live and not stream.end else 0.0
        polled = await polling.poll(
            edge.hub,
            ReadRequest(session.id, view, DURABLE_STREAMS, auth),
            polling.Poll(_start(request, stream, asked), polling.MAX_LIMIT, wait, by_cursor=True),
            stats,
            edge.poll_history,
        )
    finally:
        if auth is not None:
            auth.leave()
    if polled.gap is not None:
        raise _gone()
    records = [record for record in polled.records if stream.has(record)]
    stats.offered(len(records))
    stats.written(len(records))
    closed = bool(stream.end) and _is_behind(request, stream, parse_cursor(polled.next))
    offset = await _offset(request, stream.end) if closed else polled.next
    if asked.live and not records and not polled.more:
        headers = _headers(offset, _NEVER, up_to_date=True, closed=closed)
        return Response(status_code=204, headers=_with_cursor(headers, asked, closed))
    return await _page(request, asked, records, offset, polled.more and not closed, closed)


def _with_cursor(headers: dict[str, str], asked: Asked, closed: bool) -> dict[str, str]:
    return headers if closed else {**headers, "Stream-Cursor": stream_cursor(asked.cursor)}


async def _page(
    request: Request, asked: Asked, records: list[Record], offset: str, more: bool, closed: bool
) -> Response:
    hub = edge_of(request).hub
    headers = _headers(offset, _FULL_PAGE if more else _AT_TAIL, up_to_date=not more, closed=closed)
    if asked.live:
        headers = _with_cursor(headers, asked, closed)
    if not asked.now:
        begin = str(asked.place) if asked.place is not None else BEGINNING
        end = records[-1].cursor(hub.epoch) if records else begin
        headers["ETag"] = tag = f'"{begin}:{end}{":c" if closed else ""}"'
        if not asked.live and _matches(request, tag):
            return Response(status_code=304, headers=headers)
    texts: list[bytes] = []
    for record in records:
        try:
            texts.append(DURABLE_STREAMS.encode(record, hub.epoch))
        except Exception as fault:  # noqa: BLE001 - logged by the hub
            hub.unencodable(record, fault)
    body = array(texts)
    if len(body) >= polling.GZIP_ABOVE and polling.takes_gzip(request.headers.getlist("accept-encoding")):
        headers["Content-Encoding"] = "gzip"
        # A long body blocks the event loop for too long; zlib releases the GIL.
        body = await asyncio.to_thread(gzip.compress, body, 1, mtime=0)
    return Response(body, headers=headers, media_type="application/json")


def _matches(request: Request, tag: str) -> bool:
    """Whether a client has the page already."""
    given = ",".join(request.headers.getlist("if-none-match"))
    return tag in [each.strip().removeprefix("W/") for each in given.split(",")]


async def _streamed(request: Request, stream: DurableStream, asked: Asked) -> ASGIApp:
    """Server-sent events, from an offset on."""
    edge = edge_of(request)
    session = _session(stream)
    auth = edge.connection_auths.open(principal_of(request.scope), session, address_of(request))
    try:
        view = session.view if auth is None else auth.view(session)
        start = _start(request, stream, asked)
        if (await edge.hub.recovery.begin(start, view)).gap is not None:
            raise _gone()
    except BaseException:
        if auth is not None:
            auth.leave()
        raise
    cursor, belongs = stream_cursor(asked.cursor), _belongs(stream)
    end = reached(stream.end) if stream.end else None
    reading = ReadRequest(
        session.id,
        view,
        DURABLE_STREAMS,
        auth,
        encoder=lambda chunked: DurableEncoder(cursor, belongs, end, chunked=chunked),
    )
    return stream_answer(edge, reading, start, FULL, auth)


class _OfLife:
    """What a stream has of the subjects of a run that goes on, and where it ends."""

    __slots__ = ("_ending", "_source")

    def __init__(self, stream: DurableStream, ending: LifeEnding) -> None:
        self._source = stream
        self._ending = ending

    def __eq__(self, other: object) -> bool:
        """Whether both say the same of all that comes."""
        return (
            isinstance(other, _OfLife)
            and self._source.is_turn == other._source.is_turn
            and self._ending == other._ending
        )

    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> _OfLife:
        return _OfLife(self._source, copy.copy(self._ending))

    def __call__(self, record: Record) -> tuple[bool, bool]:
        if place_in(record.shard, record.sequence) <= self._source.begin:
            return True, False
        over = self._ending(record)
        if over and self._source.is_turn and _starts(record):
            # The next turn.
            return False, True
        return over is not None, bool(over)


def _belongs(stream: DurableStream) -> Belongs:
    """What a stream has of its subjects, and where it ends."""
    if stream.life is None:
        return always
    if stream.end:
        return lambda record: (stream.has(record), place_in(record.shard, record.sequence) >= stream.end)
    return _OfLife(stream, LifeEnding(stream.life))


Find = Callable[[Request], Awaitable[DurableStream]]

_OFFSET = {"schema": {"type": "string"}, "description": "Where to go on."}
_ANSWERS = (
    Answer(
        200,
        "Events as a JSON array; with `live=sse` server-sent events `data` (an array) and `control`. Stream-Up-To-Date says that there "
        "are no more, Stream-Closed that there will be none",
        list[Any],
        headers={"Stream-Next-Offset": _OFFSET},
    ),
    Answer(204, "Nothing came while a long poll waited", headers={"Stream-Next-Offset": _OFFSET}),
    Answer(304, "The client has it already"),
)
_PROBLEMS = ("bad_parameter", "bad_cursor", "offset_gone", "not_granted", "draining", "too_many")
_IF_NONE_MATCH = header("If-None-Match", "The ETag of an earlier answer.")


def _declared(summary: str, find: Find, name: str, problems: tuple[str, ...]) -> Callable[[Request], Awaitable[Any]]:
    async def handle(request: Request) -> Any:
        return await _served(request, await find(request))

    handle.__name__ = name
    return operation(
        summary, *_ANSWERS, query=DurableStreamQuery, problems=(*_PROBLEMS, *problems), headers=(_IF_NONE_MATCH,)
    )(handle)


async def _run(request: Request) -> DurableStream:
    name: str = request.path_params["run"]
    life = await find_life(request, name)
    if life is None:
        raise unknown_run(name)
    return DurableStream(name="durable_run", subjects=patterns_of(life.domain, life.name), life=life)


async def _subject(request: Request) -> DurableStream:
    pattern = check_pattern(request.path_params["subject"])
    principal_of(request.scope).require_read(pattern)
    return DurableStream(name="durable_subject", subjects=(pattern,))


_SUMMARIES: Mapping[str, str] = {
    "run": "Read a run as a stream of the Durable Streams protocol; it is closed with the run",
    "subject": "Read what has a subject, or matches a pattern, as a stream of the Durable Streams protocol",
}

ROWS: tuple[Surface, ...] = (
    CallSurface(
        path="/streams/runs/{run}",
        handler=_declared(_SUMMARIES["run"], _run, "read_run_stream", ("bad_subject", "run_not_found")),
        access=Access.STREAM,
    ),
    CallSurface(
        path="/streams/{subject}",
        handler=_declared(_SUMMARIES["subject"], _subject, "read_subject_stream", ("bad_pattern",)),
        access=Access.STREAM,
    ),
)
