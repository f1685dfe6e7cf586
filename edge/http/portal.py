"""Handlers of the portal: the page of one endpoint for its own owner, and the link that opens it."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from edge.auth.grants import Grants
from edge.auth.token import mint
from edge.errors import Problem, read_as
from edge.http.bodies.portal import PortalAnswer, PortalRequest
from edge.http.body import edge_of, json_answer, read_json
from edge.http.openapi.operation import Answer, Media, operation
from edge.http.sessions import session_of
from edge.http.system import CONSOLE, POLICY
from router.codec import rfc3339

PAGE = CONSOLE / "portal.html"
_NOBODY = "frame-ancestors 'none'"


def policy(origins: tuple[str, ...]) -> str:
    """The page's content security policy: pages of these origins may show it in a frame."""
    assert _NOBODY in POLICY
    return POLICY.replace(_NOBODY, f"frame-ancestors {' '.join(origins)}") if origins else POLICY


@operation(
    "Show the page of one endpoint to its own owner",
    Answer(200, "The page", Media("text/html")),
    store=False,
)
async def show_portal(request: Request) -> Response:
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": policy(edge_of(request).settings.portal_origins),
        "Referrer-Policy": "no-referrer",
    }
    return FileResponse(PAGE, headers=headers)


@operation(
    "Make a link to the page of a webhook's endpoint, for who shall see and manage this one alone",
    Answer(201, "The link", PortalAnswer),
    body=PortalRequest,
    problems=("not_a_webhook", "portal_unavailable"),
)
async def open_portal(request: Request) -> Response:
    edge = edge_of(request)
    session = await session_of(request)
    if session.spec.webhook is None:
        raise Problem("not_a_webhook", f"its delivery_method is {session.spec.delivery_method}")
    asked = read_as(await read_json(request), PortalRequest)
    identity = edge.authenticator.settings
    path = f"/portal/{session.id}"
    if edge.authenticator.open:
        return json_answer(PortalAnswer(path, None, None), 201)
    if identity.secret is None:
        raise Problem(
            "portal_unavailable",
            f'this server has no secret to sign with; let your issuer make a token with {{"callboard": {{"sessions": ["{session.id}"]}}}}',
        )
    ttl = min(asked.ttl, identity.max_lifetime or asked.ttl)
    audience = identity.audience[0] if identity.audience else None
    token = mint(
        identity.secret, f"portal of {session.id}", Grants(sessions=(session.id,)), ttl, identity.issuer, audience
    )
    until = rfc3339(int((time.time() + ttl) * 1e9))
    return json_answer(PortalAnswer(f"{path}#token={token}", token, until), 201)
