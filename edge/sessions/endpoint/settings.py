"""The settings of a webhook's endpoint as they are stored: address, timeout, retries, rate, secrets, headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

import msgspec

from edge.errors import Problem, read_as
from edge.sessions.endpoint.body import (
    DEFAULT_CONCURRENCY,
    DEFAULT_TIMEOUT,
    FIELDS,
    ClientCertificateBody,
    EndpointBody,
    Mode,
    OnExhausted,
    RetryProfile,
    SignatureBody,
    Signing,
    Verification,
    set_fields,
)
from edge.sessions.endpoint.certificates import ClientCertificate, check_client_certificate, parse_ca
from edge.sessions.endpoint.oauth import OAuth2, check_oauth2
from edge.sessions.endpoint.policy import Policy, parse_policy
from edge.sessions.endpoint.proxy import parse_proxy, shown
from edge.sessions.endpoint.secret import (
    PRIVATE_PREFIX,
    SECRET_PREFIX,
    Key,
    key_of,
    new_secret,
    public_key_of,
    signing_of,
)
from edge.sessions.endpoint.signature_format import SignatureFormat, parse_signature
from edge.settings import DEFAULT_RETRY_ATTEMPTS
from router.clock import wall
from router.codec import rfc3339

MAX_HEADERS = 50
# 4 KiB for all of them: more than any token needs, and half of what common servers take as a whole head.
MAX_HEADER_BYTES = 4096
# So many old secrets sign beside the new one: each makes the head of every post longer.
MAX_OLD_SECRETS = 3

# The longest pause before each retry; the pauses are picked below it at random.
SCHEDULES: Mapping[str, tuple[float, ...]] = {
    # As many as `retry_attempts` says: with the guide's three it is over after half a minute.
    "guide": (1, 5, 30, 120, 600, 1800, 3600),
    # For receivers inside one's own system, which are back within a minute or raise an alert.
    "fast": (1, 5, 15, 60, 300),
    # The example of Standard Webhooks: more than three days.
    "standard": (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400),
}

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


class OldSecret(msgspec.Struct, frozen=True):
    """A secret that has been replaced and still signs, until a time in seconds since the epoch."""

    secret: str
    until: float

    def __repr__(self) -> str:
        return f"OldSecret(until={self.until})"


class BatchSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many events go out in one post: so many at most, so many bytes at most, and none waits longer than `linger`."""

    max_n: int = 100
    max_bytes: int = 256 * 1024
    linger: float = 1.0


class EndpointSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a session's events are posted, and how. `retry_attempts` counts the tries after the first."""

    url: str
    timeout: float = DEFAULT_TIMEOUT
    retry_attempts: int = DEFAULT_RETRY_ATTEMPTS
    headers: dict[str, str] = {}
    # Side by side; one at a time for each key; or one at a time for all, in the order of the stream.
    mode: Mode = "unordered"
    # Whether an ordered queue goes on after a delivery whose attempts are exhausted, or halts until it is enabled.
    on_exhausted: OnExhausted = "continue"
    concurrency: int = DEFAULT_CONCURRENCY
    # Posts a second that count: what the session asked for, and no more than the receiver allows.
    rate: float | None = None
    wanted_rate: float | None = None
    allowed_rate: float | None = None
    batch: BatchSettings | None = None
    retry_profile: RetryProfile = "guide"
    # Its own retry schedule, statuses, circuit breaker and auto-disable, as far as it sets them.
    policy: Policy | None = None
    max_age: float | None = None
    gzip_above: int | None = None
    verify: Verification = "none"
    # Whether it may be sent anything: not before it has shown that it wants to be, where that is asked.
    active: bool = True
    secret: str = msgspec.field(default_factory=new_secret)
    old_secrets: list[OldSecret] = []
    signature: SignatureFormat | None = None
    client_certificate: ClientCertificate | None = None
    # PEM of the authorities that the receiver's certificate must come from; "" for the public ones.
    ca: str = ""
    # The forward proxy on the way to the receiver, with its credentials; "" for that of the settings, if there is one.
    proxy: str = ""
    oauth2: OAuth2 | None = None
    # How sessions were stored that were made before there were modes.
    was_ordered: bool = msgspec.field(name="ordered", default=False)

    def __post_init__(self) -> None:
        if self.was_ordered:
            msgspec.structs.force_setattr(self, "mode", "fifo")
            msgspec.structs.force_setattr(self, "was_ordered", False)

    def __repr__(self) -> str:
        return f"EndpointSettings({self.destination!r})"

    @property
    def ordered(self) -> bool:
        """Whether posts are made one at a time, in the order of the stream."""
        return self.mode == "fifo"

    @property
    def schedule(self) -> tuple[float, ...]:
        """The longest pause before each retry, in seconds; where there are more retries, the last one stays."""
        return SCHEDULES[self.retry_profile]

    @property
    def destination(self) -> str:
        """The address as it may be shown: without credentials and without its query, which often holds a token."""
        parts = urlsplit(self.url)
        return urlunsplit(SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @property
    def key(self) -> Key:
        """The key to sign with."""
        return key_of(self.secret)

    @property
    def keys(self) -> list[Key]:
        """All that is signed with now, the newest first."""
        if not self.old_secrets:
            return [key_of(self.secret)]
        now = wall.now()
        return [key_of(self.secret), *(key_of(old.secret) for old in self.old_secrets if old.until > now)]

    def rotated(self, secret: str, overlap: float) -> EndpointSettings:
        """The endpoint with a new secret; the one before signs beside it for so many seconds."""
        now = wall.now()
        kept = [old for old in self.old_secrets if old.until > now and old.secret != secret]
        if overlap > 0 and secret != self.secret:
            kept.insert(0, OldSecret(self.secret, now + overlap))
        return msgspec.structs.replace(self, secret=secret, old_secrets=kept[:MAX_OLD_SECRETS])

    def allowed(self, rate: float | None) -> EndpointSettings:
        """The endpoint at the rate that its receiver allows; None for any."""
        return msgspec.structs.replace(self, allowed_rate=rate, rate=_least(self.wanted_rate, rate))

    def describe(self) -> dict[str, Any]:
        """The endpoint as the API shows it; what is secret is starred."""
        parts = urlsplit(self.url)
        now = wall.now()
        return {
            "webhook_url": urlunsplit(
                parts._replace(netloc=parts.netloc.rpartition("@")[2], query="***" if parts.query else "")
            ),
            "state": "active" if self.active else "pending",
            "timeout": self.timeout,
            "retry_attempts": self.retry_attempts,
            "retry_profile": self.retry_profile,
            **(self.policy or Policy()).body(),
            "mode": self.mode,
            "ordered": self.ordered,
            "on_exhausted": self.on_exhausted,
            "concurrency": self.concurrency,
            "rate": self.wanted_rate,
            "allowed_rate": self.allowed_rate,
            "batch": msgspec.to_builtins(self.batch) if self.batch else None,
            "max_age": self.max_age,
            "gzip_above": self.gzip_above,
            "verify": self.verify,
            "headers": dict.fromkeys(self.headers, "***"),
            "signing": signing_of(self.secret),
            "signature": msgspec.to_builtins(self.signature) if self.signature else None,
            "client_certificate": self.client_certificate.describe() if self.client_certificate else None,
            "ca": self.ca or None,
            "proxy": shown(self.proxy),
            "oauth2": self.oauth2.describe() if self.oauth2 else None,
            "webhook_secret_set": True,
            "webhook_public_key": public_key_of(self.secret),
            # Until when each older secret signs, too.
            "old_secrets_until": [rfc3339(int(old.until * 1e9)) for old in self.old_secrets if old.until > now],
        }

    def body(self, retries: int = DEFAULT_RETRY_ATTEMPTS) -> dict[str, Any]:
        """The endpoint as the body that would make it; for a change of some of it."""
        given: dict[str, Any] = {
            "webhook_url": self.url,
            "timeout": self.timeout,
            "headers": self.headers,
            "secret": self.secret,
            "mode": self.mode,
            "on_exhausted": self.on_exhausted,
            "concurrency": self.concurrency,
            "rate": self.wanted_rate,
            "batch": msgspec.to_builtins(self.batch) if self.batch else None,
            "retry_profile": self.retry_profile,
            **(self.policy or Policy()).body(),
            "max_age": self.max_age,
            "gzip_above": self.gzip_above,
            "verify": self.verify,
            "signature": msgspec.to_builtins(self.signature) if self.signature else None,
            "client_certificate": msgspec.to_builtins(self.client_certificate) if self.client_certificate else None,
            "ca": self.ca or None,
            "proxy": self.proxy or None,
            "oauth2": msgspec.to_builtins(self.oauth2) if self.oauth2 else None,
        }
        # What is as its schedule or profile has it goes along with that.
        if self.retry_attempts != _attempts_of(self.retry_profile, self.policy, retries):
            given["retry_attempts"] = self.retry_attempts
        return given


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
        retry_attempts=_attempts_of(profile, policy, retries) if given.retry_attempts is None else given.retry_attempts,
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


def refuse_reader_fields(conflate: bool, max_rate: float | None, ttl: float | None) -> None:
    """Refuses the fields that are for readers and that a webhook cannot honour. Raises Problem `bad_webhook`.

    Each event is a delivery of its own that is signed, retried and accounted for, so none stands for another; the pace of
    posts is `rate`; and a webhook has no reader, so it is never idle.
    """
    if conflate:
        raise _refused(
            "conflate", "conflate is for readers: a webhook is posted every event; give batch to post fewer times"
        )
    if max_rate is not None:
        raise _refused("max_rate", "max_rate is for readers; the posts of a webhook are limited by rate")
    if ttl:
        raise _refused(
            "ttl", "ttl is for sessions that are read: a webhook is never idle, and stays until it is deleted"
        )


def _refused(field: str, detail: str) -> Problem:
    return Problem("bad_webhook", detail, field=field)


def _least(*rates: float | None) -> float | None:
    return min((rate for rate in rates if rate is not None), default=None)


def _attempts_of(profile: str, policy: Policy | None, retries: int) -> int:
    """The number of retries that a schedule or a profile implies."""
    if policy is not None and policy.retry_schedule is not None:
        return len(policy.retry_schedule)
    return retries if profile == "guide" else len(SCHEDULES[profile])


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
