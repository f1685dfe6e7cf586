"""Viewers of one picture stream share a subscription and a lease; each gets the newest frame, whatever it has missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from edge.transports.video import OPENING, Frame, Video, Viewer
from router.broker import Broker
from router.cluster.leases import view_key
from router.frame import frame_subject, pack
from router.nats.bucket import Bucket
from tests.edge.conftest import keep_picture
from tests.waiting import PATIENCE, eventually

JPEG = b"\xff\xd8picture\xff\xd9"


def picture(number: int) -> bytes:
    return pack({"seq": number, "time": 1.5, "width": 4, "height": 3, "format": "jpeg", "source": "test"}, JPEG)


@pytest.fixture
async def video(broker: Broker) -> AsyncIterator[Video]:
    made = Video(broker, "edge-1")
    task = asyncio.ensure_future(made.run())
    await asyncio.sleep(0)
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_frame_is_made_a_part_once_with_the_boundary_behind_it() -> None:
    frame = Frame(picture(1))

    assert frame.part is frame.part
    assert frame.part.startswith(b"Content-Type: image/jpeg\r\nContent-Length: %d\r\nX-Timestamp: 1.5" % len(JPEG))
    assert frame.part.endswith(b"\r\n\r\n" + JPEG + b"\r\n" + OPENING)
    assert bytes(frame.jpeg) == JPEG


async def test_a_viewer_that_is_slow_gets_the_newest_frame_only() -> None:
    viewer, frames = Viewer(), [Frame(picture(n)) for n in range(3)]

    for frame in frames:
        viewer.show(frame)

    assert await viewer.next() is frames[2] and viewer.dropped == 2


async def test_viewers_share_each_frame_and_one_lease_that_ends_with_the_last(
    video: Video, broker: Broker, entity: str
) -> None:
    subject = frame_subject("camera", entity)
    bucket = Bucket(broker.connection, "LEASES")

    async def leases() -> list[str]:
        return [entry.key for entry in await bucket.entries(f"view.camera.{entity}.*")]

    async def are(*expected: str) -> bool:
        return await leases() == list(expected)

    async with video.watch("camera", entity, subject) as one:
        async with video.watch("camera", entity, subject) as other:
            await eventually(lambda: are(view_key("camera", entity, "edge-1")))
            await broker.frame(subject, b"no picture")
            await broker.frame(subject, picture(1))
            async with asyncio.timeout(PATIENCE):
                first = await one.next()
                assert await other.next() is first
        await broker.frame(subject, picture(2))
        async with asyncio.timeout(PATIENCE):
            assert (await one.next()).payload == picture(2)
        assert await are(view_key("camera", entity, "edge-1"))
    await eventually(are)


async def test_the_last_picture_is_shown_where_the_source_makes_none(video: Video, broker: Broker, entity: str) -> None:
    subject = frame_subject("camera", entity)
    await keep_picture(broker, subject, picture(7))

    shown = await video.newest("camera", entity, subject, timeout=PATIENCE)

    assert shown is not None and shown.payload == picture(7)
    assert await video.newest("camera", f"{entity}x", frame_subject("camera", f"{entity}x"), timeout=0.05) is None
