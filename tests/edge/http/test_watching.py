"""Connections that are sent pictures give back all that they took, and are told the state of their source."""

from __future__ import annotations

import asyncio

import websockets

from edge import metrics
from router.broker import Broker
from router.event import Event
from tests.edge.conftest import RunningEdge
from tests.edge.transports.video.pictures import PictureSource, watching
from tests.waiting import PATIENCE, eventually


async def test_what_a_connection_took_is_given_back(either: RunningEdge, store: Broker, entity: str) -> None:
    source = await PictureSource(store, entity, 100).known()
    gauges = [metrics.viewers.labels(transport)._value for transport in ("websocket", "mjpeg")]
    before = [gauge.get() for gauge in gauges]
    assert either.edge is not None
    async with watching(either, entity) as viewer, source.streaming(20):
        await viewer.next()
        async with either.http.stream("GET", f"/cameras/{entity}/mjpeg") as answer:
            async with asyncio.timeout(PATIENCE):
                async for _ in answer.aiter_raw():
                    break
            assert [gauge.get() for gauge in gauges] == [each + 1 for each in before]

    await eventually(lambda: [gauge.get() for gauge in gauges] == before)
    assert not either.edge.viewers._open and not either.edge.presence._listeners


async def test_a_head_request_is_answered_without_pictures(either: RunningEdge, store: Broker, entity: str) -> None:
    await PictureSource(store, entity).known()

    answer = await either.http.head(f"/cameras/{entity}/mjpeg")

    assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=callboard-frame"


async def test_the_subprotocol_is_selected_where_it_is_offered(edge: RunningEdge, store: Broker, entity: str) -> None:
    await store.publish(Event.new(f"octane.{entity}.state", {"status": "connected"}))
    address = f"ws://127.0.0.1:{edge.port}/octane/{entity}/ws"

    async with websockets.connect(address, subprotocols=[websockets.Subprotocol("callboard.v1")]) as socket:
        assert socket.subprotocol == "callboard.v1"


async def test_an_edge_that_ends_takes_no_new_viewers(edge: RunningEdge, store: Broker, entity: str) -> None:
    await PictureSource(store, entity).known()
    assert edge.edge is not None
    edge.edge.draining = True

    assert (await edge.http.get(f"/cameras/{entity}/mjpeg")).status_code == 503
