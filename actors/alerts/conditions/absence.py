"""Waits for the next matching event of a key, and is met where none comes for so long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actors.alerts.conditions import NS
from router.filter import Activation, Expression


@dataclass(slots=True)
class Waiting:
    """The newest event of a key in ns, None where nothing is waited for; and whether the next one is overdue."""

    last: int | None = None
    overdue: bool = False


class Absence:
    """Is met `after` seconds behind the newest matching event of a key, until the next one. Keys never seen are not missed."""

    level = True
    hears_misses = False
    compares = False
    expressions: tuple[Expression, ...] = ()

    def __init__(self, after: float) -> None:
        self._seconds = after
        self._after = round(after * NS)

    def describe(self) -> dict[str, Any]:
        return {"absence": self._seconds}

    def begin(self) -> Waiting:
        return Waiting()

    def step(self, memory: Waiting, at: int, matched: bool, seen: Activation) -> bool:
        memory.last = at if memory.last is None else max(memory.last, at)
        # One that comes late, and is so old that the next one is overdue all the same, ends nothing.
        memory.overdue = memory.overdue and memory.last > at
        return memory.overdue

    def due(self, memory: Waiting) -> int | None:
        return None if memory.last is None or memory.overdue else memory.last + self._after

    def lapse(self, memory: Waiting, at: int) -> bool:
        memory.overdue = memory.overdue or (memory.last is not None and at >= memory.last + self._after)
        return memory.overdue

    def value(self, memory: Waiting) -> None:
        return None

    def count(self, memory: Waiting) -> int:
        return 1

    def reset(self, memory: Waiting) -> None:
        memory.last, memory.overdue = None, False

    def assume(self, memory: Waiting, at: int) -> None:
        memory.last, memory.overdue = at, True

    def dump(self, memory: Waiting) -> list[Any] | None:
        return None if memory.last is None else [memory.last, memory.overdue]

    def load(self, raw: Any) -> Waiting:
        last, overdue = raw
        return Waiting(int(last), bool(overdue))
