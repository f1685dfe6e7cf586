"""Describes where a webhook's access tokens come from (OAuth 2.0 client credentials, RFC 6749, 4.4), and reads it from a body."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import quote_plus, urlencode

import msgspec

from edge.errors import Problem, unknown_fields

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


def parse_oauth2(value: Any, headers: Mapping[str, str], read_url: Callable[[Any], str]) -> OAuth2 | None:
    """Reads the `oauth2` of a webhook. Raises Problem `bad_webhook`."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _fault(f"oauth2 must be an object of {', '.join(FIELDS)}")
    if fault := unknown_fields(value, FIELDS):
        raise _fault(f"oauth2: {fault}")
    given = {name: value[name] for name in FIELDS if value.get(name) is not None}
    for name in ("token_url", "client_id", "client_secret"):
        if not given.get(name):
            raise _fault(f"oauth2 needs {name}")
    for name, text in given.items():
        if not isinstance(text, str) or len(text) > MAX_TEXT or not all(" " <= each <= "~" for each in text):
            raise _fault(f"oauth2: {name} must be printable ASCII of at most {MAX_TEXT} characters")
    if given["client_secret"] == STARRED:
        raise _fault("oauth2: *** stands for a client_secret that is not shown; give it, or leave oauth2 out")
    if given.get("auth", "basic") not in ("basic", "body"):
        raise _fault("oauth2: auth must be basic or body")
    if any(name.lower() == "authorization" for name in headers):
        raise _fault("oauth2 and a header Authorization contradict each other")
    try:
        read_url(given["token_url"])
    except Problem as problem:
        raise _fault(problem.detail.replace("webhook_url", "oauth2: token_url")) from None
    return OAuth2(**given)


def _fault(detail: str) -> Problem:
    return Problem("bad_webhook", detail, field="oauth2")
