"""Handlers of sessions: create, list, change, delete, test, refresh, and their statistics."""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from edge.auth.connection import expires_at, require_subjects
from edge.auth.grants import Grants
from edge.auth.principal import Principal
from edge.errors import Problem, read_as
from edge.http import session_test as trial
from edge.http.batch import Accepted
from edge.http.bodies.sessions import (
    MeAnswer,
    OverallStatsAnswer,
    RefreshAnswer,
    SessionsAnswer,
    SessionsQuery,
    SessionTestAnswer,
    SessionTestQuery,
    SessionTestRequest,
    StatsAnswer,
)
from edge.http.body import edge_of, json_answer, read_json, read_query
from edge.http.credentials import address_of, pass_cookie, pass_of, principal_of, resource_of
from edge.http.ingest import cursor_of_published, door_of
from edge.http.openapi.operation import Answer, operation
from edge.runtime import Edge
from edge.sessions.answer import CreatedSession, SessionAnswer
from edge.sessions.answer import describe as describe_session
from edge.sessions.body import NewSession, SessionChange
from edge.sessions.registry import Session, unknown_session
from edge.sessions.spec import SessionSpec, parse_change, parse_session, view_of
from edge.stats import Stats, beside, describe, describe_connections, total
from edge.webhooks.client.checks import check_endpoint
from edge.webhooks.endpoint.verification import Consent
from router.alerts import ACTIONS
from router.codec import encode, rfc3339
from router.cursor import Start
from router.errors import BrokerError, Conflict
from router.event import Event
from router.subject import Subject

# The name that the callback guide gives to what manages sessions.
log = logging.getLogger("callback_manager")

# Why the specification of a session is refused.
_SPEC = ("bad_webhook", "bad_pattern", "bad_filter", "not_granted")


async def session_of(connection: Request | WebSocket) -> Session:
    """Finds the session of a path. A session of another principal is as unknown as one that does not exist. Raises Problem 404."""
    session_id = connection.path_params["session_id"]
    session = await edge_of(connection).registry.find(session_id)
    if not principal_of(connection.scope).owns(session.spec.owner):
        raise unknown_session(session_id)
    return session


async def managed_session_of(request: Request) -> Session:
    """The same for what a token for this session alone allows as well: to see it, and to manage its endpoint."""
    session_id = request.path_params["session_id"]
    session = await edge_of(request).registry.find(session_id)
    if not principal_of(request.scope).manages(session.id, session.spec.owner):
        raise unknown_session(session_id)
    return session


@operation(
    "Create a session",
    Answer(201, "The session; its webhook secret is shown this once", CreatedSession),
    body=NewSession,
    problems=(*_SPEC, "missing_field", "bad_cursor", "too_many", "session_store_full"),
)
async def create_session(request: Request) -> Response:
    edge = edge_of(request)
    principal = principal_of(request.scope)
    retries = edge.settings.webhooks.default_attempts
    spec, start = parse_session(await read_json(request), retries)
    spec = _owned(spec, principal)
    view = view_of(spec)
    require_subjects(principal, spec)
    _require_alert_actions(principal, spec)
    edge.authenticator.limits.create(address_of(request), principal, edge.registry.owned(principal.id))
    # First: a stream without a leader for a write answers no read either.
    edge.store.require(edge.registry.bucket.stream)
    if spec.webhook:
        await check_endpoint(spec.webhook, edge.guard)
    # A session begins where it was made, so that nothing said between its creation and its first reader is lost.
    place = await edge.hub.recovery.begin(Start(now=True) if start is None or start.snapshot else start, view)
    spec = msgspec.structs.replace(spec, start=edge.hub.recovery.cursor(place.after))
    session, asked = await _verified(edge, await edge.registry.create(spec, view))
    log.debug("session created", extra={"session": spec.id, "delivery_method": spec.delivery_method})
    if spec.webhook:
        # The one time that the secret is shown: the receiver needs it to verify.
        asked["webhook_secret"] = spec.webhook.secret
    return json_answer(describe_session(session.spec, **asked), 201, {"Location": f"/callbacks/sessions/{spec.id}"})


def _owned(spec: SessionSpec, principal: Principal) -> SessionSpec:
    """A session with its owner, and the grants of that, under which it is served after the token has expired as well."""
    granted = principal.grants.read_or_all
    return msgspec.structs.replace(
        spec, owner=principal.id, granted=None if granted is None or principal.id is None else list(granted)
    )


def _require_alert_actions(principal: Principal, spec: SessionSpec) -> None:
    """Raises Problem where a webhook's receiver shall do to alerts what its maker may not."""
    if spec.alert_actions:
        for what in ACTIONS:
            principal.require_command(f"alerts.main.{what}")


async def _verified(edge: Edge, session: Session, before: Session | None = None) -> tuple[Session, dict[str, Any]]:
    """A session that was just stored, once its receiver was asked where `verify` wants that; and what to show of it.

    The session is stored whatever the receiver answers, so a failure here is no error of the request.
    """
    endpoint = session.spec.webhook
    known = before.spec.webhook if before is not None else None
    if endpoint is None or endpoint.active:
        return session, {}
    if known is not None and (known.url, known.verify) == (endpoint.url, endpoint.verify):
        return session, {}
    try:
        session, consent = await edge.verification.verify(session)
    except Problem as problem:
        consent = Consent(False, problem.code, problem.detail)
    except BrokerError:
        consent = Consent(False, "broker_unavailable", "the receiver's answer could not be stored")
    return session, {"verification": consent.describe()}


@operation("List sessions", Answer(200, "A page of sessions", SessionsAnswer), query=SessionsQuery)
async def list_sessions(request: Request) -> Response:
    edge = edge_of(request)
    principal = principal_of(request.scope)
    query = read_query(request, SessionsQuery)
    mine = (
        session
        for session in edge.registry.sessions.values()
        if principal.owns(session.spec.owner) and _is_asked_for(session.spec, query)
    )
    found = sorted(mine, key=lambda session: session.spec.created, reverse=query.newest)
    page = found[query.offset : query.offset + query.limit]
    gathered = await edge.cluster_stats.gather() if query.live else {}

    def live(session: Session) -> dict[str, Any]:
        if not query.live:
            return {}
        stats = gathered.get(session.id, Stats())
        shown: dict[str, Any] = {"has_websocket": stats.websockets > 0, "has_sse": stats.sses > 0}
        if session.spec.webhook is not None:
            shown["endpoint_state"] = edge.webhooks.health(session.id)["state"]
        return shown

    shown = [describe_session(session.spec, **live(session)) for session in page]
    return json_answer({"sessions": shown, "total": len(found)})


def _is_asked_for(spec: SessionSpec, query: SessionsQuery) -> bool:
    """Whether a session is one of those that a list asks for."""
    if query.delivery_method is not None and spec.delivery_method != query.delivery_method:
        return False
    if not query.q:
        return True
    # Of an address what is shown of it: a password in it must not be found by guessing.
    address = spec.webhook.describe()["webhook_url"] if spec.webhook is not None else ""
    texts = (spec.name, spec.id, spec.owner, spec.filter, address, *(spec.subjects or ()), *(spec.events or ()))
    return any(query.q.lower() in text.lower() for text in texts if text)


@operation("Read a session", Answer(200, "The session", SessionAnswer))
async def read_session(request: Request) -> Response:
    return json_answer(describe_session((await managed_session_of(request)).spec))


@operation(
    "Change a session; its readers go on under it",
    Answer(200, "The session as it is now", SessionAnswer),
    body=SessionChange,
    problems=(*_SPEC, "session_changed"),
)
async def change_session(request: Request) -> Response:
    edge = edge_of(request)
    session = await session_of(request)
    principal = principal_of(request.scope)
    spec = parse_change(await read_json(request), session.spec, edge.settings.webhooks.default_attempts)
    own = principal.id is not None and principal.id == spec.owner
    if own:
        spec = _owned(spec, principal)
    view = view_of(spec)
    require_subjects(principal, spec)
    if not session.spec.alert_actions or session.spec.webhook != spec.webhook:
        _require_alert_actions(principal, spec)
    if not own and spec.granted is not None:
        # An operator may change a session, but not so that its owner sees what is not granted to it.
        require_subjects(Principal(spec.owner, Grants(tuple(spec.granted))), spec)
    if spec.webhook:
        await check_endpoint(spec.webhook, edge.guard)
    try:
        changed = await edge.registry.update(session, spec, view)
    except Conflict:
        raise Problem("session_changed", "read it again and repeat the change") from None
    changed, asked = await _verified(edge, changed, session)
    return json_answer(describe_session(changed.spec, **asked))


@operation("Delete a session, and close its readers", Answer(204, "Deleted"))
async def delete_session(request: Request) -> Response:
    session = await session_of(request)
    await edge_of(request).registry.delete(session.id)
    log.debug("session deleted", extra={"session": session.id})
    return Response(status_code=204)


@operation("Read what became of a session's events", Answer(200, "Over all replicas", StatsAnswer))
async def session_stats(request: Request) -> Response:
    edge = edge_of(request)
    session = await managed_session_of(request)
    stats = await _stats(edge, session)
    return json_answer({**describe(session.id, stats), "connections": describe_connections(stats)})


async def _stats(edge: Edge, session: Session) -> Stats:
    gathered = await edge.cluster_stats.gather(session.id)
    read = gathered.get(session.id, Stats())
    if session.spec.delivery_method != "webhook":
        return read
    # The worker that posts its events counts them; other readers do not change these figures.
    return beside(await edge.webhooks.delivery_stats.session(session.id), read)


@operation("Read what became of all events", Answer(200, "Over sessions and replicas", OverallStatsAnswer))
async def overall_stats(request: Request) -> Response:
    edge = edge_of(request)
    gathered = await edge.cluster_stats.gather()
    posted, read = await edge.webhooks.delivery_stats.total(), []
    for session_id, stats in gathered.items():
        known = edge.registry.sessions.get(session_id)
        webhook = known is not None and known.spec.delivery_method == "webhook"
        read.append(beside(Stats(), stats) if webhook else stats)
    whole = describe("all", total([posted, *read]))
    del whole["session_id"]
    methods = dict.fromkeys(("websocket", "sse", "polling", "webhook"), 0)
    for session in edge.registry.sessions.values():
        methods[session.spec.delivery_method] += 1
    return json_answer(
        {
            "active_sessions": len(edge.registry.sessions),
            "sessions_by_method": methods,
            "edges": edge.cluster_stats.size,
            "uptime_seconds": round(time.time() - edge.started, 3),
            **whole,
        }
    )


@operation(
    "Send a test event on the path of real ones, and wait for the answer of a webhook",
    Answer(200, "Stored at `cursor`; `attempt` is what a webhook answered", SessionTestAnswer),
    query=SessionTestQuery,
    body=SessionTestRequest,
    problems=("bad_subject", "bad_event", "malformed_event", "not_a_webhook", "storage_refused"),
)
async def test_session(request: Request) -> Response:
    edge = edge_of(request)
    session = await managed_session_of(request)
    wait = read_query(request, SessionTestQuery).wait
    if wait and session.spec.webhook is None:
        raise Problem("not_a_webhook", "wait is for webhook sessions: readers do not acknowledge events")
    body = read_as(await read_json(request), SessionTestRequest)
    kind = body.event_type
    data = trial.data_for(kind) if isinstance(body.test_data, msgspec.UnsetType) else body.test_data
    event = Event.new(Subject.of("session", session.id, kind), data, type=kind, source="test", test=True)
    (receipt,) = await door_of(request).store([Accepted(event, encode(event))])
    cursor = await cursor_of_published(edge, receipt)
    outcome: dict[str, Any] = {"status": "published", "success": True}
    if not (session.view.admits(str(event.subject), kind, event.partial) and session.view.passes(event)):
        outcome = trial.not_matched(session)
    elif session.spec.webhook is not None:
        # An event that is stored and not yet posted is no success yet.
        outcome = await trial.watch(edge.webhooks, edge.recoveries.attempts, session, event.id, wait)
    return json_answer(
        {
            "session_id": session.id,
            "event_id": event.id,
            "event_type": kind,
            "timestamp": rfc3339(event.time),
            "cursor": cursor,
            **outcome,
        }
    )


@operation(
    "Use the token of this request for the connections that its principal has to the session",
    Answer(200, "How many connections go on, over all replicas, and until when", RefreshAnswer),
    problems=("not_granted",),
)
async def refresh_session(request: Request) -> Response:
    """Renews the principal's connections to the session with the token of this request."""
    edge = edge_of(request)
    session = await session_of(request)
    principal = principal_of(request.scope)
    require_subjects(principal, session.spec)
    renewed = await edge.connection_auths.renew(principal, session.id)
    headers = {}
    authenticator = edge.authenticator
    if renewed_pass := await authenticator.renew_pass(pass_of(request.scope), resource_of(request.scope), principal):
        headers["Set-Cookie"] = pass_cookie(request.scope, authenticator.proxies, renewed_pass)
    return json_answer(
        {"session_id": session.id, "expires_at": expires_at(principal), "connections": renewed}, headers=headers
    )


@operation(
    "Read the token's principal and grants; where no keys are configured everything is allowed, and the id is null",
    Answer(200, "Its grants, as subject patterns", MeAnswer),
)
async def read_me(request: Request) -> Response:
    """Answers the principal of the token and its grants, so that a page can explain what it does not show."""
    principal = principal_of(request.scope)
    grants = principal.grants
    return json_answer(
        {
            "id": principal.id,
            "read": list(grants.read),
            "publish": list(grants.publish),
            "command": list(grants.command),
            "operate": grants.operate,
            "expires_at": expires_at(principal),
        }
    )
