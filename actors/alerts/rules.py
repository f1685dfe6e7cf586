"""Defines what a rule is: when an alert fires, for what, and what it says. `parser` makes rules of YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import quote

from actors.alerts.conditions import Condition
from actors.alerts.conditions.threshold import Threshold
from actors.alerts.template import TextTemplate, shown
from router.errors import RouterError
from router.filter import Activation, Expression, Filter

# An entity or a dedup key that is longer is cut.
MAX_LABEL = 200

# The condition of a rule that names none.
ONCE = Threshold(1, 60.0)


class Severity(Enum):
    """How much an alert matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with rules: where it stands (line and column from 1, 0 where unknown), and the field.

    `rule` is empty where it concerns all of the file, `field` where it concerns all of the rule.
    """

    file: str
    rule: str
    reason: str
    field: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return ": ".join(part for part in (place, self.rule, self.field, self.reason) if part)

    def describe(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {name: getattr(self, name) for name in ("file", "rule", "field", "reason", "line", "column")}


class BadRules(RouterError, ValueError):
    """the rules have mistakes"""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


class Label:
    """A text about an event: a template where there is a brace in it, else a CEL expression."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._template = TextTemplate.compile(text) if "{" in text else None
        self.expression = None if self._template else Expression.compile(text)

    def of(self, event: Activation, scope: Mapping[str, Any]) -> str | None:
        """Writes it; None where the expression yields nothing."""
        if self._template:
            return self._template.fill(scope, MAX_LABEL)
        assert self.expression
        found = self.expression.value(event)
        return None if found is None else shown(found)


@dataclass(frozen=True)
class Action:
    """What a person may do about an alert: open a page, or send a command."""

    label: str
    kind: str  # "url" or "command"
    target: TextTemplate

    def describe(self, scope: Mapping[str, Any]) -> dict[str, str]:
        """Fills it in; a value cannot change what a URL addresses."""
        guard: Callable[[str], str] = _quoted if self.kind == "url" else str
        return {"label": self.label, self.kind: self.target.fill(scope, 2000, guard)}


@dataclass(frozen=True)
class RuleRecord:
    """Which camera records while an alert is new, and for how many seconds."""

    camera: TextTemplate
    seconds: float

    def describe(self) -> dict[str, Any]:
        """The fields that say the same."""
        return {"camera": self.camera.text, "seconds": self.seconds}


# What rules may have to agree in for one to inhibit another.
EQUAL = ("entity", "key", "category", "severity")


@dataclass(frozen=True)
class Inhibit:
    """Which alerts keep one of this rule from being raised: of the rules named, or of all with a severity or category."""

    by: tuple[str, ...] = ()
    severity: Severity | None = None
    category: str | None = None
    equal: tuple[str, ...] = ("entity",)

    def describe(self) -> dict[str, Any]:
        """The fields that say the same."""
        severity = self.severity.value if self.severity else None
        found = {"by": list(self.by) or None, "severity": severity, "category": self.category}
        return {name: value for name, value in found.items() if value} | {"equal": list(self.equal)}


@dataclass(frozen=True)
class Group:
    """Makes one alert of those whose `by` is the same: raised after `wait` seconds, said again after `interval`."""

    by: Label
    wait: float = 30.0
    interval: float = 300.0

    def describe(self) -> dict[str, Any]:
        """The fields that say the same."""
        return {"by": self.by.text, "wait": self.wait, "interval": self.interval}


@dataclass(frozen=True)
class Rule:
    """When an alert fires, for what, and what it says. Times are seconds.

    `hold` is the field `for`. `source` is the rule as it was written, as plain data.
    """

    name: str
    when: Filter
    title: TextTemplate
    message: TextTemplate
    condition: Condition = ONCE
    subjects: tuple[str, ...] = (">",)
    types: tuple[str, ...] = ()
    severity: Severity = Severity.WARNING
    category: str = "general"
    entity: Label | None = None
    key: Label | None = None
    value: Expression | None = None
    hold: float = 0.0
    lateness: float = 0.0
    cooldown: float = 60.0
    resolve_when: Filter | None = None
    resolve_after: float | None = None
    inhibit: tuple[Inhibit, ...] = ()
    group: Group | None = None
    actions: tuple[Action, ...] = ()
    audience: tuple[str, ...] = ()
    record: RuleRecord | None = None
    enabled: bool = True
    source: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """What is evaluated over the events that the rule looks at."""
        ends = (self.resolve_when,) if self.resolve_when else ()
        value = (self.value,) if self.value else ()
        labels = [each.expression for each in (self.entity, self.key) if each and each.expression]
        return (self.when, *ends, *value, *labels, *self.condition.expressions)

    @property
    def paths(self) -> frozenset[tuple[str, ...]]:
        """What its texts look up of an event."""
        texts = [self.title, self.message, *(action.target for action in self.actions)]
        texts += [self.record.camera] if self.record else []
        return frozenset(path for text in texts for path in text.paths)

    def describe(self) -> dict[str, Any]:
        """Tells what the rule is, for a person."""
        return {
            "name": self.name,
            "enabled": self.enabled,
            "subjects": list(self.subjects),
            "types": list(self.types),
            "when": self.when.text,
            "severity": self.severity.value,
            "category": self.category,
            "title": self.title.text,
            "message": self.message.text,
            "entity": self.entity.text if self.entity else None,
            "key": self.key.text if self.key else None,
            "value": self.value.text if self.value else None,
            **self.condition.describe(),
            "for": self.hold,
            "lateness": self.lateness,
            "cooldown": self.cooldown,
            "resolve_when": self.resolve_when.text if self.resolve_when else None,
            "resolve_after": self.resolve_after,
            "inhibit": [each.describe() for each in self.inhibit],
            "group": self.group.describe() if self.group else None,
            "actions": [{"label": each.label, each.kind: each.target.text} for each in self.actions],
            "audience": list(self.audience),
            "record": self.record.describe() if self.record else None,
            "faults": self.when.faults,
        }


def _quoted(text: str) -> str:
    # A path step of two dots would still climb.
    return "_" if text in (".", "..") else quote(text, safe="")
