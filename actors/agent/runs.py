"""Holds the runs that may still change, and for a while those that have ended. Bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from actors.agent.record import RunRecord
from actors.agent.stages import MAX_STAGES

# 50,000 stages of all runs, about 20 MB; each run may keep ten in any case.
MAX_ALL_STAGES = 50_000
MIN_STAGES = 10


class Runs:
    """Runs by `<domain>.<token>`, each kind ordered by its last event."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: OrderedDict[str, RunRecord] = OrderedDict()
        self._over: OrderedDict[str, RunRecord] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open) + len(self._over)

    def __iter__(self) -> Iterator[RunRecord]:
        """All of them, the most recently heard of first."""
        yield from reversed(self._open.values())
        yield from reversed(self._over.values())

    @property
    def stages_a_run(self) -> int:
        """How many stages each run may keep, so that all of them stay within bounds."""
        return max(MIN_STAGES, min(MAX_STAGES, MAX_ALL_STAGES // max(1, len(self))))

    def get(self, key: str) -> RunRecord | None:
        return self._open.get(key) or self._over.get(key)

    def open(self) -> list[RunRecord]:
        """Those that are not over, the longest silent first."""
        return list(self._open.values())

    def keep(self, record: RunRecord) -> None:
        """Adds a run, or puts it where it belongs now. Beyond the bound those that are over go first."""
        here, there = (self._over, self._open) if record.over else (self._open, self._over)
        there.pop(record.key, None)
        here[record.key] = record
        here.move_to_end(record.key)
        while len(self) > self._most:
            (self._over or self._open).popitem(last=False)

    def drop_over(self, before: float) -> None:
        """Forgets those that are over and of whom nothing was heard since; their last state is stored anyway."""
        while self._over and next(iter(self._over.values())).heard < before:
            self._over.popitem(last=False)
