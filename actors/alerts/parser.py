"""Reads alert rules from YAML, or lists all mistakes in it, each with rule, line and column.

A rule that is written as it was before is not compiled again: hand in the rules that are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from actors.alerts.condition_fields import KINDS, condition
from actors.alerts.fields import DAY, Fields, Note, meant
from actors.alerts.marked import BadYaml, MarkedMap, load, plain
from actors.alerts.rules import EQUAL, Action, BadRules, Group, Inhibit, Label, Mistake, Rule, RuleRecord, Severity
from actors.alerts.template import BadTemplate, TextTemplate, shown
from router.errors import BadPattern
from router.event import is_type
from router.filter import Expression, Filter
from router.subject import check_pattern

# 8 MiB and 10,000 rules: they are read within a few seconds of CPU, beside the events.
MAX_FILE = 8_388_608
MAX_RULES = 10_000
MAX_ACTIONS = 10
MAX_INHIBIT = 10
# Filters that are found again when another rule, or the same one in a newer file, has their text.
MAX_SHARED = 4096
# How long an event may be behind: so much later a rule with it says everything.
MAX_LATENESS = 3600.0

NONE_MEANT = "`rules: []` says that there shall be none"

FIELDS = (
    *("name", "enabled", "when", "subjects", "types", "severity", "category", "title", "message", "entity", "key"),
    *("value", *KINDS, "for", "hysteresis", "lateness", "cooldown", "resolve_when", "resolve_after"),
    *("inhibit", "group", "actions", "audience", "record"),
)

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
_WORD = re.compile(r"[A-Za-z0-9_.:@-]{1,64}\Z")


def read(path: Path, known: Mapping[str, Rule] | None = None) -> tuple[Rule, ...]:
    """Reads a rules file; raises BadRules with every mistake in it."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as fault:
        raise BadRules([Mistake(path.name, "", f"cannot be read: {fault.strerror}")]) from None
    return parse(raw, path.name, known)


def parse(
    raw: bytes | str, file: str, known: Mapping[str, Rule] | None = None, alone: bool = False
) -> tuple[Rule, ...]:
    """Makes rules of YAML; raises BadRules with every mistake in it.

    `alone`: there are other rules elsewhere, so that whether those exist that are named here is not looked at.
    """
    if len(raw) > MAX_FILE:
        raise BadRules([Mistake(file, "", f"is larger than {MAX_FILE} bytes")])
    mistakes: list[Mistake] = []
    entries = _entries(raw, file, mistakes)
    text = raw if isinstance(raw, str) else raw.decode(errors="replace")
    rules = make(entries, file, mistakes, text.splitlines(), known or {}, alone)
    if mistakes:
        raise BadRules(mistakes)
    return rules


def parse_rule(entry: Mapping[str, Any], file: str = "", known: Mapping[str, Rule] | None = None) -> Rule:
    """Makes a rule of plain data, such as JSON; raises BadRules. Whether other rules go with it is not looked at."""
    mistakes: list[Mistake] = []
    made = make([entry], file, mistakes, [], known or {}, alone=True)
    if mistakes:
        raise BadRules(mistakes)
    return made[0]


def make(
    entries: Iterable[Any],
    file: str,
    mistakes: list[Mistake],
    lines: list[str],
    known: Mapping[str, Rule],
    alone: bool = False,
) -> tuple[Rule, ...]:
    """Makes rules of entries and appends every mistake."""
    rules: list[Rule] = []
    places: dict[str, Any] = {}
    for place, entry in enumerate(entries, 1):
        name = entry.get("name") if isinstance(entry, Mapping) else None
        label = name[:64] if isinstance(name, str) and name else f"rule {place}"
        if not isinstance(entry, Mapping):
            mistakes.append(Mistake(file, label, "must be a map with name, when and title"))
            continue
        notes: list[Note] = []
        fields = Fields(entry, notes, lines)
        if isinstance(name, str) and name in places:
            fields.note("name", "there is another rule of that name")
        before = known.get(name) if isinstance(name, str) else None
        rule = before if before is not None and before.source == entry else _rule(fields)
        mistakes.extend(
            Mistake(file, label, note.reason, note.field, *note.at) for note in sorted(notes, key=lambda note: note.at)
        )
        if isinstance(name, str):
            places.setdefault(name, fields)
        if rule and not notes:
            rules.append(rule)
    if not alone:
        mistakes.extend(_inhibition(file, rules, places))
    return tuple(rules)


def _entries(raw: bytes | str, file: str, mistakes: list[Mistake]) -> list[Any]:
    try:
        document = load(raw)
    except BadYaml as fault:
        mistakes.append(Mistake(file, "", f"is not YAML: {fault}", "", *fault.position))
        return []
    if document is None:
        # As a file is for a moment while somebody writes it: that must not end all alerts.
        mistakes.append(Mistake(file, "", f"is empty; {NONE_MEANT}"))
        return []
    if not isinstance(document, MarkedMap) or not isinstance(document.get("rules"), (list, type(None))):
        mistakes.append(Mistake(file, "", "must be a map with a list called rules"))
        return []
    if "rules" not in document and ("when" in document or "name" in document):
        said = "is a single rule, and must be a map with a list called rules; put `rules:` above it, and `- ` before its first field"
        mistakes.append(Mistake(file, "", said, "", *document.position))
        return []
    for field in document:
        if field not in ("rules", "tests"):
            where = document.place(field).name
            mistakes.append(Mistake(file, "", f"{shown(field)} is not a field{meant(field, ('rules',))}", "", *where))
    entries: list[Any] | None = document.get("rules")
    if entries is None:
        mistakes.append(Mistake(file, "", f"has no rules; {NONE_MEANT}"))
        return []
    if len(entries) > MAX_RULES:
        mistakes.append(Mistake(file, "", f"has {len(entries)} rules; at most {MAX_RULES} are taken"))
        return []
    return entries


def _rule(fields: Fields) -> Rule | None:
    """Reads one rule, field by field."""
    fields.only(FIELDS)
    name = fields.text("name", longest=64)
    if name and not _NAME.match(name):
        fields.note("name", "use a-z, 0-9, - and _, beginning with a letter")
    chosen = any(kind in fields for kind in ("hysteresis", "rate", "absence", "change", "window"))
    when = fields.made("when", _filter, "true" if chosen else None)
    title = fields.made("title", TextTemplate.compile, "{rule}: {entity}")
    message = fields.made("message", TextTemplate.compile, "")
    severity = fields.choice("severity", [each.value for each in Severity], Severity.WARNING.value)
    rule: dict[str, Any] = {
        "enabled": fields.flag("enabled", True),
        "subjects": fields.words("subjects", (">",), _pattern),
        "types": fields.words("types", (), _type),
        "category": fields.text("category", "general", 64),
        "entity": fields.maybe("entity", Label),
        "key": fields.maybe("key", Label),
        "value": fields.maybe("value", Expression.compile),
        "condition": condition(fields),
        "hold": fields.seconds("for", 0.0, 0, 30 * DAY),
        "lateness": fields.seconds("lateness", 0.0, 0, MAX_LATENESS),
        "cooldown": fields.seconds("cooldown", 60.0, 0, 30 * DAY),
        "resolve_when": fields.maybe("resolve_when", _filter),
        "resolve_after": fields.seconds("resolve_after", None, 1, 30 * DAY),
        "inhibit": _inhibits(fields),
        "group": _group(fields),
        "actions": _actions(fields),
        "audience": fields.words("audience", (), _word),
        "record": _record(fields),
    }
    if fields.notes or not (name and when and title and message and severity):
        return None
    source = plain(fields.entry)
    return Rule(name=name, when=when, title=title, message=message, severity=Severity(severity), source=source, **rule)


def _inhibits(rule: Fields) -> tuple[Inhibit, ...]:
    value = rule.entry.get("inhibit", [])
    entries = value if isinstance(value, list) else [value]
    if len(entries) > MAX_INHIBIT or not all(isinstance(each, Mapping) for each in entries):
        rule.note("inhibit", f"must be a map with by, severity, category and equal, or a list of at most {MAX_INHIBIT}")
        return ()
    return tuple(found for each in entries if (found := _inhibit(rule, rule.under(each, "inhibit."))))


def _inhibit(rule: Fields, fields: Fields) -> Inhibit | None:
    fields.only(("by", "severity", "category", "equal"))
    if not {"by", "severity", "category"} & fields.entry.keys():
        rule.note("inhibit", "needs by (names of rules), severity or category")
        return None
    severity = fields.choice("severity", [each.value for each in Severity]) if "severity" in fields else None
    category = fields.text("category", longest=64) if "category" in fields else None
    equal = fields.words("equal", ("entity",), _label)
    return Inhibit(fields.words("by", (), _name), Severity(severity) if severity else None, category, equal)


def _group(rule: Fields) -> Group | None:
    if "group" not in rule:
        return None
    fields = rule.inner("group", ("by", "wait", "interval"))
    by = fields.made("by", Label) if fields else None
    if fields is None or by is None:
        return None
    wait = fields.seconds("wait", 30.0, 0, DAY)
    interval = fields.seconds("interval", 300.0, 0, 30 * DAY)
    return Group(by, 0.0 if wait is None else wait, 0.0 if interval is None else interval)


def _record(rule: Fields) -> RuleRecord | None:
    if "record" not in rule:
        return None
    fields = rule.inner("record", ("camera", "seconds"))
    camera = fields.made("camera", TextTemplate.compile) if fields else None
    if fields is None or camera is None:
        return None
    seconds = fields.seconds("seconds", 60.0, 1, 31 * DAY)
    return RuleRecord(camera, 60.0 if seconds is None else seconds)


def _actions(rule: Fields) -> tuple[Action, ...]:
    value = rule.entry.get("actions", [])
    if not isinstance(value, list) or len(value) > MAX_ACTIONS:
        rule.note("actions", f"must be a list of at most {MAX_ACTIONS}")
        return ()
    return tuple(found for place, each in enumerate(value, 1) if (found := _action(rule, f"actions {place}", each)))


def _action(rule: Fields, place: str, entry: Any) -> Action | None:
    if not isinstance(entry, Mapping) or ("url" in entry) == ("command" in entry):
        rule.note(place, "must be a map with a label and either url or command", rule.place("actions").value)
        return None
    kind = "url" if "url" in entry else "command"
    fields = rule.under(entry, f"{place}.")
    fields.only(("label", kind))
    label = fields.text("label", longest=80)
    target = fields.text(kind, longest=1000)
    if label is None or target is None:
        return None
    try:
        template = TextTemplate.compile(target)
    except BadTemplate as fault:
        fields.note(kind, str(fault))
        return None
    # Decided by the fixed text, so that no event can make it a script or another host.
    if kind == "url" and not re.match(r"https?://[^/\\]+/|/(?![/\\])", template.start):
        fields.note("url", "must begin with /, or with https:// or http://, a host and /")
        return None
    return Action(label, kind, template)


def _inhibition(file: str, rules: list[Rule], places: Mapping[str, Fields]) -> list[Mistake]:
    """Rules that are named as inhibiting and do not exist."""
    mistakes: list[Mistake] = []
    for rule in rules:
        where = places[rule.name].place("inhibit").value
        for other in (name for each in rule.inhibit for name in each.by if name not in places):
            reason = f"there is no rule {other!r}{meant(other, places)}"
            mistakes.append(Mistake(file, rule.name, reason, "inhibit.by", *where))
    return mistakes


@lru_cache(MAX_SHARED)
def _filter(text: str) -> Filter:
    """Compiles a filter; rules with the same text share it, so that it is evaluated once over an event."""
    return Filter.compile(text)


def _pattern(text: str) -> str:
    try:
        return check_pattern(text)
    except BadPattern as fault:
        raise ValueError(str(fault)) from None


def _type(text: str) -> str:
    if not is_type(text):
        raise ValueError(f"{text[:40]!r} is no event type: lower-case letters, digits and _")
    return text


def _label(text: str) -> str:
    if text not in EQUAL:
        raise ValueError(f"{text[:40]!r} must be {', '.join(EQUAL)}{meant(text, EQUAL)}")
    return text


def _name(text: str) -> str:
    if not _NAME.match(text):
        raise ValueError(f"{text[:40]!r} is no name of a rule")
    return text


def _word(text: str) -> str:
    if not _WORD.match(text):
        raise ValueError(f"{text[:40]!r}: use letters, digits and _ . : @ -")
    return text
