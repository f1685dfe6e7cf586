"""Declares alerts: those of applications, and the transitions of Callboard's own."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from router.event_types.declaration import EventType

Severity = Literal["info", "warning", "critical"]


class AlertAction(msgspec.Struct, gc=False, kw_only=True):
    """A button beside an alert."""

    label: str
    action: str | None = None
    url: str | None = None
    command: str | None = None


class AlertData(msgspec.Struct, gc=False, kw_only=True):
    """An alert of an application."""

    severity: Severity
    title: str
    message: str | None = None
    category: str | None = None
    alertId: str | None = None
    entityId: str | None = None
    entityType: str | None = None
    actionRequired: bool | None = None
    actions: list[AlertAction] | None = None


class AlertStateData(msgspec.Struct, gc=False, kw_only=True):
    """An alert of a rule, in the state that the event's type names. Times are RFC 3339."""

    rule: str | None = None
    alert: str | None = None
    key: str | None = None
    severity: Severity | None = None
    category: str | None = None
    title: str | None = None
    message: str | None = None
    entity: Any = None
    value: Any = None
    count: int | None = None
    since: str | None = None
    actions: list[AlertAction] | None = None
    audience: list[str] | None = None


ALERT_TYPES: tuple[EventType, ...] = (
    EventType("alert", "An alert of an application.", schema=AlertData),
    *(
        EventType(name, f"An alert of a rule: {name}.", "alert", AlertStateData)
        for name in ("firing", "acknowledged", "snoozed", "dismissed", "resolved")
    ),
)
