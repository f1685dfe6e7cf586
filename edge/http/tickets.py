"""Handles POST /tickets: single-use tickets for addresses that a browser opens."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from edge.auth.connection import require_subjects
from edge.errors import Problem, json_object
from edge.http.body import edge_of, json_answer, read_json
from edge.http.credentials import principal_of
from edge.sessions.registry import unknown_session
from router.subject import escape

# What a ticket can be for: the field of the body that names it, and the first part of its path.
_TICKETS = {"session_id": "callbacks", "camera": "cameras", "octane": "octane"}


async def give_ticket(request: Request) -> Response:
    """Gives what a browser can put into an address: good once, for one stream, and not for long."""
    edge = edge_of(request)
    principal = principal_of(request.scope)
    body = json_object(await read_json(request), (*_TICKETS, "transport"))
    named = [field for field in _TICKETS if body.get(field) is not None]
    transport = body.get("transport")
    if len(named) != 1 or not isinstance(body[named[0]], str) or not body[named[0]]:
        raise Problem("bad_body", f"the body must name one of {', '.join(_TICKETS)}")
    if transport is not None and transport not in ("websocket", "sse", "mjpeg", "snapshot"):
        raise Problem("bad_body", "transport must be websocket, sse, mjpeg or snapshot")
    field, name = named[0], body[named[0]]
    if field == "session_id":
        session = await edge.registry.find(name)
        if not principal.owns(session.spec.owner):
            raise unknown_session(name)
        require_subjects(principal, session.spec)
    else:
        principal.require_read(f"{field}.{escape(name)}.>")
    ticket = await edge.authenticator.tickets.issue(principal, f"{_TICKETS[field]}/{name}", transport)
    return json_answer({"ticket": ticket, "expires_in": edge.authenticator.settings.ticket_ttl}, 201)
