"""Measures how often events match, or how fast a counter grows, in a sliding window of time, against a limit."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from actors.alerts.conditions import NS
from actors.alerts.conditions.hysteresis import number
from actors.alerts.conditions.limit import Limit
from actors.alerts.conditions.samples import Samples
from actors.alerts.conditions.window import MAX_SAMPLES
from router.filter import Activation, Expression

# Events of one key that a rate may have to count, which is its limit times its window.
MAX_EVENTS = 10_000


class MatchRate:
    """Is met while matching events a second, or what a counter gains a second, are beyond a limit.

    Both over the whole window, also where its first event is younger. A counter that falls was set back to 0.
    """

    level = True
    hears_misses = False
    compares = False

    def __init__(self, over: float, limit: Limit, of: Expression | None = None) -> None:
        """`limit` is a second."""
        self._of = of
        self._seconds = over
        self._over = round(over * NS)
        self._limit = limit
        # One more than the limit needs: beyond it, more events make no difference.
        self._most = min(MAX_EVENTS, math.floor(limit.highest * over) + 1) if of is None else MAX_SAMPLES
        self.expressions = (of,) if of is not None else ()

    def describe(self) -> dict[str, Any]:
        limit = self._limit.describe()
        hysteresis = {"hysteresis": limit.pop("hysteresis")} if "hysteresis" in limit else {}
        of = {"of": self._of.text} if self._of else {}
        return {"rate": {"over": self._seconds, **of, **limit}, **hysteresis}

    def begin(self) -> Samples:
        return Samples(self._over, max(1, self._most), False)

    def step(self, memory: Samples, at: int, matched: bool, seen: Activation) -> bool:
        value = 1.0 if self._of is None else number(self._of.value(seen))
        if matched and value is not None and math.isfinite(value):
            memory.add(at, value)
        else:
            memory.expire(at)
        return self._compare(memory)

    def _compare(self, memory: Samples) -> bool:
        # Of a key that was first seen a moment ago nobody knows yet that it is slow.
        known = memory.began is not None and (self._limit.above or memory.now >= memory.began + self._over)
        memory.holds = self._limit.holds(self.value(memory) if known else None, memory.holds)
        return memory.holds

    def due(self, memory: Samples) -> int | None:
        if memory.times:
            return memory.times[0] + self._over
        whole = None if memory.began is None else memory.began + self._over
        return whole if whole is not None and whole > memory.now else None

    def lapse(self, memory: Samples, at: int) -> bool:
        memory.expire(at)
        return self._compare(memory)

    def value(self, memory: Samples) -> float:
        if self._of is None:
            return len(memory) / self._seconds
        values = memory.values
        gained = (new - old if new >= old else new for old, new in pairwise(values))
        return math.fsum(gained) / self._seconds

    def count(self, memory: Samples) -> int:
        return max(1, len(memory))

    def reset(self, memory: Samples) -> None:
        memory.clear()

    def assume(self, memory: Samples, at: int) -> None:
        memory.holds = True

    def dump(self, memory: Samples) -> list[Any] | None:
        return memory.dump()

    def load(self, raw: Any) -> Samples:
        samples = self.begin()
        samples.load(raw)
        return samples
