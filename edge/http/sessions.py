"""Handlers of sessions: make, list, change, delete, test, refresh, and their figures."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from edge.auth.connection import expires_at, require_subjects
from edge.auth.grants import Grants
from edge.auth.principal import Principal
from edge.errors import Problem
from edge.http import ingest
from edge.http import session_test as trial
from edge.http.body import edge_of, json_answer, number, read_json
from edge.http.credentials import address_of, pass_cookie, pass_of, principal_of, resource_of
from edge.http.ingest import cursor_of_published
from edge.runtime import Edge
from edge.sessions.answer import describe as describe_session
from edge.sessions.registry import Session, unknown_session
from edge.sessions.spec import SessionSpec, parse_change, parse_session, view_of
from edge.stats import Stats, beside, describe, total
from edge.webhooks.client.checks import check_endpoint
from router.codec import encode, rfc3339
from router.cursor import Start
from router.errors import Conflict
from router.event import Event
from router.subject import Subject


async def session_of(connection: Request | WebSocket) -> Session:
    """Gives the session of a path. One of somebody else is as unknown as one that is not there. Raises Problem 404."""
    session_id = connection.path_params["session_id"]
    session = await edge_of(connection).registry.find(session_id)
    if not principal_of(connection.scope).owns(session.spec.owner):
        raise unknown_session(session_id)
    return session


async def create_session(request: Request) -> Response:
    edge = edge_of(request)
    principal = principal_of(request.scope)
    retries = edge.settings.webhooks.default_attempts
    spec, start = parse_session(await read_json(request), retries)
    spec = _owned(spec, principal)
    view = view_of(spec)
    require_subjects(principal, spec)
    edge.authenticator.limits.create(address_of(request), principal, edge.registry.owned(principal.id))
    # Before anything is read: the streams that have no leader for a write answer no read either.
    edge.store.require(edge.registry.bucket.stream)
    if spec.webhook:
        await check_endpoint(spec.webhook, edge.guard)
    # A session begins where it was made, so that nothing said between its creation and its first reader is lost.
    place = await edge.hub.recovery.begin(start or Start(now=True), view)
    spec = msgspec.structs.replace(spec, start=edge.hub.recovery.cursor(place.after))
    session, asked = await edge.hooks.settled(await edge.registry.create(spec, view))
    if spec.webhook:
        # The one time that the secret is shown: the receiver needs it to verify.
        asked["webhook_secret"] = spec.webhook.secret
    return json_answer(describe_session(session.spec, **asked), 201, {"Location": f"/callbacks/sessions/{spec.id}"})


def _owned(spec: SessionSpec, principal: Principal) -> SessionSpec:
    """A session with its owner, and with what that may read now: it is served so much after the token has ended, too."""
    granted = principal.grants.read_or_all
    return msgspec.structs.replace(
        spec, owner=principal.id, granted=None if granted is None or principal.id is None else list(granted)
    )


async def list_sessions(request: Request) -> Response:
    edge = edge_of(request)
    principal = principal_of(request.scope)
    mine = (session for session in edge.registry.sessions.values() if principal.owns(session.spec.owner))
    found = sorted(mine, key=lambda session: session.spec.created)
    limit = number(request, "limit", 100, 1, 1000)
    offset = number(request, "offset", 0, 0, 10**9)
    page = found[offset : offset + limit]
    return json_answer({"sessions": [describe_session(session.spec) for session in page], "total": len(found)})


async def read_session(request: Request) -> Response:
    return json_answer(describe_session((await session_of(request)).spec))


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
    if not own and spec.granted is not None:
        # Who operates the system may change a session, but not so that its owner sees what is not granted to it.
        require_subjects(Principal(spec.owner, Grants(tuple(spec.granted))), spec)
    if spec.webhook:
        await check_endpoint(spec.webhook, edge.guard)
    try:
        changed = await edge.registry.update(session, spec, view)
    except Conflict:
        raise Problem("session_changed", "read it again and repeat the change") from None
    changed, asked = await edge.hooks.settled(changed, session)
    return json_answer(describe_session(changed.spec, **asked))


async def delete_session(request: Request) -> Response:
    await edge_of(request).registry.delete((await session_of(request)).id)
    return Response(status_code=204)


async def session_stats(request: Request) -> Response:
    edge = edge_of(request)
    session = await session_of(request)
    return json_answer(describe(session.id, await _stats(edge, session)))


async def _stats(edge: Edge, session: Session) -> Stats:
    gathered = await edge.cluster_stats.gather(session.id)
    read = gathered.get(session.id, Stats())
    if session.spec.delivery_method != "webhook":
        return read
    # Its events are counted by who posts them; whoever else reads along changes nothing of that.
    return beside(await edge.webhooks.figures.session(session.id), read)


async def overall_stats(request: Request) -> Response:
    edge = edge_of(request)
    gathered = await edge.cluster_stats.gather()
    posted, read = await edge.webhooks.figures.total(), []
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


async def test_session(request: Request) -> Response:
    edge = edge_of(request)
    session = await session_of(request)
    patience = number(request, "wait", 0.0, 0.0, trial.MAX_WAIT)
    if patience and session.spec.webhook is None:
        raise Problem("not_a_webhook", "wait is for webhook sessions: readers say nothing of what they got")
    kind, data = trial.parse_trial(await read_json(request))
    event = Event.new(Subject.of("session", session.id, kind), data, type=kind, source="test", test=True)
    accepted = ingest.Accepted(event, encode(event))
    (ack,) = await ingest.publish(edge.broker, [accepted], edge.store)
    cursor = await cursor_of_published(edge, accepted, ack)
    outcome: dict[str, Any] = {"status": "published", "success": True}
    if not (session.view.admits(str(event.subject), kind) and session.view.passes(event)):
        outcome = trial.not_matched(session)
    elif session.spec.webhook is not None:
        # To be stored is no success yet where it is still to be posted.
        outcome = await trial.watch(edge.webhooks, edge.recoveries.attempts, session, event.id, patience)
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


async def refresh_session(request: Request) -> Response:
    """Takes the token that this request was sent with, for the connections that the same principal has to the session."""
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


async def read_me(request: Request) -> Response:
    """Says who the token of this request proves, and what it allows: a page can then say what it does not show."""
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
