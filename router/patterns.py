"""Finds, among many subject patterns, those that match a subject, cover a pattern, are covered by one or overlap with one.

The patterns lie in a trie by token, so what a search costs depends on the tokens and on what is found, not on how many
patterns there are. What each relation means is defined by the functions of the same names in `router.subject`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

V = TypeVar("V")


class _Node(Generic[V]):
    """The node behind some tokens: the value of the pattern that ends here, of the one with `>` next, and more tokens."""

    __slots__ = ("children", "end", "rest")

    def __init__(self) -> None:
        # `*` is a token among them: no subject has it.
        self.children: dict[str, _Node[V]] = {}
        self.end: V | None = None
        self.rest: V | None = None

    @property
    def is_empty(self) -> bool:
        return not self.children and self.end is None and self.rest is None


class Patterns(Generic[V]):
    """A value for each of some patterns."""

    def __init__(self) -> None:
        self._root: _Node[V] = _Node()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def get(self, pattern: str) -> V | None:
        """The value of a pattern; None where it has none."""
        node = self._root
        for token in pattern.split("."):
            if token == ">":
                return node.rest
            child = node.children.get(token)
            if child is None:
                return None
            node = child
        return node.end

    def set(self, pattern: str, value: V) -> None:
        """Gives a pattern a value."""
        node = self._root
        for token in pattern.split("."):
            if token == ">":
                self._count += node.rest is None
                node.rest = value
                return
            child = node.children.get(token)
            if child is None:
                child = node.children[token] = _Node()
            node = child
        self._count += node.end is None
        node.end = value

    def remove(self, pattern: str) -> V | None:
        """Removes a pattern and returns its value; None where it has none."""
        path: list[tuple[_Node[V], str]] = []
        node = self._root
        for token in pattern.split("."):
            path.append((node, token))
            if token == ">":
                break
            child = node.children.get(token)
            if child is None:
                return None
            node = child
        if pattern.endswith(">"):
            value, node.rest = node.rest, None
        else:
            value, node.end = node.end, None
        self._count -= value is not None
        for parent, token in reversed(path):
            if token != ">" and parent.children[token].is_empty:
                del parent.children[token]
        return value

    def matching(self, subject: str) -> list[V]:
        """The values of the patterns that a subject falls under."""
        found: list[V] = []
        nodes = [self._root]
        for token in subject.split("."):
            following: list[_Node[V]] = []
            for node in nodes:
                if node.rest is not None:
                    found.append(node.rest)
                if (child := node.children.get(token)) is not None:
                    following.append(child)
                if (child := node.children.get("*")) is not None:
                    following.append(child)
            nodes = following
        found.extend([node.end for node in nodes if node.end is not None])
        return found

    def covering(self, pattern: str) -> Iterator[V]:
        """The values of the patterns that cover a pattern, its own among them."""
        nodes = [self._root]
        for token in pattern.split("."):
            following: list[_Node[V]] = []
            for node in nodes:
                if node.rest is not None:
                    yield node.rest
                if token != ">":
                    following += [node.children[each] for each in {token, "*"} if each in node.children]
            nodes = following
        yield from (node.end for node in nodes if node.end is not None)

    def covered(self, pattern: str) -> Iterator[V]:
        """The values of the patterns that a pattern covers, its own among them."""
        nodes = [self._root]
        for token in pattern.split("."):
            if token == ">":
                for node in nodes:
                    yield from self._below(node)
                return
            if token == "*":
                nodes = [child for node in nodes for child in node.children.values()]
            else:
                nodes = [node.children[token] for node in nodes if token in node.children]
        yield from (node.end for node in nodes if node.end is not None)

    def overlapping(self, pattern: str) -> Iterator[V]:
        """The values of the patterns that have a subject in common with a pattern."""
        nodes = [self._root]
        for token in pattern.split("."):
            if token == ">":
                for node in nodes:
                    yield from self._below(node)
                return
            following: list[_Node[V]] = []
            for node in nodes:
                if node.rest is not None:
                    yield node.rest
                if token == "*":
                    following += node.children.values()
                else:
                    following += [node.children[each] for each in (token, "*") if each in node.children]
            nodes = following
        yield from (node.end for node in nodes if node.end is not None)

    @staticmethod
    def _below(top: _Node[V]) -> Iterator[V]:
        """The values of all patterns with at least one token more."""
        nodes = [top]
        while nodes:
            node = nodes.pop()
            if node.rest is not None:
                yield node.rest
            if node.end is not None and node is not top:
                yield node.end
            nodes += node.children.values()


class Widest:
    """Counts how often each pattern is wanted, and knows those of them that no other one covers: `found`."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._counts: dict[str, int] = {}
        self._patterns: Patterns[str] = Patterns()

    def add(self, pattern: str) -> tuple[list[str], list[str]]:
        """Wants a pattern once more; returns what that adds to `found`, and what it takes from it."""
        count = self._counts[pattern] = self._counts.get(pattern, 0) + 1
        if count > 1:
            return [], []
        self._patterns.set(pattern, pattern)
        if self._is_covered(pattern):
            return [], []
        gone = [other for other in self._patterns.covered(pattern) if other in self.found]
        self.found.difference_update(gone)
        self.found.add(pattern)
        return [pattern], gone

    def remove(self, pattern: str) -> tuple[list[str], list[str]]:
        """Takes back one `add`; returns what that adds to `found`, and what it takes from it."""
        self._counts[pattern] -= 1
        if self._counts[pattern]:
            return [], []
        del self._counts[pattern]
        self._patterns.remove(pattern)
        if pattern not in self.found:
            return [], []
        self.found.discard(pattern)
        came = [other for other in self._patterns.covered(pattern) if not self._is_covered(other)]
        self.found.update(came)
        return came, [pattern]

    def _is_covered(self, pattern: str) -> bool:
        return any(other != pattern for other in self._patterns.covering(pattern))
