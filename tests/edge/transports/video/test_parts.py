"""Pictures that are larger than one message of NATS arrive: sent by the actor's runtime, gathered live by the relay."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import av
import pytest

from actors.system.metrics import Gauges
from actors.system.runtime import BrokerRuntime
from edge.transports.video import parts
from edge.transports.video.parts import LiveParts
from edge.transports.video.relay import Video
from router.broker import Broker
from router.frame import in_parts, pack, unpack
from router.rungs import JPEG, Rung, rung_subject
from router.topology import TopologySettings
from tests.edge.transports.video.h264 import access_units
from tests.servers import serving_small
from tests.waiting import PATIENCE, eventually, unhurried

SMALL = 64 * 1024
MIB = 1024 * 1024
SUBJECT = "frame.camera.lab.jpeg"
# The storage of the small server is too little for all streams at their usual sizes.
TOPOLOGY = TopologySettings(recordings_max_bytes=64 * MIB)


def header(number: int, **more: Any) -> dict[str, Any]:
    return {"seq": number, "life": 1, "time": 1.5, "format": "jpeg", "fresh": True, **more}


def sent(number: int, body: bytes, most: int = 400) -> tuple[list[bytes], dict[str, Any]]:
    """The parts of a picture, and the header of the frame that names them."""
    *first, (_, listing) = in_parts(SUBJECT, header(number), body, most)
    return [part for _, part in first], unpack(listing)[0]


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_small(tmp_path_factory.mktemp("small"), SMALL) as server:
        yield server.url


@contextlib.asynccontextmanager
async def relaying(url: str, topology: TopologySettings = TOPOLOGY) -> AsyncIterator[tuple[Video, BrokerRuntime]]:
    """An edge's relay and an actor's runtime, each with a connection of its own."""
    async with (
        Broker(unhurried(url), "edge", topology) as edge,
        Broker(unhurried(url), "actor", topology) as actor,
    ):
        video, runtime = Video(edge, "edge-1"), BrokerRuntime(actor, Gauges("stock-parts"))
        tasks = [asyncio.ensure_future(video.run()), asyncio.ensure_future(runtime.send_frames())]
        await asyncio.sleep(0)
        try:
            yield video, runtime
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def test_parts_are_put_together_in_the_order_of_their_numbers() -> None:
    body = os.urandom(2000)
    some, listing = sent(1, body)
    live = LiveParts()
    for part in some:
        live.add(part)

    assert live.take(listing) == pack(header(1), body)
    assert live.take(listing) is None


@pytest.mark.parametrize("lost", [0, 1, -1])
def test_a_picture_without_one_of_its_parts_is_none_and_the_next_one_is_whole(lost: int) -> None:
    live, body = LiveParts(), os.urandom(2000)
    some, listing = sent(1, body)
    del some[lost]
    for part in some:
        live.add(part)
    assert live.take(listing) is None
    some, listing = sent(2, body)
    for part in some:
        live.add(part)
    assert live.take(listing) == pack(header(2), body)


def test_parts_of_two_pictures_are_never_mixed() -> None:
    live = LiveParts()
    (one, _), (other, listing) = sent(1, os.urandom(2000)), sent(2, os.urandom(2000))
    for part in (one[0], *other[1:]):
        live.add(part)
    live.add(b"no frame")

    assert live.take(listing) is None


def test_no_more_is_kept_than_one_picture_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_BODY", 1000)
    live = LiveParts()
    some, listing = sent(1, os.urandom(2000))
    for part in some:
        live.add(part)
        assert sum(map(len, live._parts)) <= 1000

    assert live.take(listing) is None


async def test_a_stream_of_large_jpegs_arrives_and_the_newest_wins(
    small_server: str, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = rung_subject(entity, JPEG)
    bodies = [os.urandom(12 * SMALL) for _ in range(7)]
    async with relaying(small_server) as (video, runtime), video.watch_rung(entity, JPEG) as viewer:
        # What would be read from the stream, part by part, does not come.
        monkeypatch.setattr(video._broker, "last_frame", None)
        seen = []

        async def see() -> None:
            while True:
                frame = await viewer.next()
                seen.append((frame.header["seq"], bytes(frame.body) == bodies[frame.header["seq"]]))

        seeing = asyncio.ensure_future(see())
        for number, body in enumerate(bodies):
            runtime.frame(subject, header(number), body)
            await asyncio.sleep(0.2)
        await eventually(lambda: (len(bodies) - 1, True) in seen)
        seeing.cancel()

        numbers = [number for number, _ in seen]
        assert numbers == sorted(set(numbers)) and len(numbers) >= len(bodies) - 1
        assert all(right for _, right in seen)
        # Sent at once, the last one of them is what is shown in the end, and nothing older behind it.
        for number in range(10, 15):
            runtime.frame(subject, header(number), bodies[number % 7])
        async with asyncio.timeout(PATIENCE):
            while (await viewer.next()).header["seq"] != 14:
                pass
        assert not viewer.waiting


async def test_who_joins_between_two_large_pictures_gets_the_last_one(small_server: str, entity: str) -> None:
    subject, body = rung_subject(entity, JPEG), os.urandom(5 * SMALL)
    async with relaying(small_server) as (video, runtime):
        runtime.frame(subject, header(1), body)
        await eventually(lambda: video.last(subject))
        async with video.watch_rung(entity, JPEG) as viewer, asyncio.timeout(PATIENCE):
            frame = await viewer.next()

    assert frame.payload == pack(header(1), body)


async def test_a_picture_of_which_the_first_parts_came_before_the_viewer_is_read_from_the_stream(
    small_server: str, entity: str
) -> None:
    subject, body = rung_subject(entity, JPEG), os.urandom(5 * SMALL)
    messages = in_parts(subject, header(1), body, SMALL)
    async with relaying(small_server) as (video, runtime):
        for each, part in messages[:2]:
            await runtime.broker.frame(each, part)
        await runtime.broker.connection.flush()
        async with video.watch_rung(entity, JPEG) as viewer, asyncio.timeout(PATIENCE):
            for each, part in messages[2:]:
                await runtime.broker.frame(each, part)
            frame = await viewer.next()

    assert frame.payload == pack(header(1), body)


async def test_h264_with_keys_in_parts_is_decoded_without_a_gap(small_server: str, entity: str) -> None:
    rung = Rung("h264")
    subject = rung_subject(entity, rung)
    units = list(access_units(20, keys=5))
    # Filler data (NAL unit type 12) makes a key as large as one of 4K.
    filler = b"\0\0\0\1\x0c" + b"\xff" * (3 * SMALL) + b"\x80"
    decoder: Any = av.CodecContext.create("h264", "r")
    async with relaying(small_server) as (video, runtime), video.watch_rung(entity, rung) as viewer:
        decoded, packets = 0, []
        for number, (unit, key) in enumerate(units):
            body = unit + filler if key else unit
            assert runtime.packet(subject, header(number, format="h264", packet=number, key=key), body)
            async with asyncio.timeout(PATIENCE):
                frame = await viewer.next()
            packets.append(frame.header["packet"])
            decoded += len(decoder.decode(av.Packet(bytes(frame.body))))
        decoded += len(decoder.decode(None))

    assert packets == list(range(20)) and decoded == 20
    assert not viewer.dropped


async def test_a_film_of_keys_in_parts_goes_on_behind_a_lost_part(small_server: str, entity: str) -> None:
    rung = Rung("h264")
    subject = rung_subject(entity, rung)
    async with relaying(small_server) as (video, runtime), video.watch_rung(entity, rung) as viewer:
        frame = header(0, format="h264", packet=0, key=True)
        for each, part in in_parts(subject, frame, bytes(3 * SMALL), SMALL)[1:]:
            await runtime.broker.frame(each, part)
        runtime.packet(subject, {**frame, "seq": 1, "packet": 1, "key": False}, b"\0\0\0\1")
        runtime.packet(subject, {**frame, "seq": 2, "packet": 2}, bytes(3 * SMALL))
        async with asyncio.timeout(PATIENCE):
            assert (await viewer.next()).header["packet"] == 2


@pytest.mark.parametrize("size", [20 * MIB, 64 * MIB])
async def test_one_jpeg_of_many_mebibytes_arrives(nats_server: str, entity: str, size: int) -> None:
    body = os.urandom(MIB) * (size // MIB)
    async with relaying(nats_server, TopologySettings()) as (video, runtime), video.watch_rung(entity, JPEG) as viewer:
        began = time.perf_counter()
        runtime.frame(rung_subject(entity, JPEG), header(1), body)
        async with asyncio.timeout(PATIENCE):
            frame = await viewer.next()
        print(f"{size // MIB} MiB took {time.perf_counter() - began:.2f} s")

        assert frame.payload == pack(header(1), body)
        # The stream has it, too, for who joins late; its limit made nothing vanish.
        late = await eventually(lambda: video.last(rung_subject(entity, JPEG)))
        assert late.payload == frame.payload
        assert (video._broker.connection.reconnects, runtime.broker.connection.reconnects) == (0, 0)


async def test_a_picture_that_no_number_of_parts_can_carry_is_refused_with_a_warning(
    small_server: str, entity: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("router.frame.MAX_BODY", SMALL)
    subject = rung_subject(entity, JPEG)
    async with relaying(small_server) as (video, runtime), video.watch_rung(entity, JPEG) as viewer:
        runtime.frame(subject, header(1), bytes(2 * SMALL))
        await eventually(lambda: "too large to be sent" in caplog.text)
        runtime.frame(subject, header(2), bytes(100))
        async with asyncio.timeout(PATIENCE):
            assert (await viewer.next()).header["seq"] == 2


async def test_pictures_of_more_bytes_than_the_stream_keeps_are_shown_live(
    small_server: str, entity: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.transports.video.relay.PART_SECONDS", 0.1)
    subject, body = rung_subject(entity, JPEG), os.urandom(6 * SMALL)
    async with relaying(small_server) as (video, runtime), video.watch_rung(entity, JPEG) as viewer:
        stream = video._broker.stream("FRAMES")
        config = (await stream.info())["config"]
        await stream.update({**config, "max_bytes": 3 * SMALL})
        try:
            runtime.frame(subject, header(1), body)
            async with asyncio.timeout(PATIENCE):
                assert (await viewer.next()).payload == pack(header(1), body)

            async def told() -> bool:
                # It is shown before it is stored.
                assert await video.last(subject) is None
                return "CALLBOARD_FRAMES_MAX_BYTES" in str([vars(record) for record in caplog.records])

            await eventually(told)
        finally:
            await stream.update(config)
