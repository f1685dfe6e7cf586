"""Gives webhook tests a nats-server of their own, a stage on it, and a receiver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.broker import Broker
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.topology import TopologySettings
from tests.edge.webhooks.stage import Receiver, Stage
from tests.waiting import unhurried


@pytest.fixture
async def nats_url(tmp_path: Path) -> AsyncIterator[str]:
    server = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path / "nats", port=free_port()))
    await server.start()
    try:
        yield server.url
    finally:
        await server.stop()


@pytest.fixture
async def stage(nats_url: str) -> AsyncIterator[Stage]:
    """A stage on which nobody acts yet."""
    topology = TopologySettings(hooks_per_session=50)
    async with Broker(unhurried(nats_url), "test", topology) as broker:
        made = Stage(nats_url, broker, topology, [])
        try:
            yield made
        finally:
            for process in made.processes:
                await process.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().serving() as serving:
        yield serving
