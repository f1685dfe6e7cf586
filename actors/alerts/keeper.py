"""Keeps the state of the alert engine in the bucket ALERTS: what was counted and what waits is not lost at a restart.

One entry an instance, which readers of alerts do not look at. It is written every few seconds where it has changed, after
what the engine said has been written into the records of alerts. What was counted since is lost where the process dies.
"""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Mapping
from typing import Any

from router.broker import Broker
from router.nats.bucket import Bucket
from router.subject import escape
from router.topology import ALERTS

log = logging.getLogger(__name__)

# Far below what NATS carries in one message: some 10,000 keys that wait for something.
MAX_STATE = 700_000
# What it may unfold to; it was written by this actor, but a bucket is open to whoever has its rights.
MAX_UNFOLDED = 64_000_000
# Seconds between two writes; where a state takes long to gather, fifty times as long, so that it costs 2 % at most.
WRITE_SECONDS = 2.0
SHARE = 50


class StateKeeper:
    """The stored state of one instance of the actor."""

    def __init__(self, broker: Broker, instance: str) -> None:
        self._bucket = Bucket(broker.connection, ALERTS)
        self._key = f"engine.state.{escape(instance)}"
        self._written = 0
        self._next = 0.0
        self._told = False

    def is_due(self, now: float) -> bool:
        """Whether it is time to look at the state again; seconds of a clock that never jumps."""
        return now >= self._next

    def spent(self, now: float, seconds: float) -> None:
        """Notes how long it took to gather a state."""
        self._next = now + max(WRITE_SECONDS, seconds * SHARE)

    def pack(self, state: Mapping[str, Any]) -> bytes | None:
        """The state as bytes; None where it is as it was written last, or too large."""
        parts = json.dumps([state[name] for name in ("version", "lanes", "rules")], separators=(",", ":")).encode()
        if (check := zlib.crc32(parts)) == self._written:
            return None
        packed = zlib.compress(json.dumps(state, separators=(",", ":")).encode(), 1)
        if len(packed) > MAX_STATE:
            if not self._told:
                log.warning(
                    "state of the alert engine is too large to be stored; a restart begins what was counted anew",
                    extra={"bytes": len(packed), "limit": MAX_STATE},
                )
            self._told = True
            return None
        self._written, self._told = check, False
        return packed

    async def write(self, packed: bytes) -> None:
        """Stores what `pack` gave. Raises BrokerError."""
        await self._bucket.put(self._key, packed)

    async def read(self) -> dict[str, Any] | None:
        """The state that was stored last; None where there is none that can be read. Raises BrokerError."""
        entry = await self._bucket.latest(self._key)
        if entry is None or not entry.value:
            return None
        try:
            unfolding = zlib.decompressobj()
            state = json.loads(unfolding.decompress(entry.value, MAX_UNFOLDED))
            if isinstance(state, dict):
                return state
            fault = "it is no map"
        except (zlib.error, ValueError, RecursionError) as error:
            fault = str(error)
        log.warning("stored state of the alert engine cannot be read; it begins anew", extra={"fault": fault})
        return None


def clock() -> float:
    """Seconds of CPU that this thread has spent."""
    return time.thread_time()
