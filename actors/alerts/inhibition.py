"""Knows which alerts keep others from being raised, and who waits for them to end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from actors.alerts.rules import Inhibit, Rule

Labels = tuple[str, ...]


class _Clause(NamedTuple):
    """One kind of inhibition; equal ones of several rules are one, except for a rule that would inhibit itself."""

    inhibit: Inhibit
    target: str


class Inhibition:
    """Counts the firing alerts that inhibit, by what they and the inhibited ones must have in common."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._targets: dict[str, list[_Clause]] = {}
        self._feeds: dict[str, list[_Clause]] = {}
        self._firing: Counter[tuple[_Clause, Labels]] = Counter()
        self._waiting: dict[tuple[_Clause, Labels], set[tuple[str, str]]] = {}
        rules = list(rules)
        clauses: dict[_Clause, None] = {}
        for rule in rules:
            for inhibit in rule.inhibit:
                clause = _Clause(inhibit, rule.name if _matches(inhibit, rule) else "")
                clauses[clause] = None
                self._targets.setdefault(rule.name, []).append(clause)
        named = {rule.name: rule for rule in rules}
        for clause in clauses:
            # By name each is found at once; the others are few, however many rules there are, for equal ones are one.
            by = clause.inhibit.by
            for rule in [named[name] for name in dict.fromkeys(by) if name in named] if by else rules:
                if _matches(clause.inhibit, rule) and rule.name != clause.target:
                    self._feeds.setdefault(rule.name, []).append(clause)

    def hears(self, rule: str) -> bool:
        """Whether the alerts of a rule inhibit others."""
        return rule in self._feeds

    def fired(self, rule: str, labels: dict[str, str]) -> None:
        """Notes that an alert fires."""
        for clause in self._feeds.get(rule, ()):
            self._firing[clause, _cut(clause, labels)] += 1

    def ended(self, rule: str, labels: dict[str, str]) -> set[tuple[str, str]]:
        """Notes that an alert has ended; returns those that waited for it, as rule and key."""
        woken: set[tuple[str, str]] = set()
        for clause in self._feeds.get(rule, ()):
            place = clause, _cut(clause, labels)
            self._firing[place] -= 1
            if self._firing[place] <= 0:
                del self._firing[place]
                woken |= self._waiting.pop(place, set())
        return woken

    def holds(self, rule: str, key: str, labels: dict[str, str]) -> bool:
        """Whether an alert of a rule is inhibited; if so, it is told when the one that inhibits it ends."""
        for clause in self._targets.get(rule, ()):
            place = clause, _cut(clause, labels)
            if self._firing.get(place):
                self._waiting.setdefault(place, set()).add((rule, key))
                return True
        return False


def ranks(rules: Iterable[Rule]) -> dict[str, int]:
    """The order in which rules look at one event: those that inhibit before those that they inhibit."""
    known = {rule.name: rule for rule in rules}
    found: dict[str, int] = {}

    def rank(name: str, above: frozenset[str]) -> int:
        rule = known.get(name)
        # In a circle each comes before some other one.
        if rule is None or name in above or not rule.inhibit:
            return 0
        if name not in found:
            names = {other for each in rule.inhibit for other in each.by}
            found[name] = 1 + max((rank(other, above | {name}) for other in names), default=0)
        return found[name]

    return {name: rank(name, frozenset()) for name in known}


def _matches(inhibit: Inhibit, rule: Rule) -> bool:
    """Whether alerts of a rule are among those that inhibit."""
    if inhibit.by and rule.name not in inhibit.by:
        return False
    if inhibit.severity is not None and rule.severity is not inhibit.severity:
        return False
    return inhibit.category is None or rule.category == inhibit.category


def _cut(clause: _Clause, labels: dict[str, str]) -> Labels:
    return tuple(labels.get(name, "") for name in clause.inhibit.equal)
