"""Declares what Callboard says of itself: `system.…`, which only its own parts publish."""

from __future__ import annotations

from typing import Any

import msgspec

from router.event_types.declaration import EventType


class WebhookNewsData(msgspec.Struct, gc=False, kw_only=True):
    """A change of a webhook's endpoint, or of a delivery to it."""

    session_id: str
    name: str | None = None
    destination: str | None = None
    reason: str | None = None
    state: str | None = None
    until: str | None = None
    failures: int | None = None
    failing_since: str | None = None
    attempts: int | None = None
    event_id: str | None = None
    subject: str | None = None
    status: int | None = None
    answer: dict[Any, Any] | None = None
    event: dict[Any, Any] | None = None


class WebhookGapData(msgspec.Struct, gc=False, kw_only=True):
    """Events ran out of retention before a webhook got them. `first` and `last` are sequences."""

    session_id: str
    first: int
    last: int
    events: int
    destination: str | None = None
    reason: str | None = None


class DeadLettersFillingData(msgspec.Struct, gc=False, kw_only=True):
    """DEADLETTERS fills up; at 1 the oldest are dropped."""

    fullness: float
    messages: int | None = None
    bytes: int | None = None
    max_bytes: int | None = None


class DeadLetterBuriedData(msgspec.Struct, gc=False, kw_only=True):
    """Messages that were given up."""

    count: int
    first_id: int
    last_id: int
    id: int | None = None
    origin: str | None = None
    name: str | None = None
    reason: str | None = None
    detail: str | None = None
    attempts: int | None = None
    redrives: int | None = None
    destination: str | None = None
    event_id: str | None = None
    subject: str | None = None


class RuleFailedData(msgspec.Struct, gc=False, kw_only=True):
    """An alert rule raised an error on an event."""

    rule: str
    fault: str
    event: str | None = None
    subject: str | None = None


class RulesLoadedData(msgspec.Struct, gc=False, kw_only=True):
    """The rules that apply from now on."""

    rules: list[str]
    file: str | None = None
    mistakes: list[str] = []


class RecordingRefusedData(msgspec.Struct, gc=False, kw_only=True):
    """A rule was to let a camera record, and that did not."""

    rule: str
    key: str
    camera: str
    reason: str


class RulesRejectedData(msgspec.Struct, gc=False, kw_only=True):
    """A file of rules with mistakes; nothing was changed."""

    mistakes: list[Any]
    file: str | None = None


_WEBHOOK = {
    "opened": "Posting to an endpoint was suspended.",
    "closed": "Posting to an endpoint goes on.",
    "failing": "An endpoint goes on failing.",
    "recovered": "An endpoint takes deliveries again.",
    "disabled": "An endpoint was switched off.",
    "enabled": "An endpoint was switched on.",
    "attempt_failing": "A delivery goes on failing.",
    "attempt_recovered": "A delivery that had failed was made.",
    "deadlettered": "A delivery was given up.",
}

SYSTEM_TYPES: tuple[EventType, ...] = (
    *(EventType(name, summary, "system", WebhookNewsData) for name, summary in _WEBHOOK.items()),
    EventType("gap", "Events ran out of retention before a webhook got them.", "system", WebhookGapData),
    EventType("deadletters_filling", "DEADLETTERS fills up.", "system", DeadLettersFillingData),
    EventType("deadletter_buried", "Messages were given up.", "system", DeadLetterBuriedData),
    EventType("rule_failed", "An alert rule raised an error.", "system", RuleFailedData),
    EventType("rules_loaded", "Alert rules were loaded.", "system", RulesLoadedData),
    EventType("recording_refused", "A camera does not record for a rule.", "system", RecordingRefusedData),
    EventType("rules_rejected", "Alert rules were rejected.", "system", RulesRejectedData),
)
