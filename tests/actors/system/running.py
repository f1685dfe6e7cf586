"""Runs one actor on a real nats-server, for tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from prometheus_client import REGISTRY

from actors.system.actor import Actor
from actors.system.context import Context
from actors.system.supervisor import run_actor
from router.broker import Broker
from router.deadletter import DeadLetter
from router.deadletters import DeadLetters
from router.errors import Escalate
from router.event import Event
from tests.actors.system.sample_actors import Stock
from tests.waiting import PATIENCE, in_time


@contextlib.asynccontextmanager
async def running_actor(
    make: Callable[[], Actor], broker: Broker, instance: str = "main", grace: float = 5.0
) -> AsyncIterator[asyncio.Task[None]]:
    """Runs an actor for the length of a block; returns once it takes deliveries and calls."""
    stop = asyncio.Event()
    ready = asyncio.Event()

    def watched() -> Actor:
        actor = make()
        start = actor.start

        async def started(ctx: Context) -> None:
            await start(ctx)
            ready.set()

        actor.start = started  # type: ignore[method-assign]
        return actor

    running = asyncio.ensure_future(run_actor(watched, broker, instance=instance, stop=stop, grace=grace))
    waiting = asyncio.ensure_future(ready.wait())
    await asyncio.wait({running, waiting}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        yield running
    finally:
        stop.set()
        with contextlib.suppress(Escalate, asyncio.CancelledError):
            await in_time(running, grace + 5)


def stock(entity: str, **fields: Any) -> Callable[[], Actor]:
    """The stock actor under a name and on subjects that only one test has."""
    own = {"name": f"stock-{entity}", "subjects": (f"{entity}.*.placed", f"{entity}.*.returned"), **fields}
    return type("OwnStock", (Stock,), own)


async def publish(broker: Broker, subject: str, data: dict[str, Any]) -> Event:
    event = Event.new(subject, data)
    await broker.publish(event)
    return event


async def events_under(broker: Broker, pattern: str) -> list[Event]:
    """All stored events under a pattern, oldest first."""
    return [record.event for record in (await broker.read(pattern, 0)).records if record.event]


async def deadletters_of(broker: Broker, entity: str) -> list[DeadLetter]:
    return (await DeadLetters(broker).read(pattern=f"dead.actor.stock-{entity}")).deadletters


async def consumer(broker: Broker, entity: str) -> dict[str, Any]:
    return await broker.connection.api(f"CONSUMER.INFO.EVENTS.actor-stock-{entity}")


async def settled(broker: Broker, entity: str, name: str = "") -> dict[str, Any] | None:
    """The consumer's state, once nothing is pending."""
    info = await broker.connection.api(f"CONSUMER.INFO.EVENTS.{name}") if name else await consumer(broker, entity)
    return info if info["num_ack_pending"] == 0 and info["num_pending"] == 0 else None


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0
