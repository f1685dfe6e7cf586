"""Decides, for one rule and key, whether a condition is met: one module for each kind.

A condition keeps nothing itself: what it must remember of a key is a memory that it makes, changes, and writes as JSON.
"""

from __future__ import annotations

from typing import Any, Protocol

from router.filter import Activation, Expression

NS = 1_000_000_000


class Condition(Protocol):
    """One kind of condition, as one rule sets it. All times are ns since the epoch, of the events."""

    @property
    def level(self) -> bool:
        """Whether it holds for some time and ends by itself; else each time that it is met is a match of its own."""

    @property
    def hears_misses(self) -> bool:
        """Whether it wants events of a known key that do not match."""

    @property
    def compares(self) -> bool:
        """Whether it compares events with one another, so that one that is no match, or ends the alert, matters to it too."""

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """What it evaluates over each matching event."""

    def describe(self) -> dict[str, Any]:
        """The fields of the rule that made it, without those that say nothing."""

    def begin(self) -> Any:
        """Makes the memory of a new key."""

    def step(self, memory: Any, at: int, matched: bool, seen: Activation) -> bool:
        """Takes an event; says whether the condition is met now."""

    def due(self, memory: Any) -> int | None:
        """The moment at which the answer may change without an event."""

    def lapse(self, memory: Any, at: int) -> bool:
        """Takes a moment that was due; says whether the condition is met now."""

    def value(self, memory: Any) -> Any:
        """The number that was compared, None where there is none."""

    def count(self, memory: Any) -> int:
        """How many matches an alert that begins now has."""

    def reset(self, memory: Any) -> None:
        """Forgets what was counted, because the alert was ended or the key is given up."""

    def assume(self, memory: Any, at: int) -> None:
        """Takes it that it is met since a moment, because its alert is stored as firing and nothing else is known."""

    def dump(self, memory: Any) -> Any:
        """The memory as JSON; None where there is nothing worth keeping."""

    def load(self, raw: Any) -> Any:
        """The memory that `dump` wrote. Raises ValueError, TypeError or LookupError for anything else."""
