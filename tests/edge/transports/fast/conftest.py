"""Edges with and without taking sockets over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from edge.settings import SessionSettings
from tests.edge.conftest import RunningEdge
from tests.edge.transports.fast.running import PATHS, Path, running


@pytest.fixture(params=PATHS.values(), ids=PATHS)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
async def edge(nats_server: str, path: Path) -> AsyncIterator[RunningEdge]:
    async with running(nats_server, path) as edge:
        yield edge


@pytest.fixture(params=[name for name in PATHS if name != "plain"])
async def lane(nats_server: str, request: pytest.FixtureRequest) -> AsyncIterator[RunningEdge]:
    settings = SessionSettings(heartbeat=0.5)
    async with running(nats_server, PATHS[request.param], session=settings) as edge:
        yield edge
