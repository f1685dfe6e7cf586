"""Handles /tickets: single-use tickets for addresses that a browser opens, and for signing in at another browser."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from edge.auth.authenticator import CHALLENGE, Access
from edge.auth.connection import require_subjects
from edge.auth.tickets import SIGN_IN_SECONDS
from edge.errors import Problem, read_as
from edge.http.bodies.sessions import RedeemAnswer, RedeemRequest, TicketAnswer, TicketRequest
from edge.http.body import edge_of, json_answer, read_json
from edge.http.credentials import address_of, credentials_of, path_resource, principal_of
from edge.http.openapi.operation import Answer, operation
from edge.sessions.registry import unknown_session
from router.subject import escape

# The first part of a ticket's path, by the field of the body that names the stream.
_PATHS = {"session_id": "callbacks", "camera": "cameras", "octane": "octane", "path": "path"}


@operation(
    "Get a ticket that a browser can put into an address: valid once, for one stream, for a short time",
    Answer(
        201,
        "Open the stream with `?ticket=`; the answer sets a cookie, with which the same address can be opened again until the "
        "token expires",
        TicketAnswer,
    ),
    body=TicketRequest,
    body_required=True,
    problems=("session_not_found", "not_granted"),
)
async def give_ticket(request: Request) -> Response:
    edge = edge_of(request)
    principal = principal_of(request.scope)
    asked = read_as(await read_json(request), TicketRequest)
    named = {field: name for field in _PATHS if (name := getattr(asked, field)) is not None}
    if asked.sign_in:
        return await _give_sign_in(request, alone=not named and asked.transport is None)
    if len(named) != 1 or not all(named.values()):
        raise Problem("bad_body", f"the body must name one of {', '.join(_PATHS)}, or sign_in")
    ((field, name),) = named.items()
    resource = f"{_PATHS[field]}/{name}"
    if field == "path":
        # What may be read there is asked when it is opened, by the same grants.
        resource = path_resource(unquote(name.partition("?")[0]))
    elif field == "session_id":
        session = await edge.registry.find(name)
        if not principal.owns(session.spec.owner):
            raise unknown_session(name)
        require_subjects(principal, session.spec)
    else:
        principal.require_read(f"{field}.{escape(name)}.>")
    ticket = await edge.authenticator.tickets.issue(principal, resource, asked.transport)
    return json_answer(TicketAnswer(ticket, edge.authenticator.settings.ticket_ttl), 201)


async def _give_sign_in(request: Request, alone: bool) -> Response:
    if not alone:
        raise Problem("bad_body", "a ticket to sign in is for no stream")
    authenticator = edge_of(request).authenticator
    token = credentials_of(request.scope, authenticator, Access.TOKEN).token
    if authenticator.open or token is None:
        raise Problem("bad_body", "there is no token to hand on: this edge asks for none")
    return json_answer(TicketAnswer(await authenticator.tickets.issue_sign_in(token), SIGN_IN_SECONDS), 201)


@operation(
    "Exchange a sign-in ticket for its token, once",
    Answer(200, "The token of whoever asked for the ticket", RedeemAnswer),
    body=RedeemRequest,
    body_required=True,
    problems=("bad_ticket", "rate_limited"),
)
async def redeem_ticket(request: Request) -> Response:
    authenticator, address = edge_of(request).authenticator, address_of(request)
    authenticator.limits.check_failures(address)
    asked = read_as(await read_json(request), RedeemRequest)
    token = await authenticator.tickets.redeem_sign_in(asked.ticket)
    if token is None:
        authenticator.limits.failed(address)
        why = "it is spent, expired, or not for signing in: request a new one"
        raise Problem("bad_ticket", why, headers=CHALLENGE)
    return json_answer(RedeemAnswer(token), headers={"Cache-Control": "no-store"})
