"""Processes that redrive, on a nats-server of their own."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.deadletters.redrive_job import RedriveSettings
from router.broker import Broker
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from tests.edge.deadletters.redriving import QUICK, Process, Start
from tests.waiting import in_time, unhurried


@pytest.fixture
async def nats_url(tmp_path: Path) -> AsyncIterator[str]:
    """A nats-server of the test's own, so that no other holds the role."""
    server = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path / "nats", port=free_port()))
    await server.start()
    try:
        yield server.url
    finally:
        await server.stop()


@pytest.fixture
async def start(nats_url: str) -> AsyncIterator[Start]:
    """Starts processes; all that are still there end with the test."""

    @contextlib.asynccontextmanager
    async def one(settings: RedriveSettings = QUICK) -> AsyncIterator[Process]:
        broker = Broker(unhurried(nats_url), f"edge-{secrets.token_hex(2)}")
        await broker.open()
        process = Process(broker, settings)
        try:
            await in_time(process.registry.ready.wait())
            yield process
        finally:
            await process.stop()

    return one


@pytest.fixture
async def process(start: Start) -> AsyncIterator[Process]:
    async with start() as made:
        yield made
