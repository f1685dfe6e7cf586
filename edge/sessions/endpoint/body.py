"""The webhook fields of a session's request body: their types, bounds and defaults, which are also their documentation.

A field that is null has its default. The stored values lie beside the modules that use them; these types only read requests.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge import settings as bounds
from edge.sessions.endpoint import certificates, oauth, proxy, signature_format
from edge.sessions.endpoint.secret import PRIVATE_PREFIX, SECRET_PREFIX

Mode = Literal["unordered", "keyed", "fifo"]
OnExhausted = Literal["continue", "halt"]
RetryProfile = Literal["guide", "fast", "standard"]
Verification = Literal["none", "post", "options"]
Signing = Literal["hmac-sha256", "ed25519"]

# The guide's own figures.
DEFAULT_TIMEOUT = 30.0
MIN_TIMEOUT, MAX_TIMEOUT = 0.1, 60.0
MAX_URL = 2048
DEFAULT_OVERLAP, MAX_OVERLAP = 86400.0, 30 * 86400.0
DEFAULT_CONCURRENCY, MAX_CONCURRENCY = 8, 64
# One post in a hundred seconds: a slower endpoint should be disabled instead.
MIN_RATE, MAX_RATE = 0.01, 10_000.0
MAX_BATCH, MAX_BATCH_BYTES, MAX_LINGER = 1000, 1024 * 1024, 60.0
MAX_AGE = 30 * 86400.0
MAX_GZIP_ABOVE = 16 * 1024 * 1024


def _between(limits: tuple[float, float], description: str) -> Meta:
    return Meta(ge=limits[0], le=limits[1], description=description)


class BatchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Several events in one post, as a JSON array; a refused batch is split in halves."""

    max_n: Annotated[int, Meta(ge=1, le=MAX_BATCH)] | None = 100
    max_bytes: Annotated[int, Meta(ge=1, le=MAX_BATCH_BYTES)] | None = 262144
    linger: Annotated[float, Meta(ge=0, le=MAX_LINGER, description="Seconds.")] | None = 1.0


class BreakerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the endpoint's circuit breaker opens, and for how long; null is the deployment's default."""

    failures: Annotated[int, _between(bounds.BREAKER_FAILURES, "Consecutive failures that open it.")] | None = None
    failure_share: (
        Annotated[float, _between(bounds.BREAKER_SHARE, "Share of failed attempts within the window that opens it.")]
        | None
    ) = None
    min_attempts: (
        Annotated[int, _between(bounds.BREAKER_MIN_ATTEMPTS, "Attempts from which on the share counts.")] | None
    ) = None
    window: Annotated[float, _between(bounds.BREAKER_WINDOW, "Seconds.")] | None = None
    pause: (
        Annotated[
            float, _between(bounds.BREAKER_PAUSE, "The first pause in seconds; it doubles after each failed probe.")
        ]
        | None
    ) = None
    max_pause: Annotated[float, _between(bounds.BREAKER_MAX_PAUSE, "The longest pause in seconds.")] | None = None
    probes: Annotated[int, _between(bounds.BREAKER_PROBES, "Consecutive successful probes that close it.")] | None = (
        None
    )


class AutoDisableBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the endpoint is disabled because it failed for too long; null is the deployment's default."""

    after: Annotated[float, _between(bounds.DISABLE_AFTER, "Seconds without any success.")] | None = None
    attempts: Annotated[int, _between(bounds.DISABLE_ATTEMPTS, "Attempts within that time, at least.")] | None = None


class SignatureBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signatures in formats of one's own, beside the headers of Standard Webhooks.

    They are made with the newest secret, over the body as it is once it is unpacked.
    """

    headers: Annotated[
        dict[str, Annotated[str, Meta(min_length=1, max_length=signature_format.MAX_TEMPLATE)]],
        Meta(
            min_length=1,
            max_length=signature_format.MAX_HEADERS,
            description="A format for each header, of `{hex}`, `{base64}`, `{standard}` (the value of webhook-signature), "
            "`{id}` and `{timestamp}`.",
            examples=[{"X-Hub-Signature-256": "sha256={hex}"}, {"X-Acme-Signature": "t={timestamp},v1={hex}"}],
        ),
    ]
    content: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=signature_format.MAX_TEMPLATE,
                description="What is signed, of `{id}`, `{timestamp}` and `{body}`.",
            ),
        ]
        | None
    ) = signature_format.STANDARD_CONTENT
    hash: Annotated[Literal["sha256", "sha512"] | None, Meta(description="sha256 where it is left out.")] = None
    key: Annotated[
        Literal["bytes", "text"] | None,
        Meta(description="Whether the HMAC's key is the bytes that the secret holds (the default), or its text."),
    ] = None


class ClientCertificateBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The certificate that the edge shows the receiver during the TLS handshake (mTLS)."""

    certificate: Annotated[
        str,
        Meta(
            min_length=1, max_length=certificates.MAX_CERTIFICATE, description="PEM, with the chain to its authority."
        ),
    ]
    key: Annotated[
        str, Meta(min_length=1, max_length=certificates.MAX_KEY, description="PEM, unencrypted; never shown.")
    ]
    not_after: Annotated[
        str | None,
        Meta(
            description="Shown, and ignored in a request.", extra_json_schema={"format": "date-time", "readOnly": True}
        ),
    ] = None


OAuthText = Annotated[str, Meta(min_length=1, max_length=oauth.MAX_TEXT)]
MaybeOAuthText = Annotated[str, Meta(max_length=oauth.MAX_TEXT)] | None


class OAuth2Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Client credentials (RFC 6749, 4.4) for an access token that each post carries.

    The edge keeps the token until shortly before it expires, and replaces it at once where the receiver answers 401.
    """

    token_url: Annotated[OAuthText, Meta(extra_json_schema={"format": "uri"})]
    client_id: OAuthText
    client_secret: Annotated[OAuthText, Meta(description="Never shown.")]
    scope: MaybeOAuthText = None
    audience: MaybeOAuthText = None
    auth: Annotated[
        Literal["basic", "body"] | None,
        Meta(description="How the client authenticates at the token endpoint: by HTTP Basic, or in the form."),
    ] = "basic"


Secret = Annotated[
    str | None,
    Meta(
        description=f"Base64 of 24 to 75 bytes, with or without the prefix `{SECRET_PREFIX}`, or `{PRIVATE_PREFIX}` and base64 "
        "of an Ed25519 key (its seed, or the seed followed by the public key). Generated where it is left out."
    ),
]
SigningChoice = Annotated[
    Signing | None,
    Meta(
        description="How a generated secret signs: `v1` or `v1a` of Standard Webhooks. The public key is shown as "
        "`webhook_public_key`."
    ),
]
Never = Annotated[bool, Meta(extra_json_schema={"const": False})]
Status = Annotated[int, Meta(ge=300, le=599)] | Annotated[str, Meta(pattern="^[345]([0-9][0-9]|[xX][xX])$")]


class EndpointBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The webhook fields of a session's body; they are checked only where the session is a webhook."""

    webhook_url: Annotated[
        Annotated[str, Meta(max_length=MAX_URL)] | None, Meta(extra_json_schema={"format": "uri"})
    ] = None
    timeout: Annotated[
        Annotated[float, Meta(ge=MIN_TIMEOUT, le=MAX_TIMEOUT)] | None,
        Meta(description="Seconds for one attempt, from the look-up of the name to the status of the answer."),
    ] = DEFAULT_TIMEOUT
    ordered: Annotated[bool | None, Meta(description="`true` is the mode `fifo`.")] = None
    mode: Annotated[
        Mode | None,
        Meta(
            description="Concurrent posts (`unordered`); one at a time for each key; or one at a time, in the order of the "
            "stream. `unordered` where neither this nor `ordered` says otherwise."
        ),
    ] = None
    on_exhausted: Annotated[
        OnExhausted | None,
        Meta(
            description="Whether an ordered queue goes on after a delivery whose attempts are exhausted, or halts until the "
            "endpoint is enabled."
        ),
    ] = "continue"
    concurrency: Annotated[int, Meta(ge=1, le=MAX_CONCURRENCY)] | None = DEFAULT_CONCURRENCY
    rate: Annotated[
        Annotated[float, Meta(ge=MIN_RATE, le=MAX_RATE)] | None,
        Meta(description="Posts a second at most, evenly spaced."),
    ] = None
    batch: BatchBody | None = None
    retry_profile: Annotated[
        RetryProfile | None,
        Meta(description="The backoff between attempts: half a minute in all, minutes, or days."),
    ] = "guide"
    retry_schedule: Annotated[
        Annotated[
            list[Annotated[float, Meta(ge=0, le=bounds.MAX_RETRY_PAUSE)]],
            Meta(min_length=1, max_length=bounds.MAX_RETRY_ATTEMPTS),
        ]
        | None,
        Meta(
            description="The longest pause in seconds before each retry, instead of the profile's; the last one repeats."
        ),
    ] = None
    retry_statuses: Annotated[
        Annotated[list[Status], Meta(max_length=bounds.MAX_RETRY_STATUSES)] | None,
        Meta(
            description="Only these statuses, such as 429 or `5xx`, are retried; null: all but 410, 413 and 415. An attempt "
            "without an answer is always retried."
        ),
    ] = None
    breaker: BreakerBody | None = None
    auto_disable: Annotated[
        AutoDisableBody | Never | None,
        Meta(description="When the endpoint is disabled because it failed for too long; false: never."),
    ] = None
    retry_attempts: Annotated[
        Annotated[int, Meta(ge=0, le=bounds.MAX_RETRY_ATTEMPTS)] | None,
        Meta(description="Attempts after the first; left out, as many as the schedule or the profile has."),
    ] = None
    max_age: Annotated[
        Annotated[float, Meta(ge=1, le=MAX_AGE)] | None,
        Meta(description="Seconds after which a delivery is not tried again."),
    ] = None
    gzip_above: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_GZIP_ABOVE)] | None,
        Meta(
            description="Bodies of more bytes are sent in gzip, unless the receiver answers 415. One signature verifies the "
            "unpacked body, a second one the body as it travels."
        ),
    ] = None
    verify: Annotated[
        Verification | None,
        Meta(
            description="What the receiver must agree to before it is sent anything: a test event, or CloudEvents' OPTIONS "
            "request."
        ),
    ] = "none"
    headers: dict[str, str] | None = None
    secret: Secret = None
    signing: SigningChoice = None
    signature: SignatureBody | None = None
    client_certificate: ClientCertificateBody | None = None
    ca: Annotated[
        Annotated[str, Meta(min_length=1, max_length=certificates.MAX_CA)] | None,
        Meta(
            description="PEM of the authorities that the receiver's certificate must come from, instead of the public ones."
        ),
    ] = None
    proxy: Annotated[
        Annotated[str, Meta(min_length=1, max_length=proxy.MAX_PROXY)] | None,
        Meta(
            description="The forward proxy on the way to the receiver, instead of that of the server's settings; it is asked "
            "for a tunnel (CONNECT). Its credentials are shown as `***`.",
            examples=["http://user:password@proxy.example:3128"],
        ),
    ] = None
    oauth2: OAuth2Body | None = None


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new secret for a webhook session; the old one signs as well until the overlap ends."""

    secret: Secret = None
    signing: SigningChoice = None
    overlap: Annotated[
        Annotated[float, Meta(ge=0, le=MAX_OVERLAP)],
        Meta(description="Seconds for which the old secret signs as well."),
    ] = DEFAULT_OVERLAP


FIELDS = EndpointBody.__struct_fields__


def set_fields(body: msgspec.Struct) -> dict[str, Any]:
    """The fields of a body that are not null; what is left out has the default of the value that is made of it."""
    return {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not None}
