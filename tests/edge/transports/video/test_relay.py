"""Viewers of one picture stream share a subscription and a lease; each is given its pictures, whatever it has missed."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from edge.transports.video import relay as transport
from edge.transports.video.relay import Video
from router.broker import Broker
from router.cluster.leases import view_key
from router.frame import frame_subject, in_parts, pack
from router.nats.bucket import Bucket
from router.rungs import JPEG as JPEG_RUNG
from router.rungs import Rung, rung_subject
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


async def test_a_picture_in_parts_is_put_together(video: Video, broker: Broker, entity: str) -> None:
    subject, header = frame_subject("octane", entity, "beauty"), {"seq": 3, "time": 1.5, "format": "exr"}
    body = bytes(range(256)) * 50
    messages = in_parts(subject, header, body, 4000)

    async with video.watch("octane", entity, subject, "beauty", "exr") as viewer:
        for each, frame in messages:
            await broker.frame(each, frame)
        async with asyncio.timeout(PATIENCE):
            live = await viewer.next()
    kept = await video.newest("octane", entity, subject, timeout=PATIENCE)

    assert kept is not None and live.payload == kept.payload == pack(header, body)


@pytest.mark.parametrize("lost", [0, 1])
async def test_a_picture_with_a_missing_or_foreign_part_is_not_shown(
    video: Video, broker: Broker, entity: str, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "PART_SECONDS", 0.1)
    subject = frame_subject("octane", entity, "beauty")
    messages, others = (in_parts(subject, {"seq": 3}, bytes(6000), 4000) for _ in range(2))
    for each, frame in (messages[0], others[1] if lost else messages[0], messages[-1]):
        await broker.frame(each, frame)
    await eventually(lambda: broker.last_frame(subject))

    assert await video.newest("octane", entity, subject, timeout=1.0) is None


async def test_a_lease_names_the_track_and_the_rendition(video: Video, broker: Broker, entity: str) -> None:
    bucket = Bucket(broker.connection, "LEASES")
    what = ("z_depth", "webp-512")

    async def keys() -> list[str]:
        return [entry.key for entry in await bucket.entries(f"view.octane.{entity}.>")]

    async with (
        video.watch("octane", entity, frame_subject("octane", entity, "beauty")),
        video.watch("octane", entity, f"{frame_subject('octane', entity, 'z_depth')}.webp-512", *what),
    ):
        expected = {view_key("octane", entity, "edge-1"), view_key("octane", entity, "edge-1", *what)}
        await eventually(lambda: _holds(keys, expected))
    await eventually(lambda: _holds(keys, set()))


async def _holds(keys: Callable[[], Awaitable[list[str]]], expected: set[str]) -> bool:
    return set(await keys()) == expected


async def test_a_picture_of_before_is_taken_only_where_no_fresh_one_comes(
    video: Video, broker: Broker, entity: str
) -> None:
    subject = frame_subject("octane", entity, "beauty")
    await keep_picture(broker, subject, picture(1))

    async def fresh() -> None:
        track = await eventually(lambda: video._tracks.get(subject))
        await eventually(lambda: track.viewers)
        await broker.frame(subject, picture(2))

    shown, _ = await asyncio.gather(video.newest("octane", entity, subject, timeout=PATIENCE, stored=False), fresh())
    assert shown is not None and shown.payload == picture(2)
    late = await video.newest("octane", entity, subject, timeout=0.05, stored=False)
    assert late is not None and late.payload == picture(2)


def packet(number: int, key: bool = False) -> bytes:
    return pack({"seq": number, "life": 1, "format": "h264", "packet": number, "key": key}, b"\0\0\0\1")


async def test_viewers_of_a_rung_share_its_lease_and_one_that_joins_begins_at_the_last_key(
    video: Video, broker: Broker, entity: str
) -> None:
    bucket, rung = Bucket(broker.connection, "LEASES"), Rung("h264", 480)
    subject = rung_subject(entity, rung)

    async def keys() -> list[str]:
        return [entry.key for entry in await bucket.entries(f"view.camera.{entity}.>")]

    async with video.watch_rung(entity, rung) as one:
        await eventually(lambda: _holds(keys, {view_key("camera", entity, "edge-1", "h264-480")}))
        for number in range(3):
            await broker.frame(subject, packet(number, key=number == 1))
        async with asyncio.timeout(PATIENCE):
            assert [(await one.next()).header["packet"] for _ in range(2)] == [1, 2]
            async with video.watch_rung(entity, rung) as other:
                assert [(await other.next()).header["packet"] for _ in range(2)] == [1, 2]
    await eventually(lambda: _holds(keys, set()))


async def test_a_key_is_asked_for_at_most_once_a_second_however_many_viewers_miss_one(
    video: Video, broker: Broker, entity: str
) -> None:
    rung, asked = Rung("h264"), list[bytes]()
    listening = await broker.connection.listen(
        f"cmd.camera.{entity}.key_frame", lambda _s, _r, payload, _h: asked.append(payload)
    )

    numbers, began = itertools.count(0, 2), time.monotonic()
    async with video.watch_rung(entity, rung), video.watch_rung(entity, rung):

        async def again() -> bool:
            await broker.frame(rung_subject(entity, rung), packet(next(numbers)))
            return len(asked) >= 2

        await eventually(again)
        await broker.connection.flush()
        took = time.monotonic() - began

    assert set(asked) == {b'{"rung":"h264"}'}
    assert len(asked) <= 1 + took, (len(asked), took)
    await listening.stop()


async def test_a_jpeg_rung_gives_the_newest_and_the_last_one_first(video: Video, broker: Broker, entity: str) -> None:
    subject = rung_subject(entity, JPEG_RUNG)
    await keep_picture(broker, subject, picture(1))

    async with video.watch_rung(entity, JPEG_RUNG) as viewer, asyncio.timeout(PATIENCE):
        assert (await viewer.next()).payload == picture(1)
        await broker.frame(subject, picture(2))
        assert (await viewer.next()).payload == picture(2)


async def test_a_key_in_parts_is_shown_before_what_builds_on_it(video: Video, broker: Broker, entity: str) -> None:
    rung = Rung("h264")
    subject, body = rung_subject(entity, rung), bytes(range(256)) * 50
    header = {"seq": 0, "life": 1, "format": "h264", "packet": 0, "key": True}

    async with video.watch_rung(entity, rung) as viewer:
        for each, part in in_parts(subject, header, body, 4000):
            await broker.frame(each, part)
        for number in range(1, 4):
            await broker.frame(subject, packet(number))
        async with asyncio.timeout(PATIENCE):
            shown = [await viewer.next() for _ in range(4)]

    assert [frame.header["packet"] for frame in shown] == [0, 1, 2, 3] and viewer.dropped == {}
    assert bytes(shown[0].body) == body


async def test_a_key_of_which_a_part_is_lost_is_missed_and_the_next_one_is_shown(
    video: Video, broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "PART_SECONDS", 0.1)
    rung = Rung("h264")
    subject = rung_subject(entity, rung)
    *_, listing = in_parts(subject, {"seq": 0, "life": 1, "packet": 0, "key": True}, bytes(9000), 4000)

    async with video.watch_rung(entity, rung) as viewer:
        await broker.frame(*listing)
        for number in range(1, 4):
            await broker.frame(subject, packet(number, key=number == 3))
        async with asyncio.timeout(PATIENCE):
            assert (await viewer.next()).header["packet"] == 3
