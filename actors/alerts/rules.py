"""Reads alert rules from a YAML file, or lists all mistakes in it."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import yaml

from actors.alerts.template import BadTemplate, TextTemplate, shown
from router.errors import BadFilter, BadPattern, RouterError
from router.filter import Activation, Expression, Filter
from router.subject import check_pattern

T = TypeVar("T")

# A rules file is written by hand; these are far more than anybody maintains.
MAX_FILE = 262_144
MAX_RULES = 500
MAX_ACTIONS = 10
# Each key under watch remembers so many events: 100 of them for 10,000 keys is what memory bears.
MAX_COUNT = 100
DAY = 86_400.0
# An entity or a dedup key that is longer is cut.
MAX_LABEL = 200

FIELDS = (
    *("name", "when", "subjects", "severity", "category", "title", "message", "entity", "key", "value"),
    *("threshold", "cooldown", "resolve_when", "resolve_after", "actions", "audience"),
)

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
_WORD = re.compile(r"[A-Za-z0-9_.:@-]{1,64}\Z")


class Severity(Enum):
    """How much an alert matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Mistake(NamedTuple):
    """One thing that is wrong with a file; `rule` is empty where it concerns all of it."""

    file: str
    rule: str
    reason: str

    def __str__(self) -> str:
        return ": ".join(part for part in self if part)


class BadRules(RouterError, ValueError):
    """the rules file has mistakes"""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


class Label:
    """A text about an event: a template where there is a brace in it, else a CEL expression."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._template = TextTemplate.compile(text) if "{" in text else None
        self._expression = None if self._template else Expression.compile(text)

    def of(self, event: Activation, scope: Mapping[str, Any]) -> str | None:
        """Writes it; None where the expression yields nothing."""
        if self._template:
            return self._template.fill(scope, MAX_LABEL)
        assert self._expression
        found = self._expression.value(event)
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
class Rule:
    """When an alert fires, for what, and what it says."""

    name: str
    when: Filter
    title: TextTemplate
    message: TextTemplate
    subjects: tuple[str, ...] = (">",)
    types: tuple[str, ...] = ()
    severity: Severity = Severity.WARNING
    category: str = "general"
    entity: Label | None = None
    key: Label | None = None
    value: Expression | None = None
    count: int = 1
    within: float = 60.0
    cooldown: float = 60.0
    resolve_when: Filter | None = None
    resolve_after: float | None = None
    actions: tuple[Action, ...] = ()
    audience: tuple[str, ...] = ()

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """What is evaluated over each event that the rule looks at."""
        return (self.when,) if self.resolve_when is None else (self.when, self.resolve_when)

    def describe(self) -> dict[str, Any]:
        """Tells what the rule is, for a person."""
        return {
            "name": self.name,
            "subjects": list(self.subjects),
            "when": self.when.text,
            "severity": self.severity.value,
            "category": self.category,
            "title": self.title.text,
            "message": self.message.text,
            "entity": self.entity.text if self.entity else None,
            "key": self.key.text if self.key else None,
            "value": self.value.text if self.value else None,
            "threshold": {"count": self.count, "within": self.within},
            "cooldown": self.cooldown,
            "resolve_when": self.resolve_when.text if self.resolve_when else None,
            "resolve_after": self.resolve_after,
            "actions": [{"label": each.label, each.kind: each.target.text} for each in self.actions],
            "audience": list(self.audience),
            "faults": self.when.faults,
        }


def read(path: Path) -> tuple[Rule, ...]:
    """Reads a rules file; raises BadRules with every mistake in it."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as fault:
        raise BadRules([Mistake(path.name, "", f"cannot be read: {fault.strerror}")]) from None
    if len(raw) > MAX_FILE:
        raise BadRules([Mistake(path.name, "", f"is larger than {MAX_FILE} bytes")])
    return parse(raw, path.name)


def parse(raw: bytes | str, file: str) -> tuple[Rule, ...]:
    """Makes rules of YAML; raises BadRules with every mistake in it."""
    mistakes: list[Mistake] = []
    rules: list[Rule] = []
    taken: set[str] = set()
    for place, entry in enumerate(_entries(raw, file, mistakes), 1):
        name = entry.get("name") if isinstance(entry, dict) else None
        label = name[:64] if isinstance(name, str) and name else f"rule {place}"
        if not isinstance(entry, dict):
            mistakes.append(Mistake(file, label, "must be a map with name, when and title"))
            continue
        found: list[str] = []
        rule = _Entry(entry, found).rule()
        if isinstance(name, str) and name in taken:
            found.append("name: there is another rule of that name")
        elif isinstance(name, str):
            taken.add(name)
        mistakes.extend(Mistake(file, label, reason) for reason in found)
        if rule and not found:
            rules.append(rule)
    if mistakes:
        raise BadRules(mistakes)
    return tuple(rules)


def _entries(raw: bytes | str, file: str, mistakes: list[Mistake]) -> list[Any]:
    try:
        document = yaml.load(raw, Loader=_Strict)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as fault:
        mistakes.append(Mistake(file, "", f"is not YAML: {' '.join(str(fault).split())[:200]}"))
        return []
    if document is None:
        return []
    if not isinstance(document, dict) or not isinstance(document.get("rules"), (list, type(None))):
        mistakes.append(Mistake(file, "", "must be a map with a list called rules"))
        return []
    mistakes.extend(Mistake(file, "", f"{shown(field)} is not a field") for field in document if field != "rules")
    entries: list[Any] = document.get("rules") or []
    if len(entries) > MAX_RULES:
        mistakes.append(Mistake(file, "", f"has {len(entries)} rules; at most {MAX_RULES} are taken"))
        return []
    return entries


class _Strict(yaml.SafeLoader):
    """Reads YAML, and takes a field written twice for the mistake that it is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is written twice", key.start_mark)
                seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


class _Entry:
    """Reads one rule, field by field, and notes each mistake instead of stopping at the first."""

    def __init__(self, entry: dict[Any, Any], mistakes: list[str]) -> None:
        self._entry = entry
        self._mistakes = mistakes

    def rule(self) -> Rule | None:
        self._unknown(self._entry, FIELDS, "")
        name = self._text("name", None, 64)
        if name and not _NAME.match(name):
            self._note("name", "use a-z, 0-9, - and _, beginning with a letter")
        when = self._made("when", None, Filter.compile)
        title = self._made("title", "{rule}: {entity}", TextTemplate.compile)
        message = self._made("message", "", TextTemplate.compile)
        threshold = self._map("threshold", ("count", "within"))
        count = self._number("count", 1, 1, MAX_COUNT, threshold, "threshold.")
        within = self._number("within", 60, 0.001, DAY, threshold, "threshold.")
        if count is not None and count != int(count):
            self._note("threshold.count", "must be a whole number")
        if threshold and not {"count", "within"} <= threshold.keys():
            self._note("threshold", "needs count and within")
        rule: dict[str, Any] = {
            "subjects": self._words("subjects", (">",), _pattern),
            "severity": self._severity(),
            "category": self._text("category", "general", 64),
            "entity": self._made("entity", "", Label) if "entity" in self._entry else None,
            "key": self._made("key", "", Label) if "key" in self._entry else None,
            "value": self._made("value", "", Expression.compile) if "value" in self._entry else None,
            "cooldown": self._number("cooldown", 60, 0, DAY),
            "resolve_when": self._made("resolve_when", "", Filter.compile) if "resolve_when" in self._entry else None,
            "resolve_after": self._number("resolve_after", None, 1, 30 * DAY)
            if "resolve_after" in self._entry
            else None,
            "actions": self._actions(),
            "audience": self._words("audience", (), _word),
        }
        if self._mistakes or not (name and when and title and message and count and within):
            return None
        return Rule(name=name, when=when, title=title, message=message, count=int(count), within=within, **rule)

    def _note(self, field: str, reason: str) -> None:
        self._mistakes.append(f"{field}: {reason}")

    def _unknown(self, entry: Mapping[Any, Any], fields: tuple[str, ...], prefix: str) -> None:
        for field in entry:
            if field not in fields:
                near = difflib.get_close_matches(str(field)[:64], fields, 1)
                self._note(f"{prefix}{shown(field)}", f"is not a field{f'; is {near[0]} meant?' if near else ''}")

    def _text(
        self, field: str, default: str | None, longest: int, entry: Mapping[Any, Any] | None = None, prefix: str = ""
    ) -> str | None:
        value = (self._entry if entry is None else entry).get(field, default)
        if value is None:
            self._note(prefix + field, "is missing")
        elif not isinstance(value, str):
            self._note(prefix + field, "must be a text; put it in quotes")
        elif len(value) > longest:
            self._note(prefix + field, f"has {len(value)} characters; at most {longest} are taken")
        elif not value.strip() and default is None:
            self._note(prefix + field, "is empty")
        else:
            return value
        return None

    def _made(self, field: str, default: str | None, make: Callable[[str], T]) -> T | None:
        text = self._text(field, default, 2000)
        if text is None:
            return None
        try:
            return make(text)
        except (BadFilter, BadTemplate) as fault:
            self._note(field, str(fault))
            return None

    def _number(
        self,
        field: str,
        default: float | None,
        low: float,
        high: float,
        entry: Mapping[Any, Any] | None = None,
        prefix: str = "",
    ) -> float | None:
        value = (self._entry if entry is None else entry).get(field, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            self._note(prefix + field, "must be a number")
        elif not low <= value <= high:
            self._note(prefix + field, f"must be between {low:g} and {high:g}")
        else:
            return value
        return None

    def _map(self, field: str, fields: tuple[str, ...]) -> dict[Any, Any]:
        value = self._entry.get(field, {})
        if not isinstance(value, dict):
            self._note(field, f"must be a map with {' and '.join(fields)}")
            return {}
        self._unknown(value, fields, f"{field}.")
        return value

    def _severity(self) -> Severity | None:
        value = self._entry.get("severity", Severity.WARNING.value)
        for severity in Severity:
            if value == severity.value:
                return severity
        self._note("severity", f"must be {', '.join(each.value for each in Severity)}")
        return None

    def _words(self, field: str, default: tuple[str, ...], check: Callable[[str], str]) -> tuple[str, ...]:
        value = self._entry.get(field, list(default))
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list) or len(words) > 64 or not all(isinstance(word, str) for word in words):
            self._note(field, "must be a text, or a list of at most 64 of them")
            return ()
        for word in words:
            try:
                check(word)
            except ValueError as fault:
                self._note(field, str(fault))
        if not words and default:
            self._note(field, "is empty")
        return tuple(words)

    def _actions(self) -> tuple[Action, ...]:
        value = self._entry.get("actions", [])
        if not isinstance(value, list) or len(value) > MAX_ACTIONS:
            self._note("actions", f"must be a list of at most {MAX_ACTIONS}")
            return ()
        return tuple(found for place, each in enumerate(value, 1) if (found := self._action(f"actions {place}", each)))

    def _action(self, place: str, entry: Any) -> Action | None:
        if not isinstance(entry, dict) or ("url" in entry) == ("command" in entry):
            self._note(place, "must be a map with a label and either url or command")
            return None
        kind = "url" if "url" in entry else "command"
        self._unknown(entry, ("label", kind), f"{place}.")
        label = self._text("label", None, 80, entry, f"{place}.")
        target = self._text(kind, None, 1000, entry, f"{place}.")
        if label is None or target is None:
            return None
        try:
            template = TextTemplate.compile(target)
        except BadTemplate as fault:
            self._note(f"{place}.{kind}", str(fault))
            return None
        # Decided by the fixed text, so that no event can make it a script or another host.
        if kind == "url" and not re.match(r"https?://[^/\\]+/|/(?![/\\])", template.start):
            self._note(f"{place}.url", "must begin with /, or with https:// or http://, a host and /")
            return None
        return Action(label, kind, template)


def _quoted(text: str) -> str:
    # A path step of two dots would still climb.
    return "_" if text in (".", "..") else quote(text, safe="")


def _pattern(text: str) -> str:
    try:
        return check_pattern(text)
    except BadPattern as fault:
        raise ValueError(str(fault)) from None


def _word(text: str) -> str:
    if not _WORD.match(text):
        raise ValueError(f"{text[:40]!r}: use letters, digits and _ . : @ -")
    return text
