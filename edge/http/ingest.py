"""Handles POST /events."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgpack
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from edge.auth.principal import Principal
from edge.errors import Problem, from_fault, json_object
from edge.http.batch import Accepted, EventDoor, Receipt
from edge.http.bodies.events import Publication, Published
from edge.http.body import draining_problem, edge_of, json_answer, read_body
from edge.http.channel_events import from_channel
from edge.http.credentials import address_of, principal_of
from edge.http.head import header_of
from edge.http.idempotency import Name, name_events
from edge.http.openapi.operation import Answer, header, operation
from edge.runtime import Edge
from router import tracing
from router.codec import check_depth, encode, from_json
from router.cursor import parse_time
from router.errors import BadCursor, BadEvent, BadInput
from router.event import Event
from router.limits import largest_event
from router.own_events import encode_own
from router.run_entry import incarnation_of

_PROBLEMS = (
    "missing_field",
    "bad_subject",
    "bad_event",
    "malformed_event",
    "bad_parameter",
    "idempotency_key_reused",
    "forbidden_subject",
    "not_granted",
    "batch_too_large",
    "event_too_large",
    "unsupported_media_type",
    "storage_refused",
    "draining",
    "run_over",
    "run_superseded",
)


@operation(
    "Publish one event or a batch",
    Answer(201, "Every event is stored", Published),
    body=Publication,
    body_required=True,
    other_bodies=("application/msgpack", "application/x-ndjson"),
    headers=(
        header(
            "Idempotency-Key",
            "A repeat by the same principal within two minutes is stored once, and gets the first answer; another body under "
            "the same key is refused.",
            maxLength=200,
        ),
    ),
    problems=_PROBLEMS,
)
async def publish_events(request: Request) -> Response:
    edge, scope = edge_of(request), request.scope
    if edge.draining:
        raise draining_problem()
    asked = Submission(
        await read_body(request),
        header_of(scope, b"content-type") or "",
        header_of(scope, b"idempotency-key"),
        header_of(scope, b"traceparent"),
    )
    return json_answer(await publish(edge, door_of(request), asked, principal_of(scope), address_of(request)), 201)


class Submission(NamedTuple):
    """What a request says that publishes events: its body and headers."""

    body: bytes
    content_type: str
    idempotency_key: str | None = None
    traceparent: str | None = None


class Admitted(NamedTuple):
    """The events of a request that may be stored, under which names, and which lives of runs they say they are of."""

    many: list[Accepted]
    names: list[Name]
    lives: list[str | None]
    # Whether they came without a list around them, and whether under an Idempotency-Key.
    single: bool
    keyed: bool
    # The trace that the request came with, the one that it is handled under, and when that began, in ns.
    came_with: str | None
    trace: str | None
    begun: int


async def publish(edge: Edge, door: EventDoor, asked: Submission, principal: Principal, address: str) -> dict[str, Any]:
    """Stores the events of a request; the body of its answer. Raises Problem or RouterError."""
    return await store(edge, door, admit(edge, asked, principal, address))


def admit(edge: Edge, asked: Submission, principal: Principal, address: str) -> Admitted:
    """Reads the events of a request, and counts them against the limits of who sent it. Raises Problem or RouterError."""
    given, single = parse(asked.body, asked.content_type, edge.settings.max_batch)
    if any("channel" in item for item in given):
        given = [_named(item, place, len(given)) for place, item in enumerate(given)]
    came_with, key = asked.traceparent, asked.idempotency_key
    trace = tracing.begin(came_with) if came_with or tracing.recorder else None
    begun = time.time_ns()
    many = events(given, key, trace, principal.id)
    permit(many, principal)
    fit(many, largest_event(edge.broker.connection.max_payload, edge.settings.max_body))
    edge.authenticator.limits.publish(address, principal, len(many))
    names = name_events([event for event, _ in many], [item.get("id") is not None for item in given], principal.id, key)
    lives = [item.get("incarnation") or incarnation_of(event) for item, (event, _) in zip(given, many, strict=True)]
    return Admitted(many, names, lives, single, key is not None, came_with, trace, begun)


async def store(edge: Edge, door: EventDoor, admitted: Admitted) -> dict[str, Any]:
    """Stores the events of a request; the body of its answer. Raises Problem or RouterError."""
    many = admitted.many
    receipts = await door.store(many, admitted.names, keyed=admitted.keyed, lives=admitted.lives)
    if admitted.trace:
        tracing.tell("publish", "server", admitted.came_with, admitted.trace, admitted.begun, events=len(many))
    published_now = edge.hub.recovery.published_now
    answers = [
        {"id": event.id, "cursor": cursor, "duplicate": False}
        if incarnation is None and (cursor := published_now(ack, check)) is not None
        else await _answer(edge, event, receipt)
        for (event, _), receipt in zip(many, receipts, strict=True)
        for ack, check, incarnation in (receipt,)
    ]
    return {**(answers[0] if admitted.single else {}), "events": answers}


def store_now(door: EventDoor, admitted: Admitted, settle: Callable[[Receipt | None], None]) -> bool:
    """Sends an event that comes alone and depends on nothing, as `EventDoor.store_now`; says whether it was sent."""
    return (
        admitted.single
        and admitted.trace is None
        and admitted.lives[0] is None
        and door.store_now(admitted.many[0], admitted.names[0], settle)
    )


def sent(admitted: Admitted) -> Admitted:
    """The same of an event that was sent already, and may be stored."""
    return admitted._replace(names=[name._replace(was_sent=True) for name in admitted.names])


def answer_now(edge: Edge, id: str, receipt: Receipt) -> dict[str, Any] | None:
    """What is said of an event that was just stored; None where something must be asked first, or is to be added."""
    if receipt.incarnation is not None:
        return None
    cursor = edge.hub.recovery.published_now(receipt.ack, receipt.check)
    return None if cursor is None else {"id": id, "cursor": cursor, "duplicate": False}


async def answer_stored(edge: Edge, admitted: Admitted, receipt: Receipt) -> dict[str, Any]:
    """The body of the answer to a request with one event, which is stored."""
    answer = await _answer(edge, admitted.many[0].event, receipt)
    return {**answer, "events": [answer]}


async def _answer(edge: Edge, event: Event, receipt: Receipt) -> dict[str, Any]:
    """What is said of a stored event, also of one that began a life or is a repeat."""
    answer = {
        "id": event.id,
        "cursor": await cursor_of_published(edge, receipt),
        "duplicate": receipt.ack.duplicate,
    }
    return {**answer, "incarnation": receipt.incarnation} if receipt.incarnation else answer


def _named(item: dict[str, Any], place: int, count: int) -> dict[str, Any]:
    """An event with its subject, where it was given a channel instead. Raises Problem."""
    if "channel" not in item:
        return item
    try:
        return from_channel(item)
    except (BadInput, Problem) as fault:
        problem = fault if isinstance(fault, Problem) else from_fault(fault)
        raise problem.with_more(**_where(place, count)) from None


async def cursor_of_published(edge: Edge, receipt: Receipt) -> str:
    """The cursor of an event that was just stored; a repeat has that of the first, whose bytes may be others."""
    return await edge.hub.recovery.published(receipt.ack, receipt.check)


def door_of(request: HTTPConnection) -> EventDoor:
    """What stores the events that come to this edge by HTTP."""
    door: EventDoor = request.app.state.door
    return door


FIELDS = frozenset({"id", "subject", "type", "data", "source", "key", "cause", "trace", "test", "incarnation", "time"})

_TEXTS = dict.fromkeys(("source", "key", "cause", "trace", "incarnation")).keys()

# Events of a request whose live copies are not to be decoded again.
FEW = 16

# What the system says of itself is not for others to say.
RESERVED = frozenset({"system"})


# 7 days: how long events are kept by default. A minute: what clocks may differ.
MAX_LATE_SECONDS, MAX_EARLY_SECONDS = 7 * 86400, 60

_KEY = re.compile(r"[\x21-\x7e]{1,200}\Z")


def parse(body: bytes, content_type: str, most: int) -> tuple[list[dict[str, Any]], bool]:
    """Reads one event, a list, or `{"events": [...]}`; says whether it was a single one. Raises Problem."""
    kind = _kind(content_type)
    if kind in ("application/msgpack", "application/x-msgpack", "application/vnd.msgpack"):
        try:
            given = msgpack.unpackb(body, raw=False, strict_map_key=False)
        except (ValueError, TypeError, OverflowError, MemoryError, msgpack.UnpackException, RecursionError) as fault:
            raise Problem("bad_json", f"not msgpack: {fault}") from None
    elif kind in ("application/x-ndjson", "application/jsonl"):
        given = [_json(line) for line in body.splitlines() if line.strip()]
    elif kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
        # The latter two: what `curl -d` and a page's no-preflight fetch send when nobody says otherwise.
        given = _json(body)
    else:
        raise Problem(
            "unsupported_media_type", f"{kind[:80]} is not known; send application/json or application/msgpack"
        )
    if isinstance(given, dict) and "events" not in given:
        return [given], True
    many = given.get("events") if isinstance(given, dict) else given
    if not isinstance(many, list) or not all(isinstance(item, dict) for item in many):
        raise Problem("bad_body", 'the body must be an event, a list of events, or {"events": [...]}')
    if not many:
        raise Problem("bad_body", "the list of events is empty")
    if len(many) > most:
        raise Problem("batch_too_large", f"{len(many)} events; at most {most} at a time")
    return many, False


@lru_cache(256)
def _kind(content_type: str) -> str:
    """The media type of a body, without its parameters."""
    return content_type.split(";")[0].strip().lower() or "application/json"


def _json(text: bytes) -> Any:
    try:
        return from_json(text)
    except BadEvent as fault:
        raise Problem("bad_json", str(fault)) from None


def events(
    given: list[dict[str, Any]],
    idempotency_key: str | None,
    trace: str | None = None,
    principal: str | None = None,
) -> list[Accepted]:
    """Makes events of what was sent; with a key their ids follow from it and the principal. Raises Problem.

    `trace` is for those that come without one of their own.
    """
    if idempotency_key is not None and not _KEY.match(idempotency_key):
        raise Problem("bad_parameter", "Idempotency-Key must be 1 to 200 visible characters")
    # What is remembered of a long list costs more than to decode its live copies.
    pack = encode_own if len(given) <= FEW else encode
    made: list[Accepted] = []
    place = 0
    try:
        for place, item in enumerate(given):
            id = None if idempotency_key is None else _derived(idempotency_key, place, principal)
            made.append(_event(item, id, trace, pack))
    except BadInput as fault:
        raise from_fault(fault).with_more(**_where(place, len(given))) from None
    except Problem as fault:
        fault.more |= _where(place, len(given))
        raise
    return made


def _where(place: int, count: int) -> dict[str, Any]:
    """Which event of a request a problem is about; nothing where there is but one."""
    return {} if count == 1 else {"index": place}


def permit(many: list[Accepted], principal: Principal) -> None:
    """Raises Problem where one of the events is not for this principal to publish; then none is stored."""
    if len(many) == 1:
        principal.require_publish(many[0].event.subject)
        return
    permitted: set[str] = set()
    for place, (event, _) in enumerate(many):
        if event.subject not in permitted:
            principal.require_publish(event.subject, **_where(place, len(many)))
            permitted.add(event.subject)


def _derived(key: str, place: int, principal: str | None) -> str:
    seed = key if principal is None else f"{principal}\0{key}"
    return f"idem-{hashlib.sha256(seed.encode()).hexdigest()[:32]}-{place}"


def _event(item: Mapping[str, Any], id: str | None, trace: str | None, pack: Callable[[Event], bytes]) -> Accepted:
    if "event_type" in item:
        # What readers get has that name.
        raise Problem("unknown_field", "unknown: event_type; say `type`", field="event_type")
    if not FIELDS.issuperset(item):
        json_object(item, FIELDS)
    if "subject" not in item:
        raise Problem("missing_field", "an event needs a subject, such as agent.run-42.progress")
    if not _TEXTS.isdisjoint(item):
        for name in _TEXTS:
            value = item.get(name)
            if value is not None and (not isinstance(value, str) or len(value) > 200):
                raise Problem("bad_event", f"{name} must be a text of at most 200 characters")
    test = item.get("test", False)
    if not isinstance(test, bool):
        raise Problem("bad_event", "test must be true or false")
    check_depth(item.get("data"))
    event = Event.new(
        item["subject"],
        item.get("data"),
        type=item.get("type"),
        source=item.get("source") or "http",
        time_ns=_time(item.get("time")),
        id=item["id"] if item.get("id") is not None else id,
        key=item.get("key"),
        cause=item.get("cause"),
        trace=item.get("trace") or trace,
        test=test,
    )
    if event.subject.domain in RESERVED:
        raise Problem("forbidden_subject", f"{event.subject.domain}.> is what the system says of itself")
    # Data that msgpack cannot hold, or no reader could decode, is found before the first event is stored.
    return Accepted(event, pack(event))


def _time(given: Any) -> int | None:
    """The time of an event that is published late, in ns. Raises Problem."""
    if given is None:
        return None
    now, moment = time.time_ns(), given
    if isinstance(given, str):
        try:
            since = parse_time(given) - datetime(1970, 1, 1, tzinfo=UTC)
        except (BadCursor, OverflowError):
            raise Problem("bad_event", f"time: {given[:60]!r} is neither RFC 3339 nor ns", field="time") from None
        moment = (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
    if isinstance(moment, bool) or not isinstance(moment, int):
        raise Problem("bad_event", "time must be RFC 3339, or ns since the epoch", field="time")
    if not now - MAX_LATE_SECONDS * 1_000_000_000 <= moment <= now + MAX_EARLY_SECONDS * 1_000_000_000:
        raise Problem("bad_event", "time must lie within the last 7 days, and at most a minute ahead", field="time")
    return moment


def fit(many: list[Accepted], limit: int) -> None:
    """Raises Problem 413 where one of the events has more than `limit` bytes as msgpack; then none is stored."""
    for place, (_, payload) in enumerate(many):
        if len(payload) > limit:
            raise Problem(
                "event_too_large",
                f"the event has {len(payload)} bytes as msgpack, at most {limit} are taken; store it elsewhere and publish "
                "a reference",
                size=len(payload),
                limit=limit,
                **_where(place, len(many)),
            )
