"""A session as the API shows it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from edge.sessions.body import CURSOR, DeliveryMethod
from edge.sessions.endpoint.body import (
    AutoDisableBody,
    BatchBody,
    BreakerBody,
    ClientCertificateBody,
    Mode,
    Never,
    OAuth2Body,
    OnExhausted,
    RetryProfile,
    SignatureBody,
    Signing,
    Status,
    Verification,
)
from edge.sessions.spec import SessionSpec
from router.codec import rfc3339
from router.cursor import SNAPSHOT

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
MaybeTime = Annotated[str | None, Meta(extra_json_schema={"format": "date-time"})]
Cursor = Annotated[str, CURSOR]


class VerificationAnswer(msgspec.Struct):
    """What a receiver answered when it was asked whether it wants the session's events."""

    ok: bool
    error: str | None
    detail: str | None
    status: int | None


class EndpointAnswer(msgspec.Struct, kw_only=True):
    """The settings of a webhook session's endpoint; secrets are starred or left out."""

    webhook_url: Annotated[str | UnsetType, Meta(extra_json_schema={"format": "uri"})] = UNSET
    state: Annotated[
        Literal["active", "pending"] | UnsetType,
        Meta(description="A pending webhook waits for its receiver's consent."),
    ] = UNSET
    timeout: float | UnsetType = UNSET
    retry_attempts: int | UnsetType = UNSET
    retry_profile: RetryProfile | UnsetType = UNSET
    retry_schedule: list[float] | UnsetType | None = UNSET
    retry_statuses: list[Status] | UnsetType | None = UNSET
    breaker: BreakerBody | UnsetType | None = UNSET
    auto_disable: AutoDisableBody | Never | UnsetType | None = UNSET
    mode: Mode | UnsetType = UNSET
    ordered: bool | UnsetType = UNSET
    on_exhausted: OnExhausted | UnsetType = UNSET
    concurrency: int | UnsetType = UNSET
    rate: float | UnsetType | None = UNSET
    allowed_rate: Annotated[float | UnsetType | None, Meta(description="Posts a second that the receiver allows.")] = (
        UNSET
    )
    batch: BatchBody | UnsetType | None = UNSET
    max_age: float | UnsetType | None = UNSET
    gzip_above: int | UnsetType | None = UNSET
    verify: Verification | UnsetType = UNSET
    headers: Annotated[dict[str, str] | UnsetType, Meta(description="Their values are shown as `***`.")] = UNSET
    signing: Signing | UnsetType = UNSET
    signature: SignatureBody | UnsetType | None = UNSET
    client_certificate: ClientCertificateBody | UnsetType | None = UNSET
    ca: str | UnsetType | None = UNSET
    proxy: str | UnsetType | None = UNSET
    oauth2: OAuth2Body | UnsetType | None = UNSET
    webhook_secret_set: bool | UnsetType = UNSET
    webhook_public_key: Annotated[
        str | UnsetType | None,
        Meta(description="`whpk_` and base64: what verifies `v1a`; null where the secret is shared."),
    ] = UNSET
    old_secrets_until: Annotated[
        list[Time] | UnsetType, Meta(description="When each older secret, which still signs as well, ends.")
    ] = UNSET


class SessionAnswer(EndpointAnswer, kw_only=True):
    """A session; only a webhook session has the fields of an endpoint."""

    session_id: str
    name: str | None
    delivery_method: DeliveryMethod
    events: list[str] | None
    subjects: list[str] | None
    filter: str | None
    include_intermediate_results: bool
    conflate: bool
    max_rate: float | None
    ttl: float | None
    alert_actions: bool
    dialect: str
    owner: Annotated[str | None, Meta(description="The principal that created it.")]
    created_at: Time
    cursor: Cursor
    urls: dict[str, str]
    verification: VerificationAnswer | UnsetType = UNSET
    has_websocket: Annotated[bool | UnsetType, Meta(description="With `?live=true` on the list.")] = UNSET
    has_sse: Annotated[bool | UnsetType, Meta(description="With `?live=true` on the list.")] = UNSET
    endpoint_state: Annotated[
        Literal["closed", "paused", "open", "half_open", "disabled"] | UnsetType,
        Meta(description="Of a webhook's circuit breaker, with `?live=true` on the list."),
    ] = UNSET


class CreatedSession(SessionAnswer, kw_only=True):
    """A session with its webhook secret, which is shown this once."""

    webhook_secret: str | UnsetType = UNSET


def describe(spec: SessionSpec, **more: Any) -> CreatedSession:
    """Describes a session; `more` are the verification and the secret, where they are shown."""
    base = f"/callbacks/sessions/{spec.id}"
    names = ["stats", "events", "sse", "ws", "test"]
    endpoint: dict[str, Any] = {}
    if spec.webhook:
        endpoint = spec.webhook.describe()
        names += ["health", "attempts", "recoveries"]
    return CreatedSession(
        session_id=spec.id,
        name=spec.name,
        delivery_method=spec.delivery_method,
        events=spec.events,
        subjects=spec.subjects,
        filter=spec.filter,
        include_intermediate_results=spec.include_intermediate_results,
        conflate=spec.conflate,
        max_rate=spec.max_rate,
        ttl=spec.expires_after,
        alert_actions=spec.alert_actions,
        dialect=spec.dialect,
        owner=spec.owner,
        created_at=rfc3339(spec.created),
        cursor=SNAPSHOT if spec.snapshot else spec.start,
        urls={"self": base} | {name: f"{base}/{name}" for name in names},
        **endpoint,
        **more,
    )
