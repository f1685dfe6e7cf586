"""Receives the events of all shards by one subscription, and passes each to the fan-out of its own shard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from router.broker import Broker
from router.layout import Shard
from router.live_copy import listen
from router.record import Record

Receive = Callable[[Record], None]
Suspect = Callable[[], None]


class EventSubscription(Protocol):
    """Receives events until it is stopped."""

    async def stop(self) -> None:
        """Ends it."""


# (receive, suspect) -> subscription: gives every event, and says where some may have been missed. Raises BrokerError.
Subscribe = Callable[[Receive, Suspect], Awaitable[EventSubscription]]


class ShardEvents:
    """One subscription for the shards that are read. Where all events are in one stream, its reader has it for itself."""

    def __init__(self, broker: Broker, subscribe: Subscribe | None = None) -> None:
        self._broker = broker
        self._subscribe = subscribe or self._subscribe_alone
        # By stream.
        self._readers: dict[str, tuple[Receive, Suspect]] = {}
        self._subscription: EventSubscription | None = None
        self._changing = asyncio.Lock()

    async def subscribe(self, shard: Shard, receive: Receive, suspect: Suspect) -> EventSubscription:
        """Calls receive(record) for each event of a shard from here on; see Subscribe. Raises BrokerError."""
        if len(self._broker.layout.by_stream) == 1:
            return await self._subscribe(receive, suspect)
        async with self._changing:
            self._readers[shard.stream] = receive, suspect
            try:
                if self._subscription is None:
                    self._subscription = await self._subscribe(self._receive, self._suspect)
            except BaseException:
                del self._readers[shard.stream]
                raise
        return _ShardSubscription(self, shard.stream)

    async def stop(self, stream: str) -> None:
        """Passes the events of a shard to nobody any more; the subscription ends with its last reader."""
        async with self._changing:
            self._readers.pop(stream, None)
            if not self._readers and self._subscription is not None:
                subscription, self._subscription = self._subscription, None
                await subscription.stop()

    def _receive(self, record: Record) -> None:
        reader = self._readers.get(record.shard.stream)
        if reader is not None:
            reader[0](record)

    def _suspect(self) -> None:
        for _, suspect in list(self._readers.values()):
            suspect()

    async def _subscribe_alone(self, receive: Receive, _suspect: Suspect) -> EventSubscription:
        return await listen(self._broker.connection, ">", receive, self._broker.layout)


class _ShardSubscription:
    def __init__(self, events: ShardEvents, stream: str) -> None:
        self._events = events
        self._stream = stream

    async def stop(self) -> None:
        await self._events.stop(self._stream)
