"""This file is where it is decided what somebody may read, publish and command: subject patterns, all else is denied."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from router.subject import MAX_TOKENS, check_pattern, covers, distinct, matches

# What one token may name; a token with more should name wider patterns, and would be too large for a header soon.
MAX_GRANTS = 64
# An event's subject has three tokens at least: domain, entity, type.
_MIN_TOKENS = 3
EVERYTHING = (">",)


@dataclass(frozen=True)
class Grants:
    """What a token allows. `operate` is for those who run the place: dead letters, rules, figures, all sessions."""

    read: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    operate: bool = False

    @classmethod
    def of(
        cls, read: Iterable[str] = (), publish: Iterable[str] = (), command: Iterable[str] = (), operate: bool = False
    ) -> Grants:
        """Builds grants from patterns as written by a person; raises BadPattern."""
        return cls(_checked(read), _checked(publish), _checked(command), operate)

    def may_read(self, subject: str) -> bool:
        return any(matches(pattern, subject) for pattern in self.read)

    def may_publish(self, subject: str) -> bool:
        return any(matches(pattern, subject) for pattern in self.publish)

    def may_command(self, address: str) -> bool:
        """Whether a command may be given; an address is `<actor>.<instance>.<name>`."""
        return any(matches(pattern, address) for pattern in self.command)

    def may_read_all(self, pattern: str) -> bool:
        """Whether every event under a pattern may be read."""
        return contains(self.read, pattern)

    @property
    def read_or_all(self) -> tuple[str, ...] | None:
        """What may be read; None for everything."""
        return None if ">" in self.read else self.read


def _checked(patterns: Iterable[str]) -> tuple[str, ...]:
    return distinct(check_pattern(pattern) for pattern in patterns)


ALL = Grants(EVERYTHING, EVERYTHING, EVERYTHING, True)
NONE = Grants()


def contains(granted: Iterable[str], pattern: str) -> bool:
    """Says whether every subject under a pattern falls under one of those granted.

    A pattern without `>` stands for subjects of one length, and tokens are without number: so a union of grants holds
    it only where one of them does by itself. One with `>` is the union of such patterns, one for each length that a
    subject can have, and each may be held by a grant of its own (`a.>` by `a.*.*` together with `a.*.*.>`).
    """
    wide = tuple(granted)
    if any(covers(one, pattern) for one in wide):
        return True
    if not pattern.endswith(">"):
        return False
    head = pattern.split(".")[:-1]
    shortest = max(len(head) + 1, _MIN_TOKENS)
    return bool(wide) and all(
        any(covers(one, ".".join([*head, *("*" * (length - len(head)))])) for one in wide)
        for length in range(shortest, MAX_TOKENS + 1)
    )


def meet(one: str, other: str) -> str | None:
    """The pattern of the subjects that fall under both; None where there are none."""
    left, right = one.split("."), other.split(".")
    both: list[str] = []
    for place in range(max(len(left), len(right))):
        if place >= len(left) or place >= len(right):
            return None
        a, b = left[place], right[place]
        if a == ">":
            return ".".join(both + right[place:])
        if b == ">":
            return ".".join(both + left[place:])
        if a != b and "*" not in (a, b):
            return None
        both.append(b if a == "*" else a)
    return ".".join(both)


def common(ones: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """The patterns of what falls under one of each list."""
    others = tuple(others)
    return distinct(both for one in ones for other in others if (both := meet(one, other)) is not None)
