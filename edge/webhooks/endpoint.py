"""This file is where a webhook's receiver is described: its address, its patience, its secret, its headers."""

from __future__ import annotations

import base64
import binascii
import math
import re
import secrets
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

import msgspec

from edge.problem import Problem

# The guide's own figures.
DEFAULT_TIMEOUT = 30.0
DEFAULT_RETRY_ATTEMPTS = 3
MIN_TIMEOUT, MAX_TIMEOUT = 0.1, 60.0
MAX_RETRY_ATTEMPTS = 20
MAX_URL = 2048
MAX_HEADERS = 50
# 4 KiB for all of them: more than any token needs, and half of what common servers take as a whole head.
MAX_HEADER_BYTES = 4096
# Standard Webhooks: a secret is 24 to 64 random bytes.
SECRET_BYTES = (24, 64)
SECRET_PREFIX = "whsec_"

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}\Z")
# What the HTTP client, the connection or the signature decides. A session that could set them could smuggle requests
# past a proxy, speak to another virtual host, or sign with a time of its choice.
_REFUSED = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "cookie2",
        "date",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "max-forwards",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    }
)
_REFUSED_PREFIXES = ("webhook-", "x-callboard-", "x-forwarded-", "sec-", ":")


def new_secret() -> str:
    """Makes a signing secret."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


class EndpointSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a session's events are posted, and how. `retry_attempts` counts the tries after the first."""

    url: str
    timeout: float = DEFAULT_TIMEOUT
    retry_attempts: int = DEFAULT_RETRY_ATTEMPTS
    headers: dict[str, str] = {}
    # One post at a time, in the order of the stream, as long as the endpoint answers; what fails is overtaken.
    ordered: bool = False
    secret: str = msgspec.field(default_factory=new_secret)

    def __repr__(self) -> str:
        return f"EndpointSettings({self.destination!r})"

    @property
    def destination(self) -> str:
        """The address as it may be shown: without credentials and without its query, which often holds a token."""
        parts = urlsplit(self.url)
        return urlunsplit(SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @property
    def key(self) -> bytes:
        """The bytes to sign with."""
        return base64.b64decode(self.secret.removeprefix(SECRET_PREFIX))

    def describe(self) -> dict[str, Any]:
        """The endpoint as the API shows it; what is secret is starred."""
        parts = urlsplit(self.url)
        return {
            "webhook_url": urlunsplit(
                parts._replace(netloc=parts.netloc.rpartition("@")[2], query="***" if parts.query else "")
            ),
            "timeout": self.timeout,
            "retry_attempts": self.retry_attempts,
            "ordered": self.ordered,
            "headers": dict.fromkeys(self.headers, "***"),
            "webhook_secret_set": True,
        }


def parse_endpoint(body: dict[str, Any]) -> EndpointSettings:
    """Reads the webhook fields of a session's body. Raises Problem `missing_field` or `bad_webhook`."""
    if body.get("webhook_url") in (None, ""):
        raise Problem("missing_field", "a webhook session needs webhook_url")
    return EndpointSettings(
        url=_url(body["webhook_url"]),
        timeout=_timeout(body.get("timeout")),
        retry_attempts=_retry_attempts(body.get("retry_attempts")),
        headers=_headers(body.get("headers")),
        ordered=_ordered(body.get("ordered")),
        secret=_secret(body.get("secret")),
    )


def _url(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_URL:
        raise Problem("bad_webhook", f"webhook_url must be a text of at most {MAX_URL} characters")
    if not all("!" <= character <= "~" and character != "\\" for character in value):
        raise Problem(
            "bad_webhook", "webhook_url must be percent-encoded: printable ASCII without blanks and backslashes"
        )
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Problem("bad_webhook", "webhook_url is no URL") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise Problem("bad_webhook", "webhook_url must be an http or https URL with a host")
    if parts.username is not None or parts.password is not None:
        raise Problem("bad_webhook", "webhook_url may not hold credentials: give an Authorization header")
    if "#" in value:
        raise Problem("bad_webhook", "webhook_url may not have a fragment")
    return value


def _timeout(value: Any) -> float:
    if value is None:
        return DEFAULT_TIMEOUT
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Problem("bad_webhook", "timeout must be a number of seconds")
    if not MIN_TIMEOUT <= value <= MAX_TIMEOUT:
        raise Problem("bad_webhook", f"timeout must be from {MIN_TIMEOUT:g} to {MAX_TIMEOUT:g} seconds")
    return float(value)


def _retry_attempts(value: Any) -> int:
    if value is None:
        return DEFAULT_RETRY_ATTEMPTS
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_RETRY_ATTEMPTS:
        raise Problem("bad_webhook", f"retry_attempts must be a whole number from 0 to {MAX_RETRY_ATTEMPTS}")
    return value


def _ordered(value: Any) -> bool:
    if value is not None and not isinstance(value, bool):
        raise Problem("bad_webhook", "ordered must be true or false")
    return bool(value)


def _headers(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        raise Problem("bad_webhook", "headers must be a map of texts")
    if len(value) > MAX_HEADERS or sum(len(k) + len(v) for k, v in value.items()) > MAX_HEADER_BYTES:
        raise Problem("bad_webhook", f"headers may be at most {MAX_HEADERS}, and {MAX_HEADER_BYTES} bytes together")
    seen: set[str] = set()
    for name, text in value.items():
        lower = name.lower()
        if not _HEADER_NAME.match(name):
            raise Problem("bad_webhook", f"headers: {name[:60]!r} is no header name")
        if lower in _REFUSED or lower.startswith(_REFUSED_PREFIXES):
            raise Problem("bad_webhook", f"headers: {name[:60]} is not for a session to set")
        if lower in seen:
            raise Problem("bad_webhook", f"headers: {name[:60]} is given twice")
        if not all(" " <= c <= "~" for c in text):
            raise Problem("bad_webhook", f"headers: the value of {name[:60]} must be printable ASCII")
        # The guide's sample sends it; only what is sent anyway is tolerated.
        if lower == "content-type" and text.split(";")[0].strip().lower() != "application/json":
            raise Problem("bad_webhook", "headers: Content-Type can only be application/json")
        seen.add(lower)
    return {name: text for name, text in value.items() if name.lower() != "content-type"}


def _secret(value: Any) -> str:
    if value is None:
        return new_secret()
    least, most = SECRET_BYTES
    fault = Problem("bad_webhook", f"secret must be {SECRET_PREFIX} and base64 of {least} to {most} bytes")
    if not isinstance(value, str) or not value.startswith(SECRET_PREFIX):
        raise fault
    try:
        key = base64.b64decode(value.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise fault from None
    if not least <= len(key) <= most:
        raise fault
    return value
