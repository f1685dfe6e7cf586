"""Bodies, queries and answers of dead letters and redrives."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from edge.deadletters.query import DEFAULT_LIMIT, MAX_FIELD, MAX_IDS, MAX_LIMIT
from edge.deadletters.redrive_job import DEFAULT_RATE, MAX_RATE, MIN_RATE
from edge.sessions.answer import MaybeTime, Time

MAX_REDRIVE = 1_000_000

Count = Annotated[int, Meta(ge=0)]
Text = Annotated[str, Meta(min_length=1, max_length=MAX_FIELD)]
Origin = Literal["webhook", "actor", "ingest"]


class FilterBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters: those that match every field that is given."""

    origin: Origin | UnsetType = UNSET
    name: Annotated[
        Text | UnsetType, Meta(description="A session, an actor, or the stream that the message came from.")
    ] = UNSET
    reason: Text | UnsetType = UNSET
    subject: Annotated[Text | UnsetType, Meta(description="A pattern of the event's subject.")] = UNSET
    event: Annotated[Text | UnsetType, Meta(description="The event's id.")] = UNSET
    since: Annotated[
        Text | UnsetType, Meta(description="Added then or later: RFC 3339, or seconds since the epoch.")
    ] = UNSET
    until: Annotated[Text | UnsetType, Meta(description="Added before then.")] = UNSET
    text: Annotated[
        Text | UnsetType,
        Meta(description="Occurs in the detail, the destination or the texts of the event; case does not matter."),
    ] = UNSET


class ChosenBody(FilterBody, frozen=True, forbid_unknown_fields=True):
    """Which dead letters to send again or delete: those that match every field that is given."""

    ids: Annotated[
        Annotated[tuple[Annotated[int, Meta(ge=1)], ...], Meta(min_length=1, max_length=MAX_IDS)] | UnsetType,
        Meta(description="Only these, such as a selection in a list."),
    ] = UNSET


class DeadLettersQuery(FilterBody, frozen=True, forbid_unknown_fields=True):
    """A page of dead letters."""

    cursor: Annotated[str | None, Meta(description="The `next` of the page before.")] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="At most so many.")] = DEFAULT_LIMIT
    order: Annotated[Literal["newest", "oldest"], Meta(description="Which come first.")] = "newest"


class PlaceAnswer(msgspec.Struct):
    """Where the event was taken from."""

    stream: str
    sequence: Count
    subject: str
    cursor: str | None = None


class DeadLetterAnswer(msgspec.Struct, kw_only=True):
    """A delivery that was given up."""

    id: Annotated[int, Meta(description="Its sequence among the dead letters.")]
    origin: Origin
    name: str
    reason: str
    detail: str
    attempts: Count
    redrives: Annotated[Count, Meta(description="How often it was sent again without success.")]
    first: MaybeTime
    last: MaybeTime
    buried: Time
    destination: Annotated[str, Meta(description="Without credentials and query.")]
    source: str
    place: PlaceAnswer = msgspec.field(name="from")
    event_id: str | None
    size: Count = msgspec.field(name="bytes")
    by_reference: Annotated[bool, Meta(description="Too large to be copied: only its place is kept.")]
    event: Annotated[
        dict[str, Any] | None,
        Meta(description="As in the callback dialect. Null where it cannot be decoded, and in lists above 64 KiB."),
    ]
    payload: Annotated[bytes | UnsetType, Meta(description="What cannot be decoded, up to 64 KiB, in base64.")] = UNSET


class DeadLettersAnswer(msgspec.Struct):
    """A page of dead letters."""

    deadletters: list[DeadLetterAnswer]
    next: str | None


class NameCountAnswer(msgspec.Struct):
    """How many dead letters a name has."""

    origin: str
    name: str
    count: Count


class DeadLetterSummaryAnswer(msgspec.Struct, kw_only=True):
    """Dead letters, counted."""

    total: Count
    by_origin: dict[str, Count]
    by_reason: dict[str, Count]
    by_name: list[NameCountAnswer]
    names: Annotated[Count, Meta(description="All names; `by_name` has the hundred with the most dead letters.")]
    complete: bool
    size: Count = msgspec.field(name="bytes")
    max_bytes: int | None
    fullness: Annotated[float, Meta(description="From 0 to 1; at 1 the oldest are dropped.")]
    oldest: MaybeTime


class RedriveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to send again: one dead letter by its `id`, or all that match a `filter`; {} matches all."""

    id: int | str | UnsetType = UNSET
    filter: ChosenBody | UnsetType = UNSET
    dry_run: Annotated[bool, Meta(description="Only report what would be done.")] = False
    rate: Annotated[
        Annotated[float, Meta(ge=MIN_RATE, le=MAX_RATE)] | None, Meta(description="Dead letters a second at most.")
    ] = DEFAULT_RATE
    limit: Annotated[Annotated[int, Meta(ge=1, le=MAX_REDRIVE)] | None, Meta(description="Send at most so many.")] = (
        None
    )
    force: Annotated[
        bool, Meta(description="Also to disabled endpoints, past open circuit breakers, and for the sixth time.")
    ] = False


class RedriveAnswer(msgspec.Struct, kw_only=True):
    """A redrive, and how far it has come."""

    id: str
    state: Literal["running", "done", "failed", "cancelled"]
    dry_run: bool
    letter: int | None
    filter: dict[str, Any]
    force: bool
    rate: float
    limit: int | None
    total: Annotated[int | None, Meta(description="Null until they are counted.")]
    sent: Count
    failed: Annotated[Count, Meta(description="Given up again by their actor; they stay, with the new reason.")]
    skipped: Count
    reasons: Annotated[dict[str, Count], Meta(description="Why dead letters failed or were skipped.")]
    blocked: Annotated[
        dict[str, Literal["endpoint_disabled", "breaker_open"]],
        Meta(description="Sessions, ten at most, whose endpoints take nothing, and why."),
    ]
    returned: Annotated[Count, Meta(description="Came back as dead letters while the redrive ran.")]
    created: Time
    started: MaybeTime
    updated: Time
    ended: MaybeTime
    eta: Annotated[float | None, Meta(description="Seconds left, at the rate so far.")]
    error: str | None


class RedrivesAnswer(msgspec.Struct):
    """The redrives of the last week, those that run first."""

    jobs: list[RedriveAnswer]


class PurgeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to delete; the filter {} matches all."""

    filter: ChosenBody
    dry_run: bool = False
    cursor: Annotated[str | None, Meta(description="The `next` of the answer before.")] = None


class PurgeAnswer(msgspec.Struct):
    """How many dead letters were deleted, or would be."""

    purged: int
    matched: int
    dry_run: bool
    next: Annotated[str | None, Meta(description="Repeat the request with this as `cursor`, until it is null.")]
