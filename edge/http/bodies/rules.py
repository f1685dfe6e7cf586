"""Bodies, queries and answers of alert rules."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from edge.http.bodies.sessions import LimitQuery
from edge.sessions.answer import MaybeTime, Time

MAX_TEST_EVENTS = 1000

RulesText = Annotated[str, Meta(max_length=262_144)]


class MistakeAnswer(msgspec.Struct):
    """One mistake in a rule; line and column begin at 1, and are 0 where nobody knows them."""

    rule: str
    field: str
    reason: str
    line: int
    column: int


class RuleVersionAnswer(msgspec.Struct, kw_only=True):
    """A rule as it is, or as it was once."""

    version: int
    text: Annotated[str, Meta(description="As it was sent: YAML or JSON.")]
    enabled: bool
    at: Time
    by: str | None


class RuleAnswer(msgspec.Struct, kw_only=True):
    """A rule of the API, or one of the file, which the API cannot change."""

    name: str
    source: Literal["api", "file"]
    enabled: bool
    version: Annotated[int, Meta(description="0 for a rule of the file. What If-Match takes.")]
    in_force: Annotated[bool | None, Meta(description="Null where no alerts actor answers.")]
    rule: Annotated[dict[str, Any] | None, Meta(description="As it is in force.")]
    reason: Annotated[str | None, Meta(description="Why it is not in force.")] = None
    disabled_by: Annotated[
        Literal["switch", "text"] | None,
        Meta(description="`switch`: POST …/disable; `text`: its text says `enabled: false`, which PUT changes."),
    ] = None
    text: str | None = None
    created: Time | None = None
    updated: Time | None = None
    by: str | None = None


class RulesQuery(LimitQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page of the rules."""

    cursor: Annotated[str | None, Meta(description="The `next` of the page before.")] = None


class RulesFileAnswer(msgspec.Struct):
    """The rules file of the alerts actor."""

    name: str
    in_force: Annotated[
        bool, Meta(description="False where it has mistakes: the rules that it had before are in force.")
    ]
    mistakes: Annotated[list[str], Meta(description="With line and column, as `callboard rules check` says them.")]


class RulesAnswer(msgspec.Struct):
    """A page of the rules, by name."""

    rules: list[RuleAnswer]
    next: str | None
    total: int
    file: Annotated[
        RulesFileAnswer | None,
        Meta(description="Null where no alerts actor answers: the rules of its file are missing then."),
    ]


class RuleVersionsAnswer(msgspec.Struct):
    """The versions of a rule that are kept, the newest first."""

    versions: list[RuleVersionAnswer]


class ValidationAnswer(msgspec.Struct):
    """What a text would be as a rule."""

    valid: bool
    rule: dict[str, Any] | None
    mistakes: list[MistakeAnswer]


class TriedEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event to try rules on."""

    subject: str
    data: dict[str, Any] = {}
    time: Annotated[str | None, Meta(description="RFC 3339, or seconds since the epoch; now, if not given.")] = None
    type: str | None = None
    id: str | None = None


class RuleTestRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events to try rules on: those of `rules` (YAML or JSON, as a file has them), or those in force."""

    events: Annotated[list[TriedEvent], Meta(min_length=1, max_length=MAX_TEST_EVENTS)]
    rules: RulesText | UnsetType = UNSET


class FiredAnswer(msgspec.Struct, kw_only=True):
    """An alert that would have fired."""

    rule: str
    key: str
    alert: str
    at: Time
    severity: str
    title: str
    entity: str
    value: Any
    event: Annotated[str | None, Meta(description="The id of the event that led to it.")]
    subject: str | None
    count: int
    repeats: Annotated[int, Meta(description="How often it would have been told again.")]
    resolved: MaybeTime
    reason: str | None


class RuleTestAnswer(msgspec.Struct, kw_only=True):
    """What would have fired."""

    events: Annotated[int, Meta(description="Events that were looked at.")]
    alerts: Annotated[int, Meta(description="All alerts, shown or not.")]
    late: int
    faults: int
    first: MaybeTime
    last: MaybeTime
    by_rule: dict[str, int]
    fired: Annotated[list[FiredAnswer], Meta(description="The first thousand.")]


class BacktestRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The history to try rules on: those of `rules` (YAML or JSON, one rule or a file), or those in force."""

    since: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            description="RFC 3339, seconds since the epoch, or how long ago: 90s, 30m, 12h, 7d.",
        ),
    ]
    until: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    rules: RulesText | UnsetType = UNSET


class BacktestAnswer(RuleTestAnswer, kw_only=True):
    """A back-test, and what it has found so far."""

    id: str
    state: Literal["running", "done", "failed", "cancelled"]
    error: str | None
