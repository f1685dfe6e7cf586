from __future__ import annotations

import av
import numpy as np
import pytest

from actors.camera.renditions.h264 import EncodedUnit, H264Encoder
from actors.camera.renditions.planes import planes_of
from actors.camera.sources.simulated import SimulatedSource, read_strip


class Stream:
    """A card that is encoded, and decoded again."""

    def __init__(self, width: int = 320, height: int = 240) -> None:
        self._source = SimulatedSource(width, height)
        self._source.open()
        self._encoder = H264Encoder()
        self._decoder = av.CodecContext.create("h264", "r")
        self.size = width, height

    def next(self, seq: int, time: float, quality: int = 85, fps: float = 30.0, key: bool = False) -> EncodedUnit:
        pixels = np.asarray(self._source.grab(seq).pixels)
        return self._encoder.encode(planes_of(pixels, *self.size), time, quality, fps, key)

    def seen(self, unit: EncodedUnit) -> list[int]:
        strips = [read_strip(frame.to_ndarray(format="rgb24")) for frame in self._decoder.decode(av.Packet(unit.data))]
        return [strip[0] for strip in strips if strip]


def test_each_packet_gives_its_picture_at_once() -> None:
    stream = Stream()

    for seq in range(10):
        assert stream.seen(stream.next(seq, seq * 33.0)) == [seq]


def test_a_key_is_made_every_two_seconds_and_where_it_is_asked_for() -> None:
    stream = Stream()
    keys = [seq for seq in range(150) if stream.next(seq, seq * 33.0, key=seq == 30).key]

    assert keys == [0, 30, 91]


def test_a_stream_can_be_joined_at_any_key() -> None:
    stream = Stream()
    units = [stream.next(seq, seq * 33.0, key=seq == 5) for seq in range(8)]

    assert [seq for unit in units[5:] for seq in stream.seen(unit)] == [5, 6, 7]
    assert units[5].data.startswith(b"\x00\x00\x00\x01\x67")  # SPS
    assert b"\x00\x00\x00\x01\x68" in units[5].data or b"\x00\x00\x01\x68" in units[5].data  # PPS


@pytest.mark.parametrize("change", [{"quality": 30}, {"fps": 10.0}])
def test_another_quality_or_rate_begins_with_a_key(change: dict[str, float]) -> None:
    stream = Stream()
    stream.next(0, 0.0)
    assert not stream.next(1, 33.0).key

    unit = stream.next(2, 66.0, **change)  # type: ignore[arg-type]
    assert unit.key
    assert stream.seen(unit) == [2]


def test_another_size_begins_with_a_key() -> None:
    encoder = H264Encoder()
    first = encoder.encode(planes_of(np.zeros((48, 64), dtype=np.uint8), 64, 48), 0.0, 85, 30.0)
    second = encoder.encode(planes_of(np.zeros((64, 64), dtype=np.uint8), 64, 64), 33.0, 85, 30.0)

    assert first.key and second.key


def test_a_clock_set_back_makes_a_key_and_no_error() -> None:
    stream = Stream()
    stream.next(0, 1e12)

    assert stream.next(1, 5e11).key


def test_the_codec_is_named_as_browsers_name_it() -> None:
    unit = Stream().next(0, 0.0)

    assert unit.codec.startswith("avc1.6400")
