"""Compares a number with a limit, or with two: one from which it holds and one at which it ends (hysteresis)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Limit:
    """Holds from `fire` on until `resolve` is passed the other way; both are the same where there is no hysteresis.

    `above` says on which side of `fire` it begins to hold. Neither limit itself is passed by a number that equals it,
    except that a limit without hysteresis ends as soon as its number is not beyond it any more.
    """

    above: bool
    fire: float
    resolve: float | None = None

    def holds(self, value: float | None, held: bool) -> bool:
        """Whether it holds for a number, where it held before or not; for no number it does not."""
        if value is None:
            return False
        if value > self.fire if self.above else value < self.fire:
            return True
        if not held or self.resolve is None:
            return False
        return value >= self.resolve if self.above else value <= self.resolve

    @property
    def highest(self) -> float:
        """The larger of the limits."""
        return self.fire if self.resolve is None else max(self.fire, self.resolve)

    def describe(self) -> dict[str, Any]:
        """The fields of a rule that say the same."""
        side, other = ("above", "below") if self.above else ("below", "above")
        if self.resolve is None:
            return {side: self.fire}
        return {"hysteresis": {f"fire_{side}": self.fire, f"resolve_{other}": self.resolve}}
