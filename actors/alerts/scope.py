"""Tells what the texts of a rule can show of an event."""

from __future__ import annotations

from typing import Any

from actors.alerts.rules import Rule
from actors.alerts.template import MAX_VALUE, lookup, shown
from router.alerts import SOURCE, STATES
from router.codec import rfc3339
from router.event import Event
from router.filter import Activation
from router.subject import unescape


class Sight:
    """One event on its way through the rules: what several of them need of it is made once."""

    __slots__ = ("_key", "at", "context", "event", "mark", "seen")

    def __init__(self, event: Event, seen: Activation, at: int, mark: str, context: Any = None) -> None:
        """`context` holds what all the rules read, if it could be converted at once."""
        self.event = event
        self.seen = seen
        self.context = context
        # The event's time, bounded where its producer's clock is ahead.
        self.at = at
        self.mark = mark
        self._key: str | None = None

    @property
    def key(self) -> str:
        """The dedup key where a rule names none: with the domain, for a job and a run may bear the same name."""
        if self._key is None:
            subject = self.event.subject
            self._key = f"{subject.domain}.{unescape(subject.entity)}"
        return self._key


def is_own(event: Event) -> bool:
    """Whether the alerts actor emitted an event, or it says what became of an alert: a rule on those would trigger itself."""
    subject = event.subject
    if subject.startswith("alert."):
        return event.type in STATES or event.source == SOURCE
    return subject.startswith("system.alerts.")


def identity(event: Event) -> str:
    """Names an event; its id alone is chosen by its publisher, and another publisher may choose the same."""
    return f"{event.subject}\n{event.id}\n{event.time}"


def key_of(rule: Rule, sight: Sight) -> str:
    """The dedup key of an event for a rule."""
    if rule.key is None and rule.entity is None:
        return sight.key
    scope = scope_of(rule, sight)
    found = rule.key.of(sight.seen, scope) if rule.key else None
    if found is not None:
        return found
    return scope["entity"] if rule.entity else sight.key


def scope_of(rule: Rule, sight: Sight) -> dict[str, Any]:
    """What a template of this rule can show of an event."""
    event = sight.event
    scope = {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": str(event.subject),
        "domain": event.subject.domain,
        "entity": unescape(event.subject.entity),
        "key": event.key,
        "cause": event.cause,
        "test": event.test,
        "time": written(event.time),
        "data": event.data,
        "rule": rule.name,
        "severity": rule.severity.value,
        "category": rule.category,
        "value": rule.value.value(sight.seen) if rule.value else None,
    }
    if rule.group:
        scope["group"] = rule.group.by.of(sight.seen, scope) or ""
    if rule.entity and (entity := rule.entity.of(sight.seen, scope)) is not None:
        scope["entity"] = entity
    return scope


def written(time_ns: int) -> str:
    """Writes a time as an event says it, which may be any number at all."""
    try:
        return rfc3339(time_ns)
    except (ValueError, OverflowError, OSError):
        return rfc3339(0)


def slim(rule: Rule, scope: dict[str, Any]) -> dict[str, Any]:
    """The same, with only those fields of the data that the rule's texts show, and each as short as it is shown."""
    data: dict[str, Any] = {}
    for path in rule.paths:
        if path[0] == "data" and len(path) > 1:
            found = lookup(scope, path)
            inner = data
            for step in path[1:-1]:
                inner = inner.setdefault(step, {}) if isinstance(inner.get(step, {}), dict) else {}
            inner[path[-1]] = found if found is None or isinstance(found, (bool, int, float)) else shown(found)
    kept = {name: value[:MAX_VALUE] if isinstance(value, str) else value for name, value in scope.items()}
    return {**kept, "data": data}
