"""Gets access tokens by OAuth 2.0 client credentials (RFC 6749, 4.4) and keeps them until shortly before they expire."""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from edge.sessions.endpoint.oauth import OAuth2
from edge.webhooks.client.outcome import MAX_NOTE, Outcome, Verdict, wait_of
from router.codec import from_json
from router.errors import BadEvent

# A token with many claims has a few KiB.
MAX_ANSWER = 32 * 1024
# What a token is good for where its answer does not say.
DEFAULT_LIFETIME = 300.0
# It is replaced so long before it expires, or after nine tenths of a short life.
MARGIN = 60.0
MAX_TOKENS = 4096

_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*\Z")


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
    """The outcome of an attempt without a token."""
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
    """The tokens of a process. Concurrent requests for the same token share one fetch."""

    def __init__(self) -> None:
        self._entries: OrderedDict[OAuth2, _Entry] = OrderedDict()

    async def get(self, oauth: OAuth2, fetch: Callable[[], Awaitable[Token]]) -> tuple[Token, bool]:
        """A token that is good for now, and whether it was just fetched. Raises TokenFailed."""
        entry = self._entries.get(oauth)
        if entry is None:
            entry = self._entries[oauth] = _Entry()
            if len(self._entries) > MAX_TOKENS:
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
                # A fetch that ran while this one waited has failed.
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
