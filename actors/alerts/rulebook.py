"""Holds the rules in force: those of a file, and those that were made by the API, each read again where it changes."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.alerts.parser import parse, read
from actors.alerts.rules import BadRules, Mistake, Rule
from router.rule_store import StoredRule

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).with_name("rules.yaml")
# What hundreds of mistakes say about themselves.
MAX_MISTAKES = 50
# What mistakes of rules of the API name as their file.
API = "rules"

# When a rules file was written, how long it is, which file it is: another answer means that it changed.
_Stamp = tuple[int, int, int]


class RuleBook:
    """The rules by name; those of the file come first, and a rule of the API may not have the name of one of them."""

    def __init__(self, file: Path) -> None:
        self.file = file
        # Whether rules have been read at all: without, no alert may end because its rule is gone.
        self.is_read = False
        self._stamp: _Stamp | None = None
        self._seen: _Stamp | None = None
        self._looked = False
        self._of_file: dict[str, Rule] = {}
        self._of_api: dict[str, tuple[str, Rule | None, list[str]]] = {}
        self._disabled: set[str] = set()
        self._warned: frozenset[str] = frozenset()

    @property
    def rules(self) -> list[Rule]:
        """The rules in force."""
        return [*self._of_file.values(), *(rule for name, rule in self._valid.items() if name not in self._disabled)]

    @property
    def _valid(self) -> dict[str, Rule]:
        return {
            name: rule for name, (_, rule, _) in self._of_api.items() if rule is not None and name not in self._of_file
        }

    @property
    def names_of_file(self) -> frozenset[str]:
        """The rules of the file."""
        return frozenset(self._of_file)

    @property
    def disabled_by_text(self) -> frozenset[str]:
        """The rules of the API that are not in force only because their text says `enabled: false`."""
        return frozenset(name for name, rule in self._valid.items() if not rule.enabled and name not in self._disabled)

    @property
    def mistakes_of_api(self) -> list[str]:
        """Why stored rules are not in force, though somebody enabled them."""
        found = [mistake for _, _, mistakes in self._of_api.values() for mistake in mistakes]
        return [
            *found,
            *(f"{API}: {name}: the file {self.file.name} has a rule of that name" for name in self.taken_over),
        ]

    @property
    def taken_over(self) -> list[str]:
        """The rules of the API that are not in force because the file has rules of their names."""
        return sorted(self._of_api.keys() & self._of_file.keys())

    def warn_of_taken_over(self) -> None:
        """Logs each rule of the API that a rule of the file has put out of force since the last call."""
        for name in (names := self.taken_over):
            if name not in self._warned:
                log.warning(
                    "alert rule of the API is not in force; the rule of its name in the rules file is",
                    extra={"rule": name, "file": str(self.file)},
                )
        self._warned = frozenset(names)

    def look(self) -> bool:
        """Whether the file has changed since it was read last, and is as it was at the last look: nobody writes it now."""
        seen, before = _stamp(self.file), self._seen
        self._seen = seen
        if self._looked and (seen == self._stamp or seen != before):
            return False
        self._stamp, self._looked = seen, True
        return True

    def load(self) -> tuple[Rule, ...]:
        """Reads the file; what stands there as before is not compiled again. Raises BadRules; the rules stay as they were then."""
        if self._stamp is None and self.file == SHIPPED:
            return ()
        return read(self.file, self._of_file)

    def take_file(self, rules: Iterable[Rule]) -> None:
        """Takes these rules for those of the file."""
        self._of_file = {rule.name: rule for rule in rules}
        self.is_read = True

    def read_stored(self, stored: Mapping[str, StoredRule]) -> dict[str, tuple[str, Rule | None, list[str]]]:
        """Parses the rules of the API, those that have changed since the last time."""
        found: dict[str, tuple[str, Rule | None, list[str]]] = {}
        for name, rule in stored.items():
            known = self._of_api.get(name)
            found[name] = known if known is not None and known[0] == rule.text else _parsed(name, rule.text)
        return found

    def take_stored(
        self, parsed: dict[str, tuple[str, Rule | None, list[str]]], stored: Mapping[str, StoredRule]
    ) -> None:
        """Takes parsed rules for those of the API."""
        self._of_api = parsed
        self._disabled = {name for name, rule in stored.items() if not rule.enabled}


def _parsed(name: str, text: str) -> tuple[str, Rule | None, list[str]]:
    try:
        rule = parse_one(text)
        if rule.name != name:
            return text, None, [f"{API}: {name}: calls itself {rule.name}"]
        return text, rule, []
    except BadRules as fault:
        mistakes = [str(mistake) for mistake in fault.mistakes[:MAX_MISTAKES]]
        log.error("stored alert rule is invalid and not in force", extra={"rule": name, "mistakes": mistakes})
        return text, None, mistakes


def parse_one(text: str, file: str = API) -> Rule:
    """Makes the one rule of a text in YAML or JSON. Raises BadRules whose places are those of the text."""
    if text.lstrip().startswith("{"):
        head, lines, columns = '{"rules": [', 0, 11
        wrapped = f"{head}{text}\n]}}"
    else:
        wrapped, lines, columns = "rules:\n-\n" + textwrap.indent(text, "  "), 2, 2
    try:
        rules = parse(wrapped, file, alone=True)
    except BadRules as fault:
        raise BadRules([_moved(mistake, lines, columns) for mistake in fault.mistakes]) from None
    if len(rules) != 1:
        raise BadRules([Mistake(file, "", "must be one rule: a map with name, when and title")])
    return rules[0]


def _moved(mistake: Mistake, lines: int, columns: int) -> Mistake:
    """A mistake at its place in the text that was wrapped."""
    if mistake.line <= lines:
        return replace(mistake, line=0, column=0) if mistake.line else mistake
    indented = columns if lines or mistake.line == 1 else 0
    return replace(mistake, line=mistake.line - lines, column=max(1, mistake.column - indented))


def described(mistake: Mistake) -> dict[str, Any]:
    """A mistake as answers show it."""
    return mistake.describe()


def _stamp(file: Path) -> _Stamp | None:
    try:
        seen = file.stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino
