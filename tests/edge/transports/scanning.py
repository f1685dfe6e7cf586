"""A session whose events lie behind many that it does not show, on an edge that scans little for each request."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from edge.settings import SessionSettings
from tests.edge.conftest import EdgeFactory, RunningEdge


@contextlib.asynccontextmanager
async def scanning(
    edge_factory: EdgeFactory, entity: str, scan_events: int = 300
) -> AsyncIterator[tuple[RunningEdge, str]]:
    """An edge that scans little per request, with 2,000 events that the session does not show before one that it does."""
    async with edge_factory(session=SessionSettings(heartbeat=2.0, scan_events=scan_events)) as edge:
        session = await edge.session(
            delivery_method="polling", subjects=[f"job.{entity}.>"], filter="data.n == -1 || data.n == -2"
        )
        for start in range(0, 2000, 500):
            await edge.numbers(entity, 500, start=start)
        await edge.numbers(entity, 1, start=-1)
        yield edge, session
