"""Fixtures of the SDK's tests: the ways from a run to the stream."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.broker import Broker
from tests.edge.conftest import EdgeFactory
from tests.edge.conftest import edge_factory as edge_factory
from tests.proxy import Proxy
from tests.router.sdk.runs import Way, port_of


@pytest.fixture(autouse=True)
def own_spools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test leaves a spool where a user's are."""
    monkeypatch.setenv("CALLBOARD_SPOOL_DIR", str(tmp_path / "spool"))


@pytest.fixture(params=["nats async", "nats sync", "http async", "http sync"])
async def way(
    request: pytest.FixtureRequest, nats_server: str, edge_factory: EdgeFactory, broker: Broker, tmp_path: Path
) -> AsyncIterator[Way]:
    """Each transport with each kind of program."""
    transport, kind = request.param.split()
    async with contextlib.AsyncExitStack() as stack:
        port = port_of(nats_server)
        if transport == "http":
            port = (await stack.enter_async_context(edge_factory())).port
        proxy = await stack.enter_async_context(Proxy(port))
        url = f"{transport}://127.0.0.1:{proxy.port}"
        yield Way(url, proxy, kind == "async", broker, tmp_path / "spool")
