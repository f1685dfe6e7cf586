"""Bodies, queries and answers of webhook endpoints: attempts, resends, recoveries, health."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from edge.sessions.answer import MaybeTime, Time
from edge.sessions.body import CURSOR, MAX_LAST
from edge.webhooks.history.attempts import DEFAULT_LIMIT, MAX_LIMIT
from edge.webhooks.history.recovery_job import DEFAULT_RATE, MAX_RATE, MIN_RATE

MAX_REASON = 200
MAX_ID = 200

Count = Annotated[int, Meta(ge=0)]
MaybeCount = Annotated[int, Meta(ge=0)] | None
Milliseconds = Annotated[float, Meta(ge=0)]
DELIVERY = "The `delivery` of an attempt, or its `webhook-id`."
Moment = Annotated[
    str | int | float | None, Meta(description="A time: RFC 3339, or seconds or milliseconds since the epoch.")
]
Rate = Annotated[
    Annotated[float, Meta(ge=MIN_RATE, le=MAX_RATE)] | None, Meta(description="Deliveries a second at most.")
]
Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID)]


class AttemptsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of attempts, newest first."""

    event: Annotated[Id | None, Meta(description="Only those that carried this event.")] = None
    delivery: Annotated[str | None, Meta(description=DELIVERY)] = None
    subject: Annotated[
        Annotated[str, Meta(max_length=255)] | None,
        Meta(description="Only those about a subject, given as a pattern such as `job.*.>`."),
    ] = None
    status: Annotated[
        Annotated[int, Meta(ge=100, le=599)] | None, Meta(description="Only those that were answered with it.")
    ] = None
    result: Annotated[Literal["ok", "fail"] | None, Meta(description="Only those with this result.")] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="At most so many.")] = DEFAULT_LIMIT
    cursor: Annotated[str | None, Meta(description="The `next` of the page before.")] = None


class TimingAnswer(msgspec.Struct):
    """How long the phases of an attempt took, in milliseconds."""

    total: Milliseconds
    dns: Milliseconds | UnsetType = UNSET
    connect: Milliseconds | UnsetType = UNSET
    tls: Milliseconds | UnsetType = UNSET
    first_byte: Milliseconds | UnsetType = UNSET


class AttemptAnswer(msgspec.Struct, kw_only=True):
    """One post to a webhook's receiver."""

    delivery: Annotated[str, Meta(description="The same over all attempts of one event for one session.")]
    webhook_id: str
    event: str
    events: Annotated[list[str], Meta(description="More than one for a batch.")]
    subject: str
    attempt: Annotated[int, Meta(ge=1)]
    trigger: Literal["auto", "manual", "redrive", "verification"]
    at: Time
    destination: Annotated[str, Meta(description="Without credentials and query.")]
    address: Annotated[str | None, Meta(description="The address that the edge connected to.")]
    ok: bool
    verdict: Literal["delivered", "retry", "final", "postponed"]
    status: Annotated[MaybeCount, Meta(description="Null without an answer.")]
    error: Annotated[
        str | None, Meta(description="One of a closed set, such as `timeout`, `ssrf_blocked`, `dns`, `redirect`.")
    ]
    detail: Annotated[str | None, Meta(description="More about the error, such as why a certificate was refused.")]
    timing_ms: TimingAnswer
    response_head: Annotated[str | None, Meta(description="The first KiB of an answer that was no success.")]
    next_attempt_at: MaybeTime


class AttemptsAnswer(msgspec.Struct):
    """A page of attempts."""

    attempts: list[AttemptAnswer]
    next: str | None


class RequestAnswer(msgspec.Struct):
    """The request that a delivery makes, as the settings are now; what is secret is starred."""

    method: Literal["POST"]
    url: str
    headers: Annotated[
        dict[str, str], Meta(description="Each attempt has a `webhook-timestamp` and a `webhook-signature` of its own.")
    ]
    body: Annotated[str, Meta(description="Before compression; the first 64 Ki characters.")]
    truncated: Annotated[bool, Meta(description="Whether it goes on, or has more events than are shown.")]


class DeliveryAnswer(msgspec.Struct, kw_only=True):
    """A delivery: all its attempts that are kept, oldest first, and what it posts."""

    session_id: str
    delivery: str
    webhook_id: str
    attempts: list[AttemptAnswer]
    request: Annotated[RequestAnswer | None, Meta(description="Null where its event is no longer kept.")]


class ResendRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The delivery to send again: by its `event` or by its `delivery`."""

    event: Id | UnsetType = UNSET
    delivery: Annotated[str | UnsetType, Meta(description=DELIVERY)] = UNSET
    idempotency_key: Annotated[
        Annotated[str, Meta(pattern="^[!-~]{1,200}$")] | None,
        Meta(description="The same key twice, within ten minutes, is sent once."),
    ] = None


class ResendAnswer(msgspec.Struct):
    """The delivery that was queued; `events` is more than one for a batch."""

    session_id: str
    delivery: str
    webhook_id: str
    events: int


class RecoverBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The time from which on all that failed for good is sent again."""

    since: Moment = None
    until: Moment = None
    rate: Rate = DEFAULT_RATE


class ReplayBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The range of the stream to send: from one of `cursor`, `since` and `last` to `until` or `until_cursor`, or to now."""

    cursor: Annotated[str | None, CURSOR] = None
    since: Moment = None
    last: Annotated[
        int | None,
        Meta(description="Begin with the newest N events.", extra_json_schema={"minimum": 0, "maximum": MAX_LAST}),
    ] = None
    until: Moment = None
    until_cursor: Annotated[str | None, Meta(description="End with this cursor.")] = None
    rate: Rate = DEFAULT_RATE


class RecoveryAnswer(msgspec.Struct, kw_only=True):
    """A recovery or a replay, and how far it has come."""

    id: str
    session_id: str
    kind: Literal["recover", "replay"]
    state: Literal["running", "done", "failed", "cancelled"]
    since: str | None
    until: str | None
    rate: float
    total: Annotated[MaybeCount, Meta(description="Null until it is known: for a replay, at its end.")]
    progress: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None, Meta(description="The part that is done; null until it is known.")
    ]
    sent: Count
    skipped: Annotated[Count, Meta(description="Deliveries whose event is no longer kept.")]
    created: Time
    updated: Time
    ended: MaybeTime
    error: str | None


class RecoveriesAnswer(msgspec.Struct):
    """The recoveries and replays of a session, newest first."""

    recoveries: list[RecoveryAnswer]


class HealthAnswer(msgspec.Struct, kw_only=True):
    """The state of a webhook's endpoint, as the replica that serves it last reported it."""

    session_id: str
    active: Annotated[bool, Meta(description="False until its receiver has agreed, where `verify` asks for that.")]
    state: Annotated[
        Literal["closed", "paused", "open", "half_open", "disabled"],
        Meta(description="Of its circuit breaker; `paused` while the receiver's Retry-After has not passed."),
    ]
    since: MaybeTime
    until: Annotated[MaybeTime, Meta(description="When the endpoint is tried again.")]
    reason: str | None
    trips: Count
    failures: Annotated[Count, Meta(description="Consecutive failures.")]
    failing_since: MaybeTime
    rate: float | None
    parked: Count
    oldest_parked_seconds: float | None
    partition: Annotated[Count, Meta(description="The partition of its jobs.")]
    partition_owned: Annotated[
        bool,
        Meta(
            description="Whether a living edge works that partition, as far as this replica knows. During a hand-over none "
            "does for a second or two."
        ),
    ]
    waiting_events: Annotated[
        Count,
        Meta(
            description="Events that wait in the event store, because the endpoint takes none now or its share of the queue is "
            "full. Counted by the session's subjects; its types and its filter may leave out some."
        ),
    ]


class EnableBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing."""


class DisableBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the endpoint is disabled."""

    reason: Annotated[str, Meta(min_length=1, max_length=MAX_REASON, description="Printable.")] = "operator"


class NewsAnswerBody(msgspec.Struct):
    """What the receiver answered to the attempt."""

    status: int | None
    error: str | None
    detail: str | None
    retry_after: float | None
    seconds: float


class NewsEventBody(msgspec.Struct):
    """The event of the attempt, or the first of a batch."""

    id: str
    type: str
    subject: str
    cursor: str | None
    events: Annotated[int, Meta(description="More than one for a batch; `id` is the first.")]
    delivery: str
    webhook_id: str
    attempt: int


class WebhookNews(msgspec.Struct, kw_only=True):
    """The data of an event `system.webhook.<type>`, to which any session may subscribe.

    A delivery has `attempts`; one that was given up also `reason`, `event_id`, `subject` and `status`. An endpoint has
    `reason`, `state`, `until`, `failures` and `failing_since`.
    """

    session_id: str
    name: str | None
    destination: Annotated[str | None, Meta(description="Without credentials and query.")]
    answer: Annotated[NewsAnswerBody | None, Meta(description="Null where nothing was posted.")]
    event: NewsEventBody | None
    attempts: int | UnsetType = UNSET
    reason: str | UnsetType | None = UNSET
    event_id: str | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    status: int | UnsetType | None = UNSET
    state: str | UnsetType = UNSET
    until: str | UnsetType | None = UNSET
    failures: int | UnsetType = UNSET
    failing_since: str | UnsetType | None = UNSET
