"""Makes tokens for development, signed with the secret that the edge checks them by.

In production an issuer makes them; the claims are the same.
"""

from __future__ import annotations

import json as jsonlib
import re
import sys
import time
from dataclasses import dataclass, replace

from ops.settings import Mistakes, Settings
from ops.terminal import Paint
from ops.values import seconds
from router.codec import rfc3339
from router.errors import BadPattern


@dataclass(frozen=True)
class TokenRequest:
    """For whom a token is to be, for what, and for how long."""

    subject: str
    read: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    operate: bool = False
    ttl: str = "1h"
    json: bool = False
    sessions: tuple[str, ...] = ()


def run_token(settings: Settings, request: TokenRequest) -> int:
    """Prints a token. Raises Mistakes."""
    from edge.auth.grants import Grants
    from edge.auth.token import SESSION_ID, mint
    from edge.settings import IdentitySettings

    identity: IdentitySettings = settings.section("identity")
    if identity.secret is None:
        raise Mistakes(
            ["token: set CALLBOARD_JWT_SECRET to the secret that the edge has, such as one of `openssl rand -hex 32`"]
        )
    try:
        ttl = seconds(request.ttl)
    except ValueError as fault:
        raise Mistakes([f"token --ttl {request.ttl}: {fault}"]) from None
    if not 1 <= ttl <= 366 * 86400:
        raise Mistakes([f"token --ttl {request.ttl}: needs a second to a year"])
    if not request.subject.strip() or not request.subject.isprintable() or len(request.subject) > 200:
        raise Mistakes(["token --subject: needs 1 to 200 readable characters"])
    if request.sessions and (request.read or request.publish or request.command or request.operate):
        raise Mistakes(
            ["token --session: such a token has no other right; leave --read, --publish, --command and --operate out"]
        )
    if not all(re.fullmatch(SESSION_ID, session) for session in request.sessions):
        raise Mistakes(["token --session: needs the id of a session, such as sess_5f3a9c1e0b2d4a6f8c7e1d3b"])
    try:
        grants = Grants.of(request.read, request.publish, request.command, request.operate)
    except BadPattern as fault:
        raise Mistakes([f"token: {fault}"]) from None
    grants = replace(grants, sessions=request.sessions)
    audience = identity.audience[0] if identity.audience else None
    token = mint(identity.secret, request.subject, grants, ttl, identity.issuer, audience)
    if request.json:
        print(jsonlib.dumps({"token": token, "expires_at": rfc3339(int((time.time() + ttl) * 1e9))}))
        return 0
    print(token)
    if sys.stderr.isatty() and grants == Grants():
        paint = Paint.of(sys.stderr)
        print(paint("it allows nothing; add --read, --publish or --operate", "yellow"), file=sys.stderr)
    return 0
