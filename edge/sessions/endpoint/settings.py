"""The settings of a webhook's endpoint as they are stored: address, timeout, retries, rate, secrets, headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

import msgspec

from edge.sessions.endpoint.body import (
    DEFAULT_CONCURRENCY,
    DEFAULT_TIMEOUT,
    Mode,
    OnExhausted,
    RetryProfile,
    Verification,
)
from edge.sessions.endpoint.certificates import ClientCertificate
from edge.sessions.endpoint.oauth import OAuth2
from edge.sessions.endpoint.policy import Policy
from edge.sessions.endpoint.proxy import shown
from edge.sessions.endpoint.secret import (
    Key,
    key_of,
    new_secret,
    public_key_of,
    signing_of,
)
from edge.sessions.endpoint.signature_format import SignatureFormat
from edge.settings import DEFAULT_RETRY_ATTEMPTS
from router.clock import wall
from router.codec import rfc3339

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
        if self.retry_attempts != attempts_of(self.retry_profile, self.policy, retries):
            given["retry_attempts"] = self.retry_attempts
        return given


def _least(*rates: float | None) -> float | None:
    return min((rate for rate in rates if rate is not None), default=None)


def attempts_of(profile: str, policy: Policy | None, retries: int) -> int:
    """The number of retries that a schedule or a profile implies."""
    if policy is not None and policy.retry_schedule is not None:
        return len(policy.retry_schedule)
    return retries if profile == "guide" else len(SCHEDULES[profile])
