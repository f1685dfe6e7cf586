"""The WebSocket of CompuCyto's camera page: `connected`, then `frame` after `frame`, whatever the client says or does not say."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets

from router.broker import Broker
from router.event import Event
from router.frame import frame_subject, pack
from tests.clocks import Clock
from tests.edge.auth.conftest import SecuredFactory, bearer, clock, token
from tests.edge.conftest import UNHURRIED, RunningEdge, keep_picture
from tests.waiting import PATIENCE, eventually

__all__ = ["clock"]

JPEG = b"\xff\xd8" + b"picture" * 30 + b"\xff\xd9"


def picture(number: int, *, fresh: bool = True, size: int = len(JPEG)) -> bytes:
    header = {
        "seq": number, "life": 1, "time": time.time_ns() // 1_000_000, "width": 64, "height": 48, "format": "jpeg",
        "fresh": fresh, "source": "test", "simulated": True, "fps": 25, "quality": 85,
    }  # fmt: skip
    return pack(header, JPEG.ljust(size, b"x"))


@pytest.fixture
async def camera(store: Broker, entity: str) -> str:
    """The id of a camera that has a picture."""
    await store.publish(Event.new(f"camera.{entity}.state", {"status": "streaming", "simulated": True}))
    await keep_picture(store, frame_subject("camera", entity), picture(1))
    return entity


@contextlib.asynccontextmanager
async def page(edge: RunningEdge, query: str, **options: Any) -> AsyncIterator[websockets.ClientConnection]:
    address = f"ws://127.0.0.1:{edge.port}/ws/camera/stream{query}"
    async with websockets.connect(address, max_size=None, **{**UNHURRIED, **options}) as socket:
        yield socket


async def said(socket: websockets.ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        return json.loads(await socket.recv())


async def test_a_connection_is_confirmed_and_then_sent_pictures(
    either: RunningEdge, store: Broker, camera: str
) -> None:
    async with page(either, f"?camera={camera}") as one, page(either, f"?camera={camera}&field=image") as other:
        first = await said(one)
        shown = await said(one)
        others = [await said(other), await said(other)]
        await store.frame(frame_subject("camera", camera), picture(2))
        next_one = await said(one)

    assert (first["type"], first["resolution"]) == ("connected", {"width": 64, "height": 48})
    assert (shown["type"], shown["frame_number"], base64.b64decode(shown["data"])) == ("frame", 1, JPEG)
    assert [each["type"] for each in others] == ["connected", "frame"] and "image" in others[1]
    assert next_one["frame_number"] == 2


async def test_a_repeat_of_what_was_shown_is_left_out(edge: RunningEdge, store: Broker, camera: str) -> None:
    async with page(edge, f"?camera={camera}") as socket:
        assert [(await said(socket))["type"] for _ in range(2)] == ["connected", "frame"]
        await store.frame(frame_subject("camera", camera), picture(1, fresh=False))
        await store.frame(frame_subject("camera", camera), picture(2))

        assert (await said(socket))["frame_number"] == 2


@pytest.mark.parametrize("message", ["hello", "{}", '{"type":"ping"}', "[1", b"\x00\xff", '{"control":"shown"}'])
async def test_what_the_client_says_is_tolerated(
    edge: RunningEdge, store: Broker, camera: str, message: str | bytes
) -> None:
    async with page(edge, f"?camera={camera}") as socket:
        await socket.send(message)
        assert [(await said(socket))["type"] for _ in range(2)] == ["connected", "frame"]
        await store.frame(frame_subject("camera", camera), picture(2))

        assert (await said(socket))["type"] == "frame"


async def test_the_only_camera_there_is_is_shown_where_none_is_named(
    secured: SecuredFactory, store: Broker, camera: str
) -> None:
    async with secured() as edge:
        headers = bearer(token(read=[f"camera.{camera}.>"]))
        async with page(edge, "", additional_headers=headers) as socket:
            assert (await said(socket))["camera"] == camera


async def test_an_unknown_camera_is_refused_before_the_upgrade(edge: RunningEdge) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with page(edge, "?camera=nowhere"):
            pass

    assert refused.value.response.status_code == 404


async def test_a_camera_that_is_not_granted_is_refused_and_a_ticket_opens_it(
    secured: SecuredFactory, camera: str, clock: Clock
) -> None:
    async with secured() as edge:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with page(edge, f"?camera={camera}", additional_headers=bearer(token(read=["job.>"]))):
                pass
        alice = edge.as_("alice", read=[f"camera.{camera}.>"])
        ticket = (await alice.http.post("/tickets", json={"path": "/ws/camera/stream"})).json()["ticket"]
        async with page(edge, f"?camera={camera}&ticket={ticket}") as socket:
            assert (await said(socket))["type"] == "connected"

    assert refused.value.response.status_code == 403


async def test_a_client_that_reads_slowly_sees_the_present(edge: RunningEdge, store: Broker, camera: str) -> None:
    subject, numbers = frame_subject("camera", camera), itertools.count(2)
    async with page(edge, f"?camera={camera}", max_queue=1) as socket:
        assert [(await said(socket))["type"] for _ in range(2)] == ["connected", "frame"]
        # Far more than the sockets of both sides hold.
        for number in itertools.islice(numbers, 150):
            await store.frame(subject, picture(number, size=200_000))
            await asyncio.sleep(0.005)
        newest = next(numbers)
        await store.frame(subject, picture(newest, size=200_000))

        read = 0
        while (await said(socket))["frame_number"] != newest:
            read += 1

    assert read < 75


async def test_a_camera_that_fails_is_told(edge: RunningEdge, store: Broker, camera: str) -> None:
    async def tell(socket: websockets.ClientConnection) -> str:
        await store.publish(Event.new(f"camera.{camera}.state", {"status": "failed", "reason": "unplugged"}))
        async with page(edge, f"?camera={camera}") as other:
            return str((await said(other))["type"])

    async with page(edge, f"?camera={camera}") as socket:
        assert await eventually(lambda: tell(socket)) == "error"
