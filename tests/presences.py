"""Lets a test hold the lease of an actor's process, and write the state that it would write."""

from __future__ import annotations

from typing import Any

from router.broker import Broker
from router.cluster.leases import lease_key
from router.event import Event
from router.nats.bucket import Bucket
from router.states import StateStore, entry_of
from router.subject import Subject
from router.topology import LEASES

HOLDER = b"another-machine/0/1"


class PlayedActor:
    """What NATS sees of the process that runs one camera."""

    def __init__(self, broker: Broker, entity: str, life: int = 1, domain: str = "camera") -> None:
        self.broker, self.domain, self.entity, self.life = broker, domain, entity, life
        self._leases = Bucket(broker.connection, LEASES)
        self._key = lease_key("actor", domain, entity)

    async def begin(self, ttl: float = 600.0) -> None:
        """Takes the lease."""
        await self._leases.put(self._key, HOLDER, ttl)

    async def say(self, status: str, **data: Any) -> None:
        """Publishes a state and writes it."""
        event = Event.new(Subject.of(self.domain, self.entity, "state"), {"status": status, **data}, source=self.domain)
        await self.broker.publish(event)
        store = StateStore(self.broker)
        stored = await store.read(self.domain, self.entity)
        await store.write(self.domain, self.entity, entry_of(event, self.life, stored.entry), stored.revision)

    async def die(self) -> None:
        """Lets the lease run out at once, as the server does."""
        await self._leases.put(self._key, HOLDER, 1.0)

    async def release(self) -> None:
        """Releases the lease, as a process does that ends in order."""
        await self._leases.put(self._key, b"", 1.0)
