"""Gets access tokens by OAuth 2.0 client credentials (RFC 6749, 4.4) and keeps them until shortly before they expire."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import quote_plus, urlencode

import msgspec

from edge.errors import Problem
from edge.fields import unknown_fields
from edge.webhooks.outcome import MAX_NOTE, Outcome, Verdict, wait_of
from router.codec import from_json
from router.errors import BadEvent

FIELDS = ("token_url", "client_id", "client_secret", "scope", "audience", "auth")
MAX_TEXT = 1024
# A token with many claims has a few KiB.
MAX_ANSWER = 32 * 1024
# What a token is good for where its answer does not say.
DEFAULT_LIFETIME = 300.0
# It is replaced so long before it expires, or after nine tenths of a short life.
MARGIN = 60.0
KEPT = 4096
STARRED = "***"

_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*\Z")


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


class TokenFailed(Exception):
    """there is no access token"""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.note)
        self.outcome = outcome


class Token(NamedTuple):
    """An access token, and until when it is used, on the monotonic clock."""

    value: str
    until: float


def failed(detail: str, seconds: float = 0.0, retry_after: float = 0.0) -> TokenFailed:
    """What an attempt without a token comes to."""
    return TokenFailed(
        Outcome(Verdict.RETRY, fault="oauth_failed", seconds=seconds, retry_after=retry_after, note=detail[:MAX_NOTE])
    )


def read_token(oauth: OAuth2, status: int, headers: Mapping[str, str], body: bytes) -> Token:
    """Reads the answer of a token endpoint. Raises TokenFailed saying what it answered."""
    try:
        said = from_json(body)
    except BadEvent:
        said = None
    said = said if isinstance(said, dict) else {}
    if not 200 <= status < 300:
        words = [str(said[name]) for name in ("error", "error_description") if isinstance(said.get(name), str)]
        detail = oauth.hide(": ".join([f"the token endpoint answered {status}", *words]))
        raise failed(detail, retry_after=wait_of(headers.get("Retry-After")))
    value, kind = said.get("access_token"), said.get("token_type", "Bearer")
    if not isinstance(value, str) or not _TOKEN.match(value):
        raise failed(f"the token endpoint answered {status} without an access_token that can be sent")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise failed("the token endpoint answered with a token_type other than Bearer")
    lifetime = said.get("expires_in", DEFAULT_LIFETIME)
    try:
        lifetime = min(max(float(lifetime), 0.0), 366 * 86400.0)
    except (TypeError, ValueError):
        lifetime = DEFAULT_LIFETIME
    return Token(value, time.monotonic() + lifetime - min(MARGIN, lifetime / 10))


class _Entry:
    __slots__ = ("failed_at", "failure", "lock", "token")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.token: Token | None = None
        self.failure: TokenFailed | None = None
        self.failed_at = 0.0


class Tokens:
    """The tokens of a process. Of those who need the same one, one asks for it and the others wait."""

    def __init__(self) -> None:
        self._entries: OrderedDict[OAuth2, _Entry] = OrderedDict()

    async def get(self, oauth: OAuth2, fetch: Callable[[], Awaitable[Token]]) -> tuple[Token, bool]:
        """A token that is good for now, and whether it was just fetched. Raises TokenFailed."""
        entry = self._entries.get(oauth)
        if entry is None:
            entry = self._entries[oauth] = _Entry()
            if len(self._entries) > KEPT:
                self._entries.popitem(last=False)
        else:
            self._entries.move_to_end(oauth)
        begun = time.monotonic()
        if entry.token is not None and entry.token.until > begun:
            return entry.token, False
        async with entry.lock:
            now = time.monotonic()
            if entry.token is not None and entry.token.until > now:
                return entry.token, True
            if entry.failure is not None and entry.failed_at > begun:
                # Whoever asked while we waited was told so.
                raise TokenFailed(entry.failure.outcome)
            try:
                entry.token = await fetch()
            except TokenFailed as fault:
                entry.failure, entry.failed_at = fault, time.monotonic()
                raise
            entry.failure = None
            return entry.token, True

    def discard(self, oauth: OAuth2, token: Token) -> None:
        """Forgets a token that a receiver has refused."""
        entry = self._entries.get(oauth)
        if entry is not None and entry.token is token:
            entry.token = None
