"""Puts the clock of single modules forward, so that what takes minutes is tested in none and on a machine of any speed."""

from __future__ import annotations

import time
from typing import Any

import pytest


class Clock:
    """Stands in for the module `time`: what it says is later by what it was put forward, or stands still between that."""

    def __init__(self, standing: bool = False) -> None:
        self._ahead = 0.0
        self._standing = (time.time(), time.monotonic()) if standing else None

    def time(self) -> float:
        return (self._standing[0] if self._standing else time.time()) + self._ahead

    def monotonic(self) -> float:
        return (self._standing[1] if self._standing else time.monotonic()) + self._ahead

    def time_ns(self) -> int:
        return int(self.time() * 1e9)

    def advance(self, seconds: float) -> None:
        """Puts the clock forward."""
        self._ahead += seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def set_clock(monkeypatch: pytest.MonkeyPatch, *modules: str, standing: bool = False) -> Clock:
    """Gives these modules, which say `import time`, a clock of the test's own until it ends."""
    clock = Clock(standing)
    for module in modules:
        monkeypatch.setattr(f"{module}.time", clock)
    return clock
