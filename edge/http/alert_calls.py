"""Handles POST /callbacks/sessions/{id}/alerts: the receiver of a webhook acts on an alert, by a call that it signs.

It signs as we sign what we post to it (Standard Webhooks, `v1`), with the same secret: over id, time and body. So no token
lies in an event that others read, and who has the secret has it already.
"""

from __future__ import annotations

import hmac
import re

from starlette.requests import Request
from starlette.responses import Response

from edge.errors import Problem, read_as
from edge.http.alerts import change, shown_alert, unknown_alert, wish_of
from edge.http.bodies.alerts import AlertAnswer, SignedAct
from edge.http.body import edge_of, json_answer, read_body
from edge.http.credentials import address_of
from edge.http.openapi.operation import Answer, header, operation
from edge.sessions.registry import Session
from edge.webhooks.client.signature import sign
from router.alerts import AlertRecord, subjects
from router.clock import wall
from router.codec import from_json
from router.errors import BadEvent

# Seconds by which a call's time may differ from ours, as receivers of Standard Webhooks allow.
TOLERANCE = 300
MAX_SIGNATURES = 8

_STAMP = re.compile(r"\d{1,12}\Z")
_MESSAGE = re.compile(r"[\x21-\x7e]{1,200}\Z")


@operation(
    "Act on an alert as the receiver of a webhook",
    Answer(200, "The alert", AlertAnswer),
    body=SignedAct,
    body_required=True,
    headers=(
        header("webhook-id", "Any name of the call.", maxLength=200),
        header("webhook-timestamp", "Seconds since the epoch."),
        header(
            "webhook-signature",
            "`v1,` and HMAC-SHA256 of `<id>.<timestamp>.<body>` in base64, with the webhook's secret.",
        ),
    ),
    problems=("bad_signature", "alert_not_found", "alert_resolved", "alert_refused", "not_granted", "missing_field"),
)
async def act_by_webhook(request: Request) -> Response:
    edge = edge_of(request)
    address = address_of(request)
    edge.authenticator.limits.check_failures(address)
    body = await read_body(request)
    session = await _session(request)
    if session is None or not is_signed(session, request, body):
        edge.authenticator.limits.failed(address)
        raise Problem("bad_signature", "sign <webhook-id>.<webhook-timestamp>.<body> with the secret of the webhook")
    try:
        wanted = read_as(from_json(body), SignedAct)
    except BadEvent as fault:
        raise Problem("bad_json", str(fault)) from None
    record = await edge.alerts.find(wanted.alert)
    if record is None or not is_posted(session, record):
        raise unknown_alert(wanted.alert)
    require_right(session, record)
    # From the time of the call on: one that is sent again does not prolong a snooze.
    begun = min(wall.now_ns(), int(request.headers["webhook-timestamp"]) * 1_000_000_000)
    comment, until = wish_of(wanted, wanted.action, begun)
    done = await change(edge.alerts, record.id, wanted.action, session.id, comment, until)
    return json_answer(shown_alert(done, history=True))


async def _session(request: Request) -> Session | None:
    try:
        return await edge_of(request).registry.find(request.path_params["session_id"])
    except Problem:
        return None


def is_signed(session: Session, request: Request, body: bytes) -> bool:
    """Whether a call is signed with a secret of the session's webhook, just now."""
    id, stamp = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
    if session.spec.webhook is None or not _MESSAGE.match(id) or not _STAMP.match(stamp):
        return False
    if abs(wall.now() - int(stamp)) > TOLERANCE:
        return False
    given = request.headers.get("webhook-signature", "").split(" ")[:MAX_SIGNATURES]
    # With a key pair the receiver has only the public half and cannot sign.
    keys = [key for key in session.spec.webhook.keys if isinstance(key, bytes)]
    wanted = [sign([key], id, body, int(stamp))["webhook-signature"] for key in keys]
    return any(hmac.compare_digest(one.encode(), other.encode()) for one in wanted for other in given)


def is_posted(session: Session, record: AlertRecord) -> bool:
    """Whether the session is one that gets the events of an alert."""
    return any(
        session.view.admits(str(each), record.state) for each in subjects(record.rule, record.audience, "firing")
    )


def require_right(session: Session, record: AlertRecord) -> None:
    """Raises Problem where the session's owner is not concerned and its receiver was not permitted to act."""
    owner = session.spec.owner
    if owner is None or session.spec.alert_actions or owner.partition(" ")[2] in record.audience:
        return
    raise Problem("not_granted", "the session needs alert_actions to act on alerts that do not name its owner")
