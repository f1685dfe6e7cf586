"""Holds the batches that wait for a reader whose socket is full: a small bounded queue, which is how a slow consumer is found."""

from __future__ import annotations

from collections.abc import Callable

from edge.settings import SessionSettings
from edge.types import Batch
from router.position import Position
from router.record import Record


class BatchMailbox:
    """The batches that one reader has been handed and has not written, within the limits of a session."""

    __slots__ = ("_batches", "_limits", "events", "size")

    def __init__(self, limits: SessionSettings) -> None:
        self._limits = limits
        # A list, for it is empty nearly always, and a deque is ten times the size of an empty list.
        self._batches: list[Batch] = []
        self.events = 0
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._batches)

    @property
    def last(self) -> Position | None:
        """The position of one who has had all that waits; None where nothing does."""
        return self._batches[-1].last if self._batches else None

    def put(self, batch: Batch) -> bool:
        """Adds a batch; says no where there is no room for it."""
        if (
            self.events + len(batch) > self._limits.mailbox_events
            or self.size + batch.size > self._limits.mailbox_bytes
        ):
            return False
        self._batches.append(batch)
        self.events += len(batch)
        self.size += batch.size
        return True

    def squeeze(self, batch: Batch, conflated: Callable[[Batch], Batch]) -> int | None:
        """Conflates what waits together with a batch that has no room; returns how many events were superseded.

        None where it does not fit even so; then nothing has changed.
        """
        records = [record for waiting in self._batches for record in waiting.records] + batch.records
        squeezed = conflated(Batch(records, batch.epoch, unencodable=batch.unencodable))
        if len(squeezed) > self._limits.mailbox_events or squeezed.size > self._limits.mailbox_bytes:
            return None
        self._batches = [squeezed]
        self.events, self.size = len(squeezed), squeezed.size
        return len(records) - len(squeezed)

    def pop(self) -> Batch:
        """Takes out the batch that came first."""
        batch = self._batches.pop(0)
        self.events -= len(batch)
        self.size -= batch.size
        return batch

    def clear(self) -> list[Record]:
        """Takes out everything."""
        records = [record for waiting in self._batches for record in waiting.records]
        self._batches.clear()
        self.events = self.size = 0
        return records
