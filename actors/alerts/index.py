"""Finds the rules that look at an event: a trie over the subject's tokens, and behind each pattern the types."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from router.patterns import Patterns


class Indexed(Protocol):
    """What is found: it has patterns, types (none: all), and a place in the order of what is found."""

    @property
    def subjects(self) -> tuple[str, ...]: ...

    @property
    def types(self) -> tuple[str, ...]: ...

    @property
    def order(self) -> int: ...


R = TypeVar("R", bound=Indexed)


class _Bucket(Generic[R]):
    """The rules of one pattern: those for every type, and those for one."""

    __slots__ = ("every", "typed")

    def __init__(self) -> None:
        self.every: dict[int, R] = {}
        self.typed: dict[str, dict[int, R]] = {}


class RuleIndex(Generic[R]):
    """Rules by subject pattern and type. What a search costs depends on what is found, not on how many rules there are."""

    def __init__(self, rules: Iterable[R] = ()) -> None:
        self._patterns: Patterns[_Bucket[R]] = Patterns()
        for rule in rules:
            self.add(rule)

    def add(self, rule: R) -> None:
        """Adds a rule."""
        for pattern in rule.subjects:
            bucket = self._patterns.get(pattern)
            if bucket is None:
                bucket = _Bucket()
                self._patterns.set(pattern, bucket)
            for rules in [bucket.typed.setdefault(each, {}) for each in rule.types] or [bucket.every]:
                rules[id(rule)] = rule

    def remove(self, rule: R) -> None:
        """Removes a rule that was added."""
        for pattern in rule.subjects:
            bucket = self._patterns.get(pattern)
            if bucket is None:
                continue
            bucket.every.pop(id(rule), None)
            for each in rule.types:
                if (rules := bucket.typed.get(each)) is not None:
                    rules.pop(id(rule), None)
                    if not rules:
                        del bucket.typed[each]
            if not bucket.every and not bucket.typed:
                self._patterns.remove(pattern)

    def find(self, subject: str, type: str) -> list[R]:
        """The rules that look at events of a subject and type, each once, by their order."""
        found: dict[int, R] = {}
        for bucket in self._patterns.matching(subject):
            found.update(bucket.every)
            if (typed := bucket.typed.get(type)) is not None:
                found.update(typed)
        return sorted(found.values(), key=_order) if len(found) > 1 else list(found.values())


def _order(rule: Indexed) -> int:
    return rule.order
