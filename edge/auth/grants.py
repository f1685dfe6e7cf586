"""Grants: the subject patterns that a principal may read, publish and command; everything else is denied."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from router.subject import check_pattern, contains, distinct, matches

# Per right and token: a token with more should use wider patterns, and would soon be too large for a header.
MAX_GRANTS = 64
EVERYTHING = (">",)


@dataclass(frozen=True)
class Grants:
    """What a token allows. `operate` is for operators: dead letters, rules, metrics, all sessions.

    `sessions` are the ids of sessions whose endpoint alone the token shows and manages: such a token has no other right.
    """

    read: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    operate: bool = False
    sessions: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, read: Iterable[str] = (), publish: Iterable[str] = (), command: Iterable[str] = (), operate: bool = False
    ) -> Grants:
        """Builds grants from patterns as a token states them. Raises BadPattern."""
        return cls(_checked(read), _checked(publish), _checked(command), operate)

    def may_read(self, subject: str) -> bool:
        return any(matches(pattern, subject) for pattern in self.read)

    def may_publish(self, subject: str) -> bool:
        # Most may publish everything, as all may where authentication is off.
        return self.publish == EVERYTHING or any(matches(pattern, subject) for pattern in self.publish)

    def may_command(self, address: str) -> bool:
        """Whether a command is granted; an address is `<actor>.<instance>.<name>`."""
        return any(matches(pattern, address) for pattern in self.command)

    def may_read_all(self, pattern: str) -> bool:
        """Whether every subject under a pattern may be read."""
        return contains(self.read, pattern)

    @property
    def read_or_all(self) -> tuple[str, ...] | None:
        """The read patterns; None for everything."""
        return None if ">" in self.read else self.read


def _checked(patterns: Iterable[str]) -> tuple[str, ...]:
    return distinct(check_pattern(pattern) for pattern in patterns)


ALL = Grants(EVERYTHING, EVERYTHING, EVERYTHING, True)
NONE = Grants()
