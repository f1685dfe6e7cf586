"""Handlers of a webhook session's endpoint: attempts, resends, recoveries, health, secrets, verification."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from edge.errors import Problem, read_as
from edge.http.bodies.webhooks import (
    AttemptsAnswer,
    AttemptsQuery,
    DisableBody,
    EnableBody,
    HealthAnswer,
    RecoverBody,
    RecoveriesAnswer,
    RecoveryAnswer,
    ReplayBody,
    ResendAnswer,
    ResendRequest,
)
from edge.http.body import edge_of, json_answer, read_json, read_query
from edge.http.openapi.operation import Answer, operation
from edge.http.sessions import managed_session_of
from edge.runtime import Edge
from edge.sessions.answer import CreatedSession
from edge.sessions.answer import describe as describe_session
from edge.sessions.endpoint.body import Rotation
from edge.sessions.endpoint.parse import parse_secret
from edge.sessions.endpoint.secret import signing_of
from edge.sessions.endpoint.settings import EndpointSettings
from edge.sessions.endpoint.signature_format import parse_signature
from edge.sessions.registry import Session
from edge.webhooks.history.attempts import MAX_LIMIT, AttemptPosition
from edge.webhooks.history.recovery_job import DEFAULT_RATE, parse_moment
from router.cursor import Start, parse_start
from router.errors import BadCursor, Conflict
from router.subject import check_pattern
from router.topology import HOOKS

_WEBHOOK = ("not_a_webhook",)
_STARTING = ("missing_field", "bad_cursor", "too_many_recoveries", *_WEBHOOK)
_STARTED = Answer(202, "It runs, and goes on after this request; `Location` says where to watch it", RecoveryAnswer)
_HEALTH = Answer(200, "How it is now", HealthAnswer)

_DELIVERY = re.compile(r"(msg_)?([0-9a-f]{32})\Z")


async def webhook_of(request: Request) -> tuple[Session, EndpointSettings]:
    """The session of a path, and its endpoint. Raises Problem 404, or 409 where it is no webhook."""
    session = await managed_session_of(request)
    if session.spec.webhook is None:
        raise Problem("not_a_webhook", f"its delivery_method is {session.spec.delivery_method}")
    return session, session.spec.webhook


@operation(
    "List the posts made for a webhook session, newest first; a page may be empty and still have a `next`",
    Answer(200, "A page of attempts", AttemptsAnswer),
    query=AttemptsQuery,
    problems=("bad_cursor", "bad_pattern", *_WEBHOOK),
)
async def list_attempts(request: Request) -> Response:
    session, _ = await webhook_of(request)
    query = read_query(request, AttemptsQuery)
    delivery = parse_delivery(query.delivery, "bad_parameter") if query.delivery else None
    before = AttemptPosition.parse(query.cursor) if query.cursor else None
    log = edge_of(request).recoveries.attempts
    subject = None if query.subject is None else check_pattern(query.subject)
    page = await log.page(
        session.id,
        query.result or "*",
        query.event,
        delivery,
        before,
        query.limit,
        subject=subject,
        status=query.status,
    )
    return json_answer(
        {
            "attempts": [attempt.describe() for attempt in page.attempts],
            "next": str(page.next) if page.next else None,
        }
    )


@operation(
    "Send one delivery again, under its `webhook-id`; give its `event` or its `delivery`",
    Answer(202, "It is queued; `events` is more than one for a batch", ResendAnswer),
    body=ResendRequest,
    problems=("missing_field", "attempt_not_found", "event_gone", "storage_refused", *_WEBHOOK),
)
async def resend_delivery(request: Request) -> Response:
    edge = edge_of(request)
    session, _ = await webhook_of(request)
    asked = read_as(await read_json(request), ResendRequest)
    edge.store.require(HOOKS)
    delivery, events = await edge.store.guard(HOOKS, _resend(edge, session, asked))
    return json_answer(ResendAnswer(session.id, delivery, f"msg_{delivery}", events), 202)


async def _resend(edge: Edge, session: Session, asked: ResendRequest) -> tuple[str, int]:
    if isinstance(asked.event, str) == isinstance(asked.delivery, str):
        raise Problem("missing_field", "give either event or delivery: an attempt has both", field="event")
    if isinstance(asked.event, str):
        known = await edge.recoveries.attempts.delivery_of(session.id, asked.event)
        if known is None:
            raise Problem("attempt_not_found", f"no delivery of {asked.event[:60]!r} is known")
        delivery = known
    else:
        delivery = parse_delivery(str(asked.delivery), "bad_body")
    return delivery, await edge.recoveries.resend(session, delivery, asked.idempotency_key)


@operation("Send again all that failed for good since a time", _STARTED, body=RecoverBody, problems=_STARTING)
async def recover_deliveries(request: Request) -> Response:
    session, _ = await webhook_of(request)
    asked = read_as(await read_json(request), RecoverBody)
    if asked.since is None:
        raise Problem("missing_field", "since says from when on what failed for good is sent again", field="since")
    since = parse_moment(asked.since)
    until = parse_moment(asked.until) if asked.until is not None else None
    if until is not None and until <= since:
        raise Problem("bad_body", "until must be later than since", field="until")
    rate = DEFAULT_RATE if asked.rate is None else asked.rate
    return _started((await edge_of(request).recoveries.recover(session, since, until, rate)).describe())


@operation("Send a range of the past, whether it was sent before or not", _STARTED, body=ReplayBody, problems=_STARTING)
async def replay_deliveries(request: Request) -> Response:
    session, _ = await webhook_of(request)
    asked = read_as(await read_json(request), ReplayBody)
    start = _place(asked.cursor, asked.since, asked.last)
    if start is None:
        raise Problem("missing_field", "give one of cursor, since and last to say where it begins", field="cursor")
    end = _place(asked.until_cursor, asked.until)
    rate = DEFAULT_RATE if asked.rate is None else asked.rate
    return _started((await edge_of(request).recoveries.replay(session, start, end, rate)).describe())


def _place(cursor: str | None, moment: str | float | None, last: int | None = None) -> Start | None:
    """Reads a place in the stream: a cursor, a time, or so many events from the end. Raises Problem or BadCursor."""
    place = parse_start(cursor, None if moment is None else parse_moment(moment).isoformat(), last)
    if place is not None and place.snapshot:
        raise BadCursor("a snapshot is for readers; give a cursor of an event, earliest or now")
    return place


def _started(shown: Mapping[str, Any]) -> Response:
    return json_answer(shown, 202, {"Location": f"/callbacks/sessions/{shown['session_id']}/recoveries/{shown['id']}"})


@operation(
    "List the recoveries and replays of the last week",
    Answer(200, "Newest first", RecoveriesAnswer),
    problems=_WEBHOOK,
)
async def list_recoveries(request: Request) -> Response:
    session, _ = await webhook_of(request)
    found = await edge_of(request).recoveries.of(session.id)
    return json_answer({"recoveries": [recovery.describe() for recovery in found[:MAX_LIMIT]]})


@operation(
    "Read how far a recovery has come", Answer(200, "The recovery", RecoveryAnswer), problems=("recovery_not_found",)
)
async def read_recovery(request: Request) -> Response:
    session = await managed_session_of(request)
    return json_answer((await edge_of(request).recoveries.find(session.id, request.path_params["recovery"])).describe())


@operation(
    "Cancel a recovery; what was sent stays sent",
    Answer(202, "It is `cancelled` a moment later", RecoveryAnswer),
    problems=("recovery_not_found", "recovery_ended"),
)
async def cancel_recovery(request: Request) -> Response:
    session = await managed_session_of(request)
    cancelled = await edge_of(request).recoveries.cancel(session.id, request.path_params["recovery"])
    return json_answer(cancelled.describe(), 202)


@operation(
    "Read the state of a webhook's endpoint",
    Answer(200, "As the replica that serves it last reported it", HealthAnswer),
    problems=_WEBHOOK,
)
async def endpoint_health(request: Request) -> Response:
    session, endpoint = await webhook_of(request)
    return json_answer(await _health(edge_of(request), session, endpoint))


async def _health(edge: Edge, session: Session, endpoint: EndpointSettings) -> HealthAnswer:
    return HealthAnswer(
        session_id=session.id,
        active=endpoint.active,
        waiting_events=await edge.webhooks.waiting_events(session),
        **edge.webhooks.health(session.id),
    )


@operation(
    "Enable a disabled or halted endpoint; its parked jobs come first", _HEALTH, body=EnableBody, problems=_WEBHOOK
)
async def enable_endpoint(request: Request) -> Response:
    edge = edge_of(request)
    session, endpoint = await webhook_of(request)
    read_as(await read_json(request), EnableBody)
    await edge.webhooks.enable(session.id)
    return json_answer(await _health(edge, session, endpoint))


@operation("Disable an endpoint until it is enabled; its jobs are parked", _HEALTH, body=DisableBody, problems=_WEBHOOK)
async def disable_endpoint(request: Request) -> Response:
    edge = edge_of(request)
    session, endpoint = await webhook_of(request)
    reason = read_as(await read_json(request), DisableBody).reason
    if not reason.isprintable():
        raise Problem("bad_body", "reason must be printable", field="reason")
    await edge.webhooks.disable(session.id, reason)
    return json_answer(await _health(edge, session, endpoint))


@operation(
    "Give a webhook session a new secret; the old one signs as well for a while",
    Answer(200, "The session; its new secret is shown this once", CreatedSession),
    body=Rotation,
    problems=("bad_webhook", "session_changed", *_WEBHOOK),
)
async def rotate_secret(request: Request) -> Response:
    session, endpoint = await webhook_of(request)
    body = await read_json(request)
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if value is not None}
    asked = read_as(body, Rotation, "bad_webhook")
    secret = parse_secret(asked.secret, asked.signing, signing_of(endpoint.secret))
    rotated = endpoint.rotated(secret, asked.overlap)
    if (signature := rotated.signature) is not None:
        is_hmac = (signature.hash, signature.key) != ("sha256", "bytes")
        parse_signature(signature, secret, rotated.headers, is_hmac=is_hmac)
    try:
        session = await edge_of(request).registry.update(session, replace(session.spec, webhook=rotated))
    except Conflict:
        raise Problem("session_changed", "read it again and repeat the change") from None
    return json_answer(describe_session(session.spec, webhook_secret=secret))


@operation(
    "Ask a receiver whether it wants this session's events; a pending session begins once it agrees",
    Answer(200, "The session, and in `verification` what its receiver answered", CreatedSession),
    problems=("too_many", "session_changed", *_WEBHOOK),
)
async def verify_endpoint(request: Request) -> Response:
    session, _ = await webhook_of(request)
    session, consent = await edge_of(request).verification.verify(session)
    return json_answer(describe_session(session.spec, verification=consent.describe()))


def parse_delivery(text: str, code: str) -> str:
    """The delivery that a `delivery` or a `webhook-id` names. Raises Problem with the code."""
    if found := _DELIVERY.match(text):
        return found[2]
    raise Problem(code, "delivery must be the `delivery` of an attempt, or a `webhook-id`", field="delivery")
