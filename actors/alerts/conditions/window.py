"""Aggregates a value over a sliding window of time: avg, min, max, sum, count and percentiles, against a limit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from actors.alerts.conditions import NS
from actors.alerts.conditions.hysteresis import number
from actors.alerts.conditions.limit import Limit
from actors.alerts.conditions.samples import Samples
from router.filter import Activation, Expression

# A key keeps so many samples, 24 bytes each; in a window that had more, the oldest are left out.
MAX_SAMPLES = 1000

FUNCTIONS: dict[str, Callable[[Samples], float]] = {
    # fsum: the same sum whatever came and went before, so that a restart and a back-test compare the same number.
    "avg": lambda samples: math.fsum(samples.values) / len(samples),
    "sum": lambda samples: math.fsum(samples.values),
    "count": lambda samples: float(len(samples)),
    "min": lambda samples: samples.rank(0.0),
    "max": lambda samples: samples.rank(1.0),
    "p50": lambda samples: samples.rank(0.5),
    "p90": lambda samples: samples.rank(0.9),
    "p95": lambda samples: samples.rank(0.95),
    "p99": lambda samples: samples.rank(0.99),
}
_PLAIN = frozenset(["avg", "sum", "count"])


class Window:
    """Is met while the aggregate of the last `over` seconds is beyond a limit; of an empty window it is not."""

    level = True
    hears_misses = False
    compares = False

    def __init__(self, of: Expression, fn: str, over: float, limit: Limit, samples: int = 1) -> None:
        """`samples`: how many there must be at least."""
        self._of = of
        self._fn = fn
        self._seconds = over
        self._over = round(over * NS)
        self._limit = limit
        self._samples = samples
        self.expressions = (of,)

    def describe(self) -> dict[str, Any]:
        limit = self._limit.describe()
        hysteresis = {"hysteresis": limit.pop("hysteresis")} if "hysteresis" in limit else {}
        window = {"of": self._of.text, "fn": self._fn, "over": self._seconds, "samples": self._samples}
        return {"window": {**window, **limit}, **hysteresis}

    def begin(self) -> Samples:
        return Samples(self._over, MAX_SAMPLES, self._fn not in _PLAIN)

    def step(self, memory: Samples, at: int, matched: bool, seen: Activation) -> bool:
        value = number(self._of.value(seen)) if matched else None
        if value is not None and math.isfinite(value):
            memory.add(at, value)
        else:
            memory.expire(at)
        return self._compare(memory)

    def _compare(self, memory: Samples) -> bool:
        memory.holds = self._limit.holds(self.value(memory), memory.holds)
        return memory.holds

    def due(self, memory: Samples) -> int | None:
        return memory.times[0] + self._over if memory.times else None

    def lapse(self, memory: Samples, at: int) -> bool:
        memory.expire(at)
        return self._compare(memory)

    def value(self, memory: Samples) -> float | None:
        if not memory.times or len(memory) < self._samples:
            return None
        return FUNCTIONS[self._fn](memory)

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
