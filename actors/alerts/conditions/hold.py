"""Holds from a matching event until one of the same key that does not match: what `for` measures."""

from __future__ import annotations

from typing import Any

from router.filter import Activation, Expression


class Hold:
    """Is met while the newest event of the key matched. An event older than the newest changes nothing."""

    level = True
    hears_misses = True
    compares = False
    expressions: tuple[Expression, ...] = ()

    def describe(self) -> dict[str, Any]:
        return {}

    def begin(self) -> list[int]:
        # Whether the newest event matched, its time, and how many have matched in a row.
        return [0, 0, 0]

    def step(self, memory: list[int], at: int, matched: bool, seen: Activation) -> bool:
        if at >= memory[1]:
            memory[0], memory[1] = int(matched), at
        memory[2] = memory[2] + matched if memory[0] else 0
        return bool(memory[0])

    def due(self, memory: list[int]) -> int | None:
        return None

    def lapse(self, memory: list[int], at: int) -> bool:
        return bool(memory[0])

    def value(self, memory: list[int]) -> None:
        return None

    def count(self, memory: list[int]) -> int:
        return max(1, memory[2])

    def reset(self, memory: list[int]) -> None:
        memory[:] = [0, 0, 0]

    def assume(self, memory: list[int], at: int) -> None:
        memory[:] = [1, at, 1]

    def dump(self, memory: list[int]) -> list[int] | None:
        return list(memory) if memory[1] else None

    def load(self, raw: Any) -> list[int]:
        holds, at, count = map(int, raw)
        return [holds, at, count]
