"""Compares a value of each matching event with a limit from which it fires and one at which it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actors.alerts.conditions.limit import Limit
from router.filter import Activation, Expression


@dataclass(slots=True)
class Level:
    """What is known of one key: whether the limit was passed, the newest value and its time in ns."""

    holds: bool = False
    at: int = 0
    value: float | None = None


class Hysteresis:
    """Is met from the value that passes one limit until one that passes the other. An older event changes nothing."""

    level = True
    hears_misses = False
    compares = False

    def __init__(self, of: Expression, limit: Limit) -> None:
        self._of = of
        self._limit = limit
        self.expressions = (of,)

    def describe(self) -> dict[str, Any]:
        return {"hysteresis": {"of": self._of.text, **self._limit.describe()["hysteresis"]}}

    def begin(self) -> Level:
        return Level()

    def step(self, memory: Level, at: int, matched: bool, seen: Activation) -> bool:
        value = number(self._of.value(seen)) if matched and at >= memory.at else None
        if value is not None:
            memory.holds = self._limit.holds(value, memory.holds)
            memory.at, memory.value = at, value
        return memory.holds

    def due(self, memory: Level) -> int | None:
        return None

    def lapse(self, memory: Level, at: int) -> bool:
        return memory.holds

    def value(self, memory: Level) -> float | None:
        return memory.value

    def count(self, memory: Level) -> int:
        return 1

    def reset(self, memory: Level) -> None:
        memory.holds = False

    def assume(self, memory: Level, at: int) -> None:
        memory.holds, memory.at = True, at

    def dump(self, memory: Level) -> list[Any] | None:
        return [memory.holds, memory.at, memory.value] if memory.at else None

    def load(self, raw: Any) -> Level:
        holds, at, value = raw
        return Level(bool(holds), int(at), None if value is None else float(value))


def number(value: object) -> float | None:
    """A value that can be compared with a limit; None for everything else, numbers without a size among them."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if found == found else None
