"""Stores the runs of renders: their begin and end by the ledger of runs, their lease, and their last pictures."""

from __future__ import annotations

from typing import Protocol

import msgspec

from router.broker import Broker
from router.cluster.leases import MARK_SECONDS, lease_key
from router.codec import encode
from router.event import Event
from router.last_pictures import LastPictures, PictureStore
from router.nats.bucket import Bucket
from router.run_entry import StopRequest
from router.runs import RunLedger
from router.subject import escape
from router.topology import LEASES

DOMAIN = "job"
# The producer is asked to stop by what its heartbeats are answered with, as one that speaks HTTP is.
_VIA = "http"


class RenderStore(Protocol):
    """What the runs of renders need of the store: NATS, or a fake in tests. All methods raise BrokerError."""

    pictures: PictureStore

    async def start(self, event: Event, incarnation: str, ttl: float) -> None:
        """Begins a life of a run by its workflow_start; a repeat changes nothing. Raises RunSuperseded."""
        ...

    async def end(self, event: Event, incarnation: str) -> None:
        """Ends a life of a run by its completion; a repeat changes nothing. Raises RunEnded or RunSuperseded."""
        ...

    async def hold(self, run: str, incarnation: str, ttl: float) -> StopRequest | None:
        """Says that a run goes on for `ttl` seconds more; tells whether it is to stop. Raises RunEnded or RunSuperseded."""
        ...

    async def release(self, run: str) -> None:
        """Gives the lease of a run back that is over."""
        ...


class NatsRenderStore:
    """The store of an actor that runs on NATS."""

    def __init__(self, broker: Broker) -> None:
        self.pictures: PictureStore = LastPictures(broker)
        self._ledger = RunLedger(broker)
        self._leases = Bucket(broker.connection, LEASES)

    async def start(self, event: Event, incarnation: str, ttl: float) -> None:
        await self._ledger.start(event, encode(event), incarnation, lease=ttl)

    async def end(self, event: Event, incarnation: str) -> None:
        await self._ledger.end(event, encode(event), incarnation=incarnation)

    async def hold(self, run: str, incarnation: str, ttl: float) -> StopRequest | None:
        entry = await self._ledger.hold(DOMAIN, escape(run), ttl, incarnation)
        value = msgspec.json.encode({"ttl": ttl, "incarnation": incarnation, "via": _VIA})
        await self._leases.put(lease_key("run", DOMAIN, run), value, ttl)
        return entry.stop

    async def release(self, run: str) -> None:
        await self._leases.delete(lease_key("run", DOMAIN, run), MARK_SECONDS)
