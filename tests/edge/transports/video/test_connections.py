"""What viewers are delivered is published by each edge that has some, and connections end with their process."""

from __future__ import annotations

import contextlib
from typing import Any

from edge.settings import VideoSettings
from router.broker import Broker
from router.rungs import Rung
from tests.edge.conftest import EdgeFactory
from tests.edge.transports.video.pictures import PictureSource, watching
from tests.waiting import PATIENCE, eventually


async def test_an_edge_publishes_what_its_viewers_were_delivered(
    edge_factory: EdgeFactory, store: Broker, entity: str
) -> None:
    source = await PictureSource(store, entity, 1000).known()

    async def said() -> dict[str, Any] | None:
        records = await store.latest([f"camera.{entity}.delivery"])
        event = records[-1].event if records else None
        return None if event is None or not isinstance(event.data, dict) else event.data

    async def told() -> dict[str, Any] | None:
        data = await said()
        counts = data["transports"].get("websocket", {}) if data else {}
        return counts if counts.get("fps", 0) > 5 and counts.get("age_ms") else None

    async with edge_factory(video=VideoSettings(report=1.0)) as edge:
        async with source.streaming(20, Rung("jpeg")), watching(edge, entity) as viewer:

            async def watched() -> dict[str, Any] | None:
                await viewer.watch(1.0)
                return await told()

            counts = await eventually(watched)
        assert edge.edge is not None
        data = await eventually(said)
        assert data["edge"] == edge.edge.cluster_stats.id
        assert counts["viewers"] == 1 and counts["bytes_per_second"] > 1000
        assert 0 <= counts["age_ms"]["p50"] <= counts["age_ms"]["p99"] < 1000 * PATIENCE

        async def left() -> bool:
            data = await said()
            return data is not None and data["viewers"] == 0

        await eventually(left)


async def test_connections_are_cut_when_their_process_ends_without_draining(
    edge_factory: EdgeFactory, store: Broker, entity: str
) -> None:
    await PictureSource(store, entity).known()
    async with contextlib.AsyncExitStack() as stack:
        async with edge_factory() as edge:
            viewer = await stack.enter_async_context(watching(edge, entity))
            await viewer.control("ready")
        await viewer.socket.wait_closed()
