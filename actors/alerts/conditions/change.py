"""Compares a value of each matching event with the value before it, or with those of a time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from actors.alerts.conditions import NS
from actors.alerts.conditions.hysteresis import number
from router.filter import Activation, Expression

Scalar = str | int | float | bool

# Values that are remembered of a key where a change is measured over a time; the oldest makes room.
MAX_VALUES = 100
# Characters of a text that are compared.
MAX_TEXT = 200


@dataclass(frozen=True)
class ChangeTo:
    """Which changes count: from or to a value (None: any), by so much, by so many percent of the value before."""

    start: Scalar | None = None
    end: Scalar | None = None
    by: float | None = None
    by_percent: float | None = None


@dataclass(slots=True)
class Values:
    """The newest values of a key with their times in ns, the newest last."""

    kept: deque[tuple[int, Scalar]] = field(default_factory=lambda: deque(maxlen=MAX_VALUES))


class ValueChange:
    """Is met by each event whose value differs from the one before it by what the rule says.

    With `within`, the value is compared with each one of the last `within` seconds. The first value of a key is no change,
    and an event older than the newest is passed over.
    """

    level = False
    hears_misses = False
    compares = True

    def __init__(self, of: Expression, wanted: ChangeTo, within: float | None = None) -> None:
        self._of = of
        self._wanted = wanted
        self._seconds = within
        self._within = None if within is None else round(within * NS)
        self.expressions = (of,)

    def describe(self) -> dict[str, Any]:
        wanted = self._wanted
        found = {"of": self._of.text, "from": wanted.start, "to": wanted.end, "by": wanted.by}
        found |= {"by_percent": wanted.by_percent, "within": self._seconds}
        return {"change": {name: value for name, value in found.items() if value is not None}}

    def begin(self) -> Values:
        return Values()

    def step(self, memory: Values, at: int, matched: bool, seen: Activation) -> bool:
        value = self._of.value(seen) if matched else None
        kept = memory.kept
        if value is None or (kept and at < kept[-1][0]):
            return False
        if isinstance(value, str):
            value = value[:MAX_TEXT]
        if self._within is None:
            found = bool(kept) and self._differs(kept[-1][1], value)
            kept.clear()
        else:
            while kept and kept[0][0] < at - self._within:
                kept.popleft()
            found = any(self._differs(before, value) for _, before in kept)
        kept.append((at, value))
        return found

    def _differs(self, before: Scalar, value: Scalar) -> bool:
        wanted = self._wanted
        if same(before, value):
            return False
        if wanted.start is not None and not same(before, wanted.start):
            return False
        if wanted.end is not None and not same(value, wanted.end):
            return False
        if wanted.by is None and wanted.by_percent is None:
            return True
        old, new = number(before), number(value)
        if old is None or new is None:
            return False
        by = abs(new - old)
        if wanted.by is not None and by < wanted.by:
            return False
        return wanted.by_percent is None or by >= abs(old) * wanted.by_percent / 100

    def due(self, memory: Values) -> int | None:
        return None

    def lapse(self, memory: Values, at: int) -> bool:
        return False

    def value(self, memory: Values) -> Scalar | None:
        return memory.kept[-1][1] if memory.kept else None

    def count(self, memory: Values) -> int:
        return 1

    def reset(self, memory: Values) -> None:
        # What the value is stays known when an alert about its change ends.
        pass

    def assume(self, memory: Values, at: int) -> None:
        pass

    def dump(self, memory: Values) -> list[Any] | None:
        return [list(each) for each in memory.kept] or None

    def load(self, raw: Any) -> Values:
        values = Values()
        for at, value in raw:
            if not isinstance(value, (str, int, float)):
                raise TypeError("a value is a text, a number or a bool")
            values.kept.append((int(at), value))
        return values


def same(one: Scalar, other: Scalar) -> bool:
    """Whether two values are the same; true is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
