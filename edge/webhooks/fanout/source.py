"""The events of a shard for the fan-out, in order: received from a subscription, or read from the store where one is missing."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from edge.webhooks.fanout.progress import FanoutProgress
from edge.webhooks.fanout.shard_events import EventSubscription, ShardEvents
from router.broker import Broker
from router.errors import BrokerError
from router.layout import Shard
from router.record import Record

log = logging.getLogger(__name__)


class _Nothing:
    """Receives nothing."""

    async def stop(self) -> None:
        """Ends it."""


class EventSource:
    """Receives events while it is open, and gives those behind `progress.matched`."""

    def __init__(
        self,
        broker: Broker,
        shard: Shard,
        progress: FanoutProgress,
        wake: asyncio.Event,
        events: ShardEvents,
        *,
        buffer: int,
        batch: int,
    ) -> None:
        """`wake` is set by each event; at most `buffer` of them are kept, and at most `batch` are given at once.

        Of a sealed shard nothing is received, and all is read from the store.
        """
        self._broker = broker
        self._shard = shard
        self.is_sealed = False
        self._progress = progress
        self._wake = wake
        self._events = events
        self._subscription: EventSubscription | None = None
        self._batch = batch
        self._received: deque[Record] = deque(maxlen=buffer)
        self.last_received = 0
        # Whether the store may have events behind `matched` that were not and will not be received.
        self.behind = True
        broker.connection.on_reconnect(self._suspect)

    @property
    def is_open(self) -> bool:
        """Whether events are received."""
        return self._subscription is not None

    def clear(self) -> None:
        """Starts anew, as before another ownership of the role."""
        self._subscription = None
        self._received.clear()

    async def open(self) -> None:
        """Subscribes; where that fails the source stays closed, after a pause."""
        try:
            if self.is_sealed:
                self._subscription = _Nothing()
                self.behind = True
                return
            self._subscription = await self._events.subscribe(self._shard, self._receive, self._suspect)
        except BrokerError as fault:
            log.warning("the fan-out cannot subscribe to events; it tries again", extra={"fault": str(fault)})
            await asyncio.sleep(0.5)
        # Events that were stored before are not received.
        self.behind = True

    async def close(self) -> None:
        """Ends the subscription."""
        if self._subscription is not None:
            await self._subscription.stop()
            self._subscription = None
            self._received.clear()

    def _receive(self, record: Record) -> None:
        if record.shard.stream != self._shard.stream:
            return
        self._received.append(record)
        self.last_received = max(self.last_received, record.sequence)
        self._wake.set()

    def _suspect(self) -> None:
        self._progress.suspect = True
        self._wake.set()

    def received(self) -> list[Record]:
        """Takes the next events that were received, up to the first that is missing."""
        received, matched = self._received, self._progress.matched
        while received and received[0].sequence <= matched:
            received.popleft()
        run: list[Record] = []
        while received and received[0].sequence == matched + 1 + len(run) and len(run) < self._batch:
            run.append(received.popleft())
        return run

    @property
    def needs_store(self) -> bool:
        """Whether an event is or may be missing: one was received behind it, or may never be received."""
        return bool(self._received) or self.behind

    async def read(self) -> list[Record]:
        """Reads the next events from the store. Raises BrokerError."""
        page = await self._broker.shard(self._shard).read(">", self._progress.matched)
        self.behind = page.more
        return page.records
