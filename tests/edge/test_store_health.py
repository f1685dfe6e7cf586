"""An edge knows whether its store takes writes, says why not, and mends what it may."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.broker import Broker
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.topology import TopologySettings
from tests.disks import small_disk
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.waiting import eventually, unhurried

LARGE = {"text": "x" * 3000}


@pytest.fixture
async def operator(own_nats: str) -> AsyncIterator[Broker]:
    """Somebody who changes the store past the edge."""
    async with Broker(unhurried(own_nats), "operator") as broker:
        yield broker


async def ready(edge: RunningEdge) -> dict[str, Any]:
    answer = await edge.http.get("/readyz")
    assert answer.status_code == (200 if answer.json()["status"] == "ok" else 503)
    return answer.json()


async def test_a_full_disk_is_named_to_publishers_and_in_readyz_until_the_server_writes_again(
    edge_factory: EdgeFactory, tmp_path: Path, entity: str
) -> None:
    with small_disk(tmp_path / "disk", 48) as disk:
        server = EmbeddedServer(EmbeddedSettings(data_dir=disk.path / "data", port=free_port()))
        await server.start()
        try:
            async with edge_factory(server.url) as edge:
                event = {"subject": f"job.{entity}.output", "data": LARGE}
                assert (await edge.http.post("/events", json=event)).status_code == 201

                disk.fill()

                async def refused() -> bool:
                    answer = await edge.http.post("/events", json=event)
                    return answer.status_code == 503 and answer.json()["code"] == "storage_full"

                await eventually(refused)
                told = await ready(edge)
                assert told["checks"]["store"] is False
                assert told["store"]["code"] == "storage_full"
                assert "no space left" in told["store"]["streams"]["EVENTS"]["text"]
                metrics = (await edge.http.get("/metrics")).text
                # Edges of earlier tests may be counted as well.
                assert re.search(r'^edge_store_state\{code="storage_full"\} [1-9]', metrics, re.MULTILINE)

                # A stream keeps its write error after space is freed; only a restart ends it.
                disk.free()
                assert (await ready(edge))["store"]["code"] == "storage_full"
                await server.stop()
                await server.start()

                async def accepted() -> bool:
                    return (await edge.http.post("/events", json=event)).status_code == 201

                await eventually(accepted)
                await eventually(lambda: _is_ready(edge))
        finally:
            await server.stop()


async def _is_ready(edge: RunningEdge) -> bool:
    return (await ready(edge))["status"] == "ok"


async def test_where_others_make_the_streams_a_missing_one_makes_the_edge_unready_with_a_code(
    edge_factory: EdgeFactory, own_nats: str, operator: Broker, entity: str
) -> None:
    async with edge_factory(own_nats, topology=replace(TopologySettings(), apply_streams=False)) as edge:
        await operator.connection.api("STREAM.DELETE.EVENTS")

        answer = await edge.http.post("/events", json={"subject": f"job.{entity}.output", "data": {}})

        assert (answer.status_code, answer.json()["code"]) == (503, "stream_missing")
        told = (await ready(edge))["store"]
        assert told["code"] == "stream_missing"
        assert "callboard streams apply" in told["streams"]["EVENTS"]["text"]
