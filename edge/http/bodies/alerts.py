"""Bodies, queries and answers of alerts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from edge.http.bodies.sessions import LimitQuery
from edge.sessions.answer import MaybeTime, Time
from router.alerts import MAX_COMMENT, MAX_SNOOZE, STATES

# A filter of a list names so many values at most.
MAX_VALUES = 16
_Values = Annotated[str, Meta(max_length=1000)] | None


class AlertsQuery(LimitQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page of the alerts, those that began last first. Each filter takes several values, with commas between."""

    state: Annotated[_Values, Meta(description=f"`active` (all but resolved), or of {', '.join(STATES)}.")] = None
    severity: Annotated[_Values, Meta(description="Of info, warning, critical.")] = None
    category: _Values = None
    audience: Annotated[_Values, Meta(description="Users.")] = None
    entity: _Values = None
    rule: _Values = None
    cursor: Annotated[str | None, Meta(description="The `next` of the page before.")] = None


class AlertStepAnswer(msgspec.Struct, kw_only=True):
    """One step in the life of an alert."""

    what: Literal["fired", "acknowledged", "snoozed", "woke", "dismissed", "resolved"]
    at: Time
    by: Annotated[str | UnsetType, Meta(description="The user of the token, or the webhook session.")] = UNSET
    comment: str | UnsetType = UNSET
    until: Time | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class AlertAnswer(msgspec.Struct, kw_only=True):
    """An alert: the newest episode of one rule and one dedup key."""

    id: str
    rule: str
    key: str
    state: Literal["firing", "acknowledged", "snoozed", "dismissed", "resolved"]
    status: Annotated[Literal["firing", "resolved"], Meta(description="Firing for every state but resolved.")]
    severity: str
    category: str
    title: str
    message: str
    entity: str
    value: Any
    count: int
    since: Time
    told: Time
    updated: Time
    timestamp: Time
    snoozed_until: MaybeTime
    ended: MaybeTime
    reason: str | None
    actions: list[dict[str, Any]]
    audience: Annotated[
        list[str], Meta(description="The users whom it concerns; where it is empty, all who may read it.")
    ]
    cause_subject: str
    cause_id: str
    cause_time: Time
    labels: dict[str, str] | UnsetType = UNSET
    history: list[AlertStepAnswer] | UnsetType = UNSET


class AlertsAnswer(msgspec.Struct):
    """A page of the alerts, those that began last first."""

    alerts: list[AlertAnswer]
    next: Annotated[str | None, Meta(description="The cursor of the next page; null at the end.")]
    total: Annotated[int, Meta(description="How many alerts match, over all pages.")]


class ActRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody says to an alert."""

    comment: Annotated[
        Annotated[str, Meta(max_length=MAX_COMMENT)] | None, Meta(description="Kept in its history.")
    ] = None


class SnoozeRequest(ActRequest, frozen=True, forbid_unknown_fields=True):
    """For how long an alert shall be silent: `for` some time, or `until` a time."""

    duration: Annotated[
        Annotated[float, Meta(ge=1, le=MAX_SNOOZE)] | Annotated[str, Meta(min_length=1, max_length=40)] | None,
        Meta(description="Seconds from now, or a duration such as 90s, 10m, 2h or 1h30m."),
    ] = msgspec.field(default=None, name="for")
    until: Annotated[
        Annotated[str, Meta(min_length=1, max_length=64)] | None,
        Meta(description="RFC 3339, or seconds since the epoch."),
    ] = None


class SignedAct(SnoozeRequest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the receiver of a webhook does to an alert; all of it is signed."""

    alert: Annotated[str, Meta(max_length=300, description="The `alert` of the event that it was posted.")]
    action: Literal["acknowledge", "snooze", "dismiss", "resolve"]


class AlertmanagerAlert(msgspec.Struct, frozen=True, rename={"starts_at": "startsAt", "ends_at": "endsAt"}):
    """One alert of an Alertmanager."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: str = ""
    ends_at: str = ""
    fingerprint: Annotated[str, Meta(max_length=200)] = ""
    url: str = msgspec.field(default="", name="generatorURL")


class AlertmanagerNotice(msgspec.Struct, frozen=True):
    """What an Alertmanager posts to a webhook (format 4); fields that are not named here are not looked at."""

    version: Literal["4"]
    alerts: list[AlertmanagerAlert]


class AlertmanagerTaken(msgspec.Struct):
    """What became of the alerts of a notice."""

    firing: int
    resolved: int
    unchanged: Annotated[int, Meta(description="Known already, or our own that came back.")]
