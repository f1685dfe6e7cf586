"""One subscription of a connection to NATS, and how it ends."""

from __future__ import annotations

import contextlib
from typing import Any

import nats.errors

from router.nats.client import NatsClient


class Subscription:
    """A subject that is subscribed to; `stop` or `drain` ends it."""

    def __init__(self, wire: NatsClient, subscription: Any) -> None:
        self._wire = wire
        self._subscription = subscription

    async def stop(self) -> None:
        """Unsubscribes; nothing is received afterwards. Harmless on a lost connection."""
        self._wire.taps.pop(self._subscription._id, None)
        with contextlib.suppress(nats.errors.Error):
            await self._subscription.unsubscribe()

    async def drain(self) -> None:
        """Unsubscribes; what the server had sent by then is still received, nothing afterwards."""
        try:
            with contextlib.suppress(nats.errors.Error, TimeoutError):
                await self._subscription.unsubscribe()
                if self._wire.is_connected:
                    await self._wire.round_trip(1)
        finally:
            self._wire.taps.pop(self._subscription._id, None)
