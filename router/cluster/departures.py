"""Tells those who wait for a role that another process may have ended, so that they need not ask often whether its leader lives."""

from __future__ import annotations

from collections.abc import Callable


class Departures:
    """What is called when a process has come, has ended, or has not been heard of for so long that it is believed gone."""

    def __init__(self) -> None:
        self._called: list[Callable[[], None]] = []

    def on_departure(self, call: Callable[[], None]) -> None:
        """Calls `call()`, which must not raise, whenever a process may have ended."""
        self._called.append(call)

    def tell(self) -> None:
        """Says that a process may have ended."""
        for call in self._called:
            call()
