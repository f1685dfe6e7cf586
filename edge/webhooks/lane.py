"""This file is where the attempts to one endpoint share a bounded number of places, so that a dead one holds nobody up."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.webhooks.outcome import Outcome, Verdict

if TYPE_CHECKING:
    from edge.webhooks.worker import Delivery


@dataclass(frozen=True)
class LaneSettings:
    """How much of a process one endpoint may take."""

    # Posts under way at once, to an endpoint that answers and to one that does not.
    concurrency: int = 8
    concurrency_failing: int = 2
    # Deliveries that may wait here for a place; further ones go back to NATS.
    waiting: int = 32
    # So many attempts in a row without success, and the endpoint counts as failing.
    failing_after: int = 3


class Lane:
    """One endpoint as one process sees it."""

    __slots__ = ("failures", "settings", "under_way", "waiting")

    def __init__(self, settings: LaneSettings) -> None:
        self.settings = settings
        self.under_way = 0
        self.failures = 0
        self.waiting: deque[Delivery] = deque()

    @property
    def failing(self) -> bool:
        return self.failures >= self.settings.failing_after

    @property
    def idle(self) -> bool:
        return not self.under_way and not self.waiting

    @property
    def has_place(self) -> bool:
        return self.under_way < (self.settings.concurrency_failing if self.failing else self.settings.concurrency)

    @property
    def may_wait(self) -> bool:
        """Whether a delivery may wait for a place; behind an endpoint that fails nobody does."""
        return not self.failing and len(self.waiting) < self.settings.waiting

    def note(self, outcome: Outcome) -> None:
        """Learns from an attempt."""
        self.failures = 0 if outcome.verdict is Verdict.DELIVERED else self.failures + 1
