"""This file is where what one tick wrote is counted together: the same batch to many readers is told to Prometheus once."""

from __future__ import annotations

import asyncio

from edge import metrics
from edge.session import Batch

# So many writes are worth telling at once; fewer wait for what other views have of the same batch.
MANY = 8


class Meter:
    """Deliveries and delays of one transport's lanes."""

    __slots__ = ("_batch", "_delivered", "_seconds", "_writes")

    def __init__(self, transport: str) -> None:
        self._delivered = metrics.delivered.labels(transport)
        self._seconds = metrics.write_seconds.labels(transport)
        self._batch: Batch | None = None
        self._writes = 0

    def wrote(self, batch: Batch, writes: int = 1) -> None:
        """Counts writes of a batch."""
        if writes >= MANY:
            self._tell(batch, writes)
            return
        if batch is not self._batch:
            if self._batch is None:
                asyncio.get_running_loop().call_soon(self._settle)
            else:
                self._tell(self._batch, self._writes)
            self._batch, self._writes = batch, 0
        self._writes += writes

    def _settle(self) -> None:
        if self._batch is not None:
            self._tell(self._batch, self._writes)
        self._batch = None

    def _tell(self, batch: Batch, writes: int) -> None:
        self._delivered.inc(writes * len(batch))
        # The last of these writes is as old as that; the first are some microseconds younger.
        self._seconds.observe_many(batch.age(), writes)
