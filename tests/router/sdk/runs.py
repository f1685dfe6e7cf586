"""What a run has published, and a nats-server that a test may stop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from router.broker import Broker
from router.event import Event
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port


async def events_of(broker: Broker, run: str, domain: str = "agent") -> list[Event]:
    """All events of a run, in the order they were stored."""
    page = await broker.read(f"{domain}.{run}.>", 0, 10_000)
    return [record.event for record in page.records if record.event]


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


@contextlib.asynccontextmanager
async def own_server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A server that a test may stop and start."""
    server = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path / "nats", port=free_port()))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
