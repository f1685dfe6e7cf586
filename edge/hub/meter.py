"""Counts what one tick wrote together: writes of one batch to many readers reach Prometheus as one observation."""

from __future__ import annotations

import asyncio

from edge import metrics
from edge.types import Batch

# So many writes are worth telling at once; fewer wait for what other views have of the same batch.
MANY = 8


class Meter:
    """Deliveries and delays of one transport's connections."""

    __slots__ = ("_batch", "_delivered", "_late", "_replayed", "_seconds", "_size", "_writes", "_written")

    def __init__(self, transport: str) -> None:
        self._delivered = metrics.delivered.labels(transport)
        self._seconds = metrics.write_seconds.labels(transport)
        self._late = metrics.replay_seconds.labels(transport)
        self._replayed = metrics.replayed.labels(transport)
        self._written = metrics.written.labels(transport)
        self._batch: Batch | None = None
        self._writes = self._size = 0

    def wrote(self, batch: Batch, size: int, writes: int = 1) -> None:
        """Counts writes of a batch, each of so many bytes."""
        if writes >= MANY:
            self._tell(batch, size * writes, writes)
            return
        if batch is not self._batch:
            if self._batch is None:
                asyncio.get_running_loop().call_soon(self._settle)
            else:
                self._tell(self._batch, self._size, self._writes)
            self._batch, self._writes, self._size = batch, 0, 0
        self._writes += writes
        self._size += size * writes

    def _settle(self) -> None:
        if self._batch is not None:
            self._tell(self._batch, self._size, self._writes)
        self._batch = None

    def _tell(self, batch: Batch, size: int, writes: int) -> None:
        self._delivered.add(writes * len(batch))
        self._written.add(size)
        if batch.replayed:
            self._replayed.add(writes * len(batch))
            self._late.observe_many(batch.age(), writes)
            return
        # The last of these writes is as old as that; the first are some microseconds younger.
        self._seconds.observe_many(batch.age(), writes)
