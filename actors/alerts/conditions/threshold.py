"""Counts matching events within a time."""

from __future__ import annotations

from typing import Any

from actors.alerts.conditions import NS
from router.filter import Activation, Expression


class Threshold:
    """Is met by the match that makes it `count` within `within` seconds, and by each further one of as many."""

    level = False
    hears_misses = False
    compares = False
    expressions: tuple[Expression, ...] = ()

    def __init__(self, count: int, within: float) -> None:
        self._count = count
        self._seconds = within
        self._within = round(within * NS)

    def describe(self) -> dict[str, Any]:
        return {"threshold": {"count": self._count, "within": self._seconds}}

    def begin(self) -> list[int]:
        return []

    def step(self, memory: list[int], at: int, matched: bool, seen: Activation) -> bool:
        if self._count == 1:
            return matched
        memory.append(at)
        # Measured both ways, so that one event from the future does not keep those that follow from being counted.
        while len(memory) > self._count or abs(at - memory[0]) > self._within:
            del memory[0]
        return len(memory) >= self._count

    def due(self, memory: list[int]) -> int | None:
        return None

    def lapse(self, memory: list[int], at: int) -> bool:
        return False

    def value(self, memory: list[int]) -> None:
        return None

    def count(self, memory: list[int]) -> int:
        return self._count

    def reset(self, memory: list[int]) -> None:
        memory.clear()

    def assume(self, memory: list[int], at: int) -> None:
        pass

    def dump(self, memory: list[int]) -> list[int] | None:
        return list(memory) or None

    def load(self, raw: Any) -> list[int]:
        return list(map(int, raw))
