"""Pictures reach their viewers, and are demanded for as long as there are viewers."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
import websockets

from edge.http import video
from router.broker import Broker
from router.event import Event
from router.frame import frame_subject, in_parts, pack, unpack
from router.nats.bucket import Bucket
from router.rendition import Rendition, rendition_subject
from tests.edge.conftest import UNHURRIED, RunningEdge, keep_picture
from tests.waiting import PATIENCE, eventually, in_time


async def test_pictures_reach_mjpeg_snapshot_and_socket(edge: RunningEdge, store: Broker, entity: str) -> None:
    await store.publish(Event.new(f"camera.{entity}.state", {"status": "streaming", "simulated": True}))
    jpeg = b"\xff\xd8" + b"x" * 2000 + b"\xff\xd9"
    frame = pack(
        {
            "seq": 1,
            "time": time.time() * 1000,
            "width": 4,
            "height": 3,
            "format": "jpeg",
            "source": "test",
            "simulated": True,
        },
        jpeg,
    )
    subject = frame_subject("camera", entity)
    await keep_picture(store, subject, frame)

    snapshot = await edge.http.get(f"/cameras/{entity}/snapshot")
    async with websockets.connect(f"ws://127.0.0.1:{edge.port}/cameras/{entity}/ws", **UNHURRIED) as socket:
        ready = json.loads(await socket.recv())
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
    assert {"control": "ready", "rung": "jpeg", "window": 2, "status": "streaming"}.items() <= ready.items()
    assert ready["rungs"] == ["jpeg", "jpeg-720", "jpeg-480", "jpeg-240"]
    assert b"--callboard-frame\r\nContent-Type: image/jpeg" in body
    cameras = (await edge.http.get("/cameras")).json()["cameras"]
    assert {"id": entity, "status": "streaming", "simulated": True}.items() <= next(
        c for c in cameras if c["id"] == entity
    ).items()


async def test_watching_holds_a_lease_and_leaving_gives_it_back(edge: RunningEdge, store: Broker, entity: str) -> None:
    await store.publish(Event.new(f"camera.{entity}.state", {"status": "idle"}))
    bucket = Bucket(store.connection, "LEASES")

    async def leases() -> list[str]:
        return [entry.key for entry in await bucket.entries(f"view.camera.{entity}.*")]

    async with websockets.connect(f"ws://127.0.0.1:{edge.port}/cameras/{entity}/ws", **UNHURRIED):
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


def rendered(format: str, body: bytes) -> bytes:
    return pack({"seq": 1, "time": 1.5, "width": 4, "height": 3, "format": format, "source": "test"}, body)


async def octane_renders(store: Broker, entity: str) -> None:
    await store.publish(Event.new(f"octane.{entity}.state", {"status": "connected"}))
    await store.publish(Event.new(f"octane.{entity}.statistics", {"passes": ["beauty", "z_depth"]}))


async def answers(store: Broker, entity: str, track: str, rendition: str, frame: bytes) -> None:
    """Does what the actor does: waits for the lease of a rendition, and sends it."""
    bucket, name = Bucket(store.connection, "LEASES"), f"view.octane.{entity}.*.{track}.{rendition}"
    await eventually(lambda: bucket.entries(name))
    subject = rendition_subject("octane", entity, track, Rendition.of_token(rendition))
    for each, part in in_parts(subject, {"seq": 1, "format": rendition}, frame, 50_000):
        await store.frame(each, part)


@pytest.mark.parametrize(
    ("query", "track", "rendition", "media_type"),
    [
        ("format=webp&width=300&background=white", "beauty", "webp-512-white", "image/webp"),
        ("format=png&pass=z_depth", "z_depth", "png", "image/png"),
        ("format=exr&track=z_depth", "z_depth", "exr", "image/x-exr"),
        ("format=png16&width=99999", "beauty", "png16", "image/png"),
        ("background=checker", "beauty", "jpeg-checker", "image/jpeg"),
    ],
)
async def test_a_snapshot_comes_in_the_form_that_is_asked_for(
    edge: RunningEdge,
    store: Broker,
    entity: str,
    query: str,
    track: str,
    rendition: str,
    media_type: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for deadline in ("SNAPSHOT_SECONDS", "SLOW_SNAPSHOT_SECONDS"):
        monkeypatch.setattr(video, deadline, PATIENCE)
    await octane_renders(store, entity)
    body = bytes(range(256)) * 400

    snapshot, _ = await asyncio.gather(
        edge.http.get(f"/octane/{entity}/snapshot?{query}"), answers(store, entity, track, rendition, body)
    )

    assert (snapshot.status_code, snapshot.headers["content-type"]) == (200, media_type)
    assert snapshot.content == body


async def test_a_snapshot_as_before_is_the_jpeg_of_the_beauty_pass(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await octane_renders(store, entity)
    await keep_picture(store, frame_subject("octane", entity, "beauty"), rendered("jpeg", JPEG))

    for query in ("", "?pass=beauty", "?track=beauty&format=jpeg&background=black", "?t=123"):
        snapshot = await edge.http.get(f"/octane/{entity}/snapshot{query}")
        assert (snapshot.headers["content-type"], snapshot.content) == ("image/jpeg", JPEG)


@pytest.mark.parametrize(
    ("way", "query", "field"),
    [
        ("snapshot", "format=gif", "format"),
        ("snapshot", "width=0", "width"),
        ("snapshot", "width=wide", "width"),
        ("snapshot", "background=pink", "background"),
        ("snapshot", "format=exr&background=white", "background"),
        ("snapshot", "pass=no_pass", "pass"),
        ("snapshot", "pass=" + "x" * 65, "pass"),
        ("snapshot", "pass=beauty&track=z_depth", "pass"),
        ("mjpeg", "format=png", "format"),
        ("mjpeg", "pass=no_pass", "pass"),
    ],
)
async def test_pictures_that_there_are_not_are_refused_with_the_parameter(
    edge: RunningEdge, store: Broker, entity: str, way: str, query: str, field: str
) -> None:
    await octane_renders(store, entity)

    refused = await edge.http.get(f"/octane/{entity}/{way}?{query}")

    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (400, "bad_parameter", field)


async def test_a_socket_brings_the_rendition_that_is_asked_for(edge: RunningEdge, store: Broker, entity: str) -> None:
    await octane_renders(store, entity)
    address = f"ws://127.0.0.1:{edge.port}/octane/{entity}/ws"

    async with websockets.connect(f"{address}?format=png&pass=z_depth", **UNHURRIED) as socket:
        await answers(store, entity, "z_depth", "png", b"\x89PNG")
        assert json.loads(await in_time(socket.recv()))["control"] == "ready"
        _, body = unpack(await in_time(socket.recv()))
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"{address}?format=exr", **UNHURRIED)

    assert bytes(body) == b"\x89PNG"
    assert refused.value.response.status_code == 400
