"""Bodies and answers of events: what `POST /events` takes, and what readers get."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from edge.sessions.answer import Cursor, Time

MAX_TEXT = 200
Text = Annotated[str, Meta(max_length=MAX_TEXT)]


class NewEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event to publish."""

    subject: Annotated[str, Meta(max_length=255, examples=["agent.run-42.progress"])]
    type: Annotated[
        Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,63}$")] | None,
        Meta(description="Left out, the last token of the subject."),
    ] = None
    data: dict[str, Any] | None = None
    id: Annotated[
        Text | None, Meta(description="Generated where it is left out; the same id within two minutes is stored once.")
    ] = None
    source: Text | None = None
    key: Text | None = None
    cause: Text | None = None
    trace: Text | None = None
    test: bool = False
    time: Annotated[
        int | str | None,
        Meta(
            description="When it happened, where it is published later: RFC 3339, or ns since the epoch; within the last 7 days and "
            "at most a minute ahead. Left out, now."
        ),
    ] = None
    incarnation: Annotated[
        Text | None,
        Meta(
            description="The life of the run that the event is of, where its `data` do not say so; it is not stored. An event of "
            "a life that another one has superseded is refused (409 `run_superseded`), within 2 s where that began elsewhere."
        ),
    ] = None


class NewEvents(msgspec.Struct, frozen=True):
    """A batch of events."""

    events: list[NewEvent]


class ChannelName(msgspec.Struct, frozen=True):
    """A channel of the geminivideo guide: of a job, an entity, or of a user's alerts."""

    type: Literal[
        "job_progress", "video_render", "ai_stream", "alerts", "campaign_metrics", "ab_test_results", "live_metrics"
    ]
    id: str | None = None
    userId: str | None = None


class ChannelEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event as that guide publishes it; its `type` is the channel's where it has none, its `timestamp` the time."""

    channel: ChannelName
    event: dict[str, Any]


# One event, a list of them, or an object with such a list.
Publication = (NewEvent, ChannelEvent, Annotated[list[NewEvent], Meta(min_length=1, max_length=1000)], NewEvents)


class Stored(msgspec.Struct):
    """An event that is stored."""

    id: str
    cursor: Cursor
    duplicate: bool
    incarnation: Annotated[
        str | UnsetType,
        Meta(description="Of a workflow_start: the life of the run that it began; its terminal event may carry it."),
    ] = UNSET


class Published(msgspec.Struct):
    """The events that are stored; a single one is described at the top as well."""

    events: list[Stored]
    id: str | UnsetType = UNSET
    cursor: Cursor | UnsetType = UNSET
    duplicate: bool | UnsetType = UNSET
    incarnation: str | UnsetType = UNSET


class EventAnswer(msgspec.Struct, kw_only=True):
    """An event in the callback dialect."""

    id: str
    event_type: str
    subject: str
    source: str
    timestamp: Time
    data: dict[str, Any]
    cursor: Cursor
    key: str | UnsetType = UNSET
    cause: str | UnsetType = UNSET
    test: bool | UnsetType = UNSET
    conflated: Annotated[int | UnsetType, Meta(description="How many older events this one supersedes.")] = UNSET


class GapAnswer(msgspec.Struct):
    """A range of events that could not be read; `reset` where the stream began anew."""

    first: str = msgspec.field(name="from")
    last: str = msgspec.field(name="to")
    reset: bool


class SnapshotSaid(msgspec.Struct):
    """How much of what there is a snapshot has."""

    events: Annotated[int, Meta(description="Events of it that are still to come, those of this page included.")]
    left_out: Annotated[int, Meta(description="Older events that are not in it, for there are more than it may have.")]
    unsearched: Annotated[
        int | UnsetType,
        Meta(description="Subjects of which older keys may be missing: their past is longer than what is read."),
    ] = UNSET


class PageAnswer(msgspec.Struct, kw_only=True):
    """Events after a cursor, oldest first."""

    events: list[EventAnswer]
    next: Cursor
    has_more: Annotated[
        bool,
        Meta(
            description="Whether to poll again at once from `next`: one request scans a bounded part of the stream, and may "
            "end without an event."
        ),
    ]
    count: int | UnsetType = UNSET
    session_id: str | UnsetType = UNSET
    last_timestamp: Annotated[
        Time | UnsetType,
        Meta(
            description="The last event's own time. In answers to polls without a `cursor` the times of events have more "
            "digits than six: they are places to continue from by `since`."
        ),
    ] = UNSET
    begin: Annotated[Cursor | UnsetType, Meta(description="Where the answer to a poll with `back` begins.")] = UNSET
    gap: GapAnswer | UnsetType | None = UNSET
    snapshot: Annotated[SnapshotSaid | UnsetType, Meta(description="Of pages of `cursor=snapshot`.")] = UNSET


class ProblemAnswer(msgspec.Struct, kw_only=True):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str | UnsetType = UNSET
    index: Annotated[int | UnsetType, Meta(description="Which event of a batch.")] = UNSET
    reason: Annotated[str | UnsetType, Meta(description="Why a redrive was refused, or what kind an address is.")] = (
        UNSET
    )
    field: Annotated[
        str | UnsetType, Meta(description="Which field of the body or parameter of the query is wrong.")
    ] = UNSET
    stored: Annotated[int | UnsetType, Meta(description="How many events of a batch were stored.")] = UNSET
    size: Annotated[int | UnsetType, Meta(description="The size of an event that is too large, in bytes.")] = UNSET
    limit: Annotated[int | UnsetType, Meta(description="The limit that was exceeded.")] = UNSET
    ended_by: Annotated[str | UnsetType, Meta(description="The id of the event that ended the run.")] = UNSET
    ended_at: Time | UnsetType = UNSET
    run_status: Annotated[
        str | UnsetType, Meta(description="How the run ended: `completed`, `failed` or `cancelled`.")
    ] = UNSET
    synthesized: Annotated[
        bool | UnsetType, Meta(description="Whether the run was ended for a producer that was gone.")
    ] = UNSET
    incarnation: Annotated[str | UnsetType | None, Meta(description="The life of the run that goes on.")] = UNSET
