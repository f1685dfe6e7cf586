"""Pictures reach their viewers, and are demanded for as long as there are viewers."""

from __future__ import annotations

import asyncio

import websockets

from router.broker import Broker
from router.event import Event
from router.frame import frame_subject, pack
from tests.edge.conftest import RunningEdge, keep_picture
from tests.waiting import PATIENCE, eventually


async def test_pictures_reach_mjpeg_snapshot_and_socket(edge: RunningEdge, store: Broker, entity: str) -> None:
    await store.publish(Event.new(f"camera.{entity}.state", {"status": "streaming", "simulated": True}))
    jpeg = b"\xff\xd8" + b"x" * 2000 + b"\xff\xd9"
    frame = pack(
        {"seq": 1, "time": 1.5, "width": 4, "height": 3, "format": "jpeg", "source": "test", "simulated": True}, jpeg
    )
    subject = frame_subject("camera", entity)
    await keep_picture(store, subject, frame)

    snapshot = await edge.http.get(f"/cameras/{entity}/snapshot")
    async with websockets.connect(f"ws://127.0.0.1:{edge.port}/cameras/{entity}/ws") as socket:
        first = await socket.recv()
        await store.frame(subject, frame)
        second = await socket.recv()
    async with edge.http.stream("GET", f"/cameras/{entity}/mjpeg") as stream:
        body = b""
        async for part in stream.aiter_raw():
            body += part
            if jpeg in body:
                break

    assert (snapshot.status_code, snapshot.headers["content-type"], snapshot.content) == (200, "image/jpeg", jpeg)
    assert first == second == frame
    assert b"--callboard-frame\r\nContent-Type: image/jpeg" in body
    cameras = (await edge.http.get("/cameras")).json()["cameras"]
    assert {"id": entity, "status": "streaming", "simulated": True}.items() <= next(
        c for c in cameras if c["id"] == entity
    ).items()


async def test_watching_holds_a_lease_and_leaving_gives_it_back(edge: RunningEdge, store: Broker, entity: str) -> None:
    from router.nats.bucket import Bucket

    bucket = Bucket(store.connection, "LEASES")

    async def leases() -> list[str]:
        return [entry.key for entry in await bucket.entries(f"view.camera.{entity}.*")]

    async with websockets.connect(f"ws://127.0.0.1:{edge.port}/cameras/{entity}/ws"):
        await eventually(lambda: _equals(leases, 1))
    await eventually(lambda: _equals(leases, 0))


async def _equals(count, expected: int) -> bool:  # type: ignore[no-untyped-def]
    return len(await count()) == expected


JPEG = b"\xff\xd8" + b"x" * 2000 + b"\xff\xd9"


async def test_the_last_picture_of_an_mjpeg_stream_is_whole_before_another_comes(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await store.publish(Event.new(f"camera.{entity}.state", {"status": "streaming"}))
    frame = pack({"seq": 1, "time": 1.5, "width": 4, "height": 3, "format": "jpeg", "source": "test"}, JPEG)
    await keep_picture(store, frame_subject("camera", entity), frame)

    body = b""
    async with asyncio.timeout(PATIENCE), edge.http.stream("GET", f"/cameras/{entity}/mjpeg") as stream:
        async for part in stream.aiter_raw():
            body += part
            if body.endswith(JPEG + b"\r\n--callboard-frame\r\n"):
                break

    assert body.startswith(b"--callboard-frame\r\nContent-Type: image/jpeg\r\n")
    assert stream.headers["content-type"] == "multipart/x-mixed-replace; boundary=callboard-frame"
