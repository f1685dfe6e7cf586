"""The OAuth 2.0 client credentials (RFC 6749, 4.4) that a webhook's access tokens are requested with."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any, Literal
from urllib.parse import quote_plus, urlencode

import msgspec

from edge.errors import Problem

FIELDS = ("token_url", "client_id", "client_secret", "scope", "audience", "auth")

MAX_TEXT = 1024

STARRED = "***"


class OAuth2(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a webhook's access tokens come from; `auth` says how the client proves itself there: by header or in the body."""

    token_url: str
    client_id: str
    client_secret: str
    scope: str = ""
    audience: str = ""
    auth: Literal["basic", "body"] = "basic"

    def __repr__(self) -> str:
        return "OAuth2()"

    def describe(self) -> dict[str, Any]:
        """What the API shows."""
        return {**{name: getattr(self, name) or None for name in FIELDS}, "client_secret": STARRED}

    def request(self) -> tuple[dict[str, str], bytes]:
        """The headers and the body that ask for a token."""
        form = {"grant_type": "client_credentials", "scope": self.scope, "audience": self.audience}
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        if self.auth == "basic":
            pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        else:
            form |= {"client_id": self.client_id, "client_secret": self.client_secret}
        return headers, urlencode({name: text for name, text in form.items() if text}).encode()

    def hide(self, text: str) -> str:
        """A text of others without the secret, in one line."""
        for secret in {self.client_secret, quote_plus(self.client_secret)}:
            text = text.replace(secret, STARRED)
        return " ".join(text.split())


def check_oauth2(given: OAuth2, headers: Iterable[str], check_url: Callable[[str], str]) -> OAuth2:
    """Checks client credentials; `headers` are the names of the webhook's own headers. Raises Problem `bad_webhook`."""
    for name in FIELDS:
        if not all(" " <= each <= "~" for each in getattr(given, name)):
            raise _refused(f"oauth2: {name} must be printable ASCII")
    if given.client_secret == STARRED:
        raise _refused(
            "oauth2: *** is the placeholder of a client_secret that is not shown; give it, or leave oauth2 out"
        )
    if any(name.lower() == "authorization" for name in headers):
        raise _refused("oauth2 and a header Authorization contradict each other")
    try:
        check_url(given.token_url)
    except Problem as problem:
        raise _refused(problem.detail.replace("webhook_url", "oauth2: token_url")) from None
    return given


def _refused(detail: str) -> Problem:
    return Problem("bad_webhook", detail, field="oauth2")
