from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np

from actors.camera.renditions.decoding import MAX_WAITING, PacketDecoding
from actors.camera.renditions.h264 import H264Encoder
from actors.camera.renditions.planes import planes_of
from actors.camera.sources.source import FramePicture, Packet, Picture
from tests.waiting import eventually


def packets(count: int) -> list[Packet]:
    """A stream with a key every ten pictures, each of one grey: ten times its number."""
    encoder = H264Encoder()
    made = []
    for seq in range(count):
        planes = planes_of(np.full((48, 64), 10 * seq % 250, dtype=np.uint8), 64, 48)
        unit = encoder.encode(planes, 33.0 * seq, 95, 30.0, seq % 10 == 0)
        made.append(Packet("h264", unit.data, 33.0 * seq, 64, 48, unit.key))
    return made


class Shown:
    def __init__(self) -> None:
        self.greys: list[tuple[int, int]] = []
        self.faults: list[Exception] = []
        self.dropped = self.repeats = 0

    def show(self, picture: Picture | FramePicture, seq: int) -> None:
        self.greys.append((seq, round(float(picture.pixels.mean()) / 10)))

    def drop(self, count: int) -> None:
        self.dropped += count

    def still(self) -> None:
        self.repeats += 1

    @property
    def numbers(self) -> list[int]:
        return [seq for seq, _ in self.greys]


@asynccontextmanager
async def decoding(shown: Shown) -> AsyncIterator[PacketDecoding]:
    with ThreadPoolExecutor(2) as threads:
        async with asyncio.TaskGroup() as group:
            made = PacketDecoding(threads, group.create_task, shown.show, shown.faults.append, shown.drop, shown.still)
            yield made


async def test_each_packet_gives_its_picture_with_its_number() -> None:
    shown = Shown()
    async with decoding(shown) as decoder:
        for seq, packet in enumerate(packets(20)):
            decoder.offer(packet, seq)
        await eventually(lambda: len(shown.greys) == 20)

    assert shown.greys == [(seq, seq) for seq in range(20)]


async def test_decoding_begins_at_a_key() -> None:
    shown = Shown()
    stream = packets(15)
    async with decoding(shown) as decoder:
        for seq in range(5, 15):
            decoder.offer(stream[seq], seq)
        await eventually(lambda: shown.numbers == [10, 11, 12, 13, 14])


async def test_a_decoder_that_is_far_behind_goes_on_at_the_next_key_and_says_what_it_left_out() -> None:
    shown = Shown()
    stream = packets(MAX_WAITING + 15)
    async with decoding(shown) as decoder:
        # None of them is decoded before the loop comes round.
        for seq, packet in enumerate(stream):
            decoder.offer(packet, seq)
        await eventually(lambda: shown.numbers[-1:] == [len(stream) - 1])

    assert shown.dropped == MAX_WAITING
    assert shown.numbers == list(range(MAX_WAITING, len(stream)))


async def test_a_damaged_packet_is_told_and_decoding_goes_on_at_the_next_key() -> None:
    shown = Shown()
    stream = packets(13)
    async with decoding(shown) as decoder:
        for seq in (0, 1):
            decoder.offer(stream[seq], seq)
        await eventually(lambda: shown.numbers == [0, 1])
        decoder.offer(Packet("h264", b"\x00\x00\x01\x65\xff", 0.0, 64, 48, True), 2)
        await eventually(lambda: len(shown.faults) == 1)
        for seq in range(3, 13):
            decoder.offer(stream[seq], seq)
        await eventually(lambda: shown.numbers == [0, 1, 10, 11, 12])


async def test_nothing_is_shown_once_it_has_ended() -> None:
    shown = Shown()
    async with decoding(shown) as decoder:
        decoder.offer(packets(1)[0], 0)
        decoder.end()

    assert shown.greys == []


async def test_a_picture_that_shows_what_was_there_is_told_as_a_repeat() -> None:
    shown = Shown()
    still = [each for each in packets(10) if each.key] * 5
    async with decoding(shown) as decoder:
        for seq, packet in enumerate(still):
            decoder.offer(packet, seq)
        await eventually(lambda: len(shown.numbers) + shown.repeats == 5)

    assert (shown.numbers, shown.repeats) == ([0], 4)
