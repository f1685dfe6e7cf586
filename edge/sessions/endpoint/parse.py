"""Reads the webhook fields of a request body as the settings of an endpoint, and refuses what no type can."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from edge.errors import Problem, read_as
from edge.sessions.endpoint.body import (
    DEFAULT_CONCURRENCY,
    DEFAULT_TIMEOUT,
    FIELDS,
    ClientCertificateBody,
    EndpointBody,
    Mode,
    RetryProfile,
    SignatureBody,
    Signing,
    set_fields,
)
from edge.sessions.endpoint.certificates import ClientCertificate, check_client_certificate, parse_ca
from edge.sessions.endpoint.oauth import OAuth2, check_oauth2
from edge.sessions.endpoint.policy import parse_policy
from edge.sessions.endpoint.proxy import parse_proxy
from edge.sessions.endpoint.secret import (
    PRIVATE_PREFIX,
    SECRET_PREFIX,
    key_of,
    new_secret,
    signing_of,
)
from edge.sessions.endpoint.settings import BatchSettings, EndpointSettings, attempts_of
from edge.sessions.endpoint.signature_format import SignatureFormat, parse_signature
from edge.settings import DEFAULT_RETRY_ATTEMPTS

MAX_HEADERS = 50

# 4 KiB for all of them: more than any token needs, and half of what common servers take as a whole head.
MAX_HEADER_BYTES = 4096

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}\Z")

# What the HTTP client, the connection or the signature decides. A session that could set them could smuggle requests
# past a proxy, speak to another virtual host, or sign with a time of its choice.
_REFUSED = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "cookie",
        "cookie2",
        "date",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "max-forwards",
        "origin",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
    }
)

_REFUSED_PREFIXES = (
    "webhook-", "x-callboard-", "x-forwarded-", "forwarded", "sec-", "access-control-", "proxy-", "ce-", "svix-", ":",
)  # fmt: skip


def parse_endpoint(
    body: Mapping[str, Any], dialect: str = "callback", retries: int = DEFAULT_RETRY_ATTEMPTS
) -> EndpointSettings:
    """Reads the webhook fields of a session's body. Raises Problem `missing_field` or `bad_webhook`, with the `field`.

    `retries` counts the attempts after the first where the body does not say.
    """
    if body.get("webhook_url") in (None, ""):
        raise Problem("missing_field", "a webhook session needs webhook_url", field="webhook_url")
    given = read_as({name: body[name] for name in FIELDS if name in body}, EndpointBody, "bad_webhook")
    headers = _headers(given.headers or {})
    secret = parse_secret(given.secret, given.signing)
    policy = parse_policy(given)
    profile: RetryProfile = given.retry_profile or "guide"
    endpoint = EndpointSettings(
        url=_url(given.webhook_url or ""),
        timeout=given.timeout or DEFAULT_TIMEOUT,
        retry_attempts=attempts_of(profile, policy, retries) if given.retry_attempts is None else given.retry_attempts,
        headers=headers,
        mode=_mode(given),
        on_exhausted=given.on_exhausted or "continue",
        concurrency=given.concurrency or DEFAULT_CONCURRENCY,
        rate=given.rate,
        wanted_rate=given.rate,
        batch=None if given.batch is None else BatchSettings(**set_fields(given.batch)),
        retry_profile=profile,
        policy=policy,
        max_age=given.max_age,
        gzip_above=given.gzip_above,
        verify=given.verify or "none",
        active=given.verify in (None, "none"),
        secret=secret,
        signature=_signature(given.signature, secret, headers),
        client_certificate=_certificate(given.client_certificate),
        ca=parse_ca(given.ca),
        proxy=parse_proxy(given.proxy),
        oauth2=None if given.oauth2 is None else check_oauth2(OAuth2(**set_fields(given.oauth2)), headers, _url),
    )
    _refuse_contradictions(endpoint, dialect)
    return endpoint


def _refuse_contradictions(endpoint: EndpointSettings, dialect: str) -> None:
    if endpoint.on_exhausted == "halt" and endpoint.mode == "unordered":
        raise _refused("on_exhausted", "on_exhausted can only be halt where mode is fifo or keyed")
    if urlsplit(endpoint.url).scheme == "http":
        for field, given in (("client_certificate", endpoint.client_certificate), ("ca", endpoint.ca)):
            if given:
                raise _refused(field, f"{field} needs an https webhook_url")
    if endpoint.batch is not None and dialect == "cloudevents-binary":
        raise _refused("batch", "batch and the dialect cloudevents-binary contradict each other; use cloudevents")


def parse_change(
    endpoint: EndpointSettings, body: dict[str, Any], dialect: str, retries: int = DEFAULT_RETRY_ATTEMPTS
) -> EndpointSettings:
    """Reads a change of some webhook fields; null gives a field its default back. Raises Problem.

    The secret stays unless it is named. What was found out about the receiver stays as long as it is the same address.
    """
    given = {name: body[name] for name in FIELDS if name in body}
    merged = endpoint.body(retries) | given
    if "ordered" in given and "mode" not in given and (given["ordered"] or endpoint.mode == "fifo"):
        del merged["mode"]
    if "secret" in given and given["secret"] is None:
        raise _refused("secret", "a secret cannot be taken away; POST …/secret/rotate makes a new one")
    if given.get("signing") not in (None, signing_of(endpoint.secret)) and "secret" not in given:
        raise _refused(
            "signing", "signing is changed by a new secret: POST …/secret/rotate with the same field makes one"
        )
    changed = parse_endpoint(merged, dialect, retries)
    same = changed.url == endpoint.url and changed.verify == endpoint.verify
    return msgspec.structs.replace(
        changed.allowed(endpoint.allowed_rate if same else None),
        active=endpoint.active if same else changed.active,
        old_secrets=endpoint.old_secrets if changed.secret == endpoint.secret else [],
    )


def parse_secret(value: str | None, signing: Signing | None = None, default: str = "hmac-sha256") -> str:
    """Reads a secret; without one, generates one that signs by `signing`, or by the default. Raises Problem `bad_webhook`."""
    if value is None:
        return new_secret(signing or default)
    secret = value if value.startswith((SECRET_PREFIX, PRIVATE_PREFIX)) else SECRET_PREFIX + value
    try:
        key_of(secret)
    except ValueError as fault:
        raise _refused("secret", str(fault)) from None
    if signing is not None and signing != signing_of(secret):
        raise _refused("signing", f"signing is {signing}, and the secret is for {signing_of(secret)}")
    return secret


def refuse_reader_fields(conflate: bool, max_rate: float | None) -> None:
    """Refuses the fields that are for readers and that a webhook cannot honour. Raises Problem `bad_webhook`.

    Each event is a delivery of its own that is signed, retried and accounted for, so none stands for another; and the pace of
    posts is `rate`.
    """
    if conflate:
        raise _refused(
            "conflate", "conflate is for readers: a webhook is posted every event; give batch to post fewer times"
        )
    if max_rate is not None:
        raise _refused("max_rate", "max_rate is for readers; the posts of a webhook are limited by rate")


def _refused(field: str, detail: str) -> Problem:
    return Problem("bad_webhook", detail, field=field)


def _url(value: str) -> str:
    if not all("!" <= character <= "~" and character != "\\" for character in value):
        raise _refused(
            "webhook_url", "webhook_url must be percent-encoded: printable ASCII without blanks and backslashes"
        )
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _refused("webhook_url", "webhook_url is no URL") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise _refused("webhook_url", "webhook_url must be an http or https URL with a host")
    if parts.username is not None or parts.password is not None:
        raise _refused("webhook_url", "webhook_url may not hold credentials: give an Authorization header")
    if "#" in value:
        raise _refused("webhook_url", "webhook_url may not have a fragment")
    return value


def _mode(given: EndpointBody) -> Mode:
    if given.mode is None:
        return "fifo" if given.ordered else "unordered"
    if given.ordered is not None and given.ordered != (given.mode == "fifo"):
        raise _refused("ordered", f"ordered and the mode {given.mode} contradict each other")
    return given.mode


def _signature(given: SignatureBody | None, secret: str, headers: Mapping[str, str]) -> SignatureFormat | None:
    if given is None:
        return None
    is_hmac = given.hash is not None or given.key is not None
    return parse_signature(SignatureFormat(**set_fields(given)), secret, headers, is_hmac=is_hmac)


def _certificate(given: ClientCertificateBody | None) -> ClientCertificate | None:
    return None if given is None else check_client_certificate(ClientCertificate(given.certificate, given.key))


def _headers(value: dict[str, str]) -> dict[str, str]:
    if len(value) > MAX_HEADERS or sum(len(k) + len(v) for k, v in value.items()) > MAX_HEADER_BYTES:
        raise _refused("headers", f"headers may be at most {MAX_HEADERS}, and {MAX_HEADER_BYTES} bytes together")
    seen: set[str] = set()
    for name, text in value.items():
        lower = name.lower()
        if not _HEADER_NAME.match(name):
            raise _refused("headers", f"headers: {name[:60]!r} is no header name")
        if lower in _REFUSED or lower.startswith(_REFUSED_PREFIXES):
            raise _refused("headers", f"headers: {name[:60]} is not for a session to set")
        if lower in seen:
            raise _refused("headers", f"headers: {name[:60]} is given twice")
        if not all(" " <= c <= "~" for c in text):
            raise _refused("headers", f"headers: the value of {name[:60]} must be printable ASCII")
        # The guide's sample sends it; only what is sent anyway is tolerated.
        if lower == "content-type" and text.split(";")[0].strip().lower() != "application/json":
            raise _refused("headers", "headers: Content-Type can only be application/json")
        seen.add(lower)
    return {name: text for name, text in value.items() if name.lower() != "content-type"}
